import { $, api, session, tabs, toast } from './core.js';
import { startCluster } from './cluster.js';
import { startSQL, showSQL } from './sql.js';
import { startData, showData } from './data.js';

$('login').addEventListener('cancel', e => e.preventDefault());
$('login').querySelector('form').addEventListener('submit', async e => {
  e.preventDefault();
  try {
    await api('login', { token: $('token').value });
    $('token').value = '';
    $('login').close();
    start();
  } catch (err) { $('login-error').textContent = err.message; $('token').select(); }
});
$('logout').addEventListener('click', async () => { await api('logout', {}); location.reload(); });

// The theme: as the system has it, until a person chooses.
const dark = matchMedia('(prefers-color-scheme: dark)');
function setTheme() {
  const choice = localStorage.getItem('ddb.theme') || 'auto';
  document.documentElement.dataset.theme = choice === 'auto' ? (dark.matches ? 'dark' : 'light') : choice;
  $('theme').textContent = { auto: '◐', light: '☀', dark: '☾' }[choice];
  $('theme').title = 'Theme: ' + { auto: 'as the system', light: 'light', dark: 'dark' }[choice];
}
$('theme').addEventListener('click', () => {
  const next = { auto: dark.matches ? 'light' : 'dark', light: dark.matches ? 'dark' : 'auto', dark: dark.matches ? 'auto' : 'light' };
  localStorage.setItem('ddb.theme', next[localStorage.getItem('ddb.theme') || 'auto']);
  setTheme();
});
dark.addEventListener('change', setTheme);
setTheme();

const views = { cluster: () => {}, sql: showSQL, data: showData };
const choose = tabs(document.querySelector('.bar nav'), t => open(t.getAttribute('aria-controls')));
function open(name) {
  for (const v of Object.keys(views)) $(v).hidden = v !== name;
  if (location.hash.slice(1).split('/')[0] !== name) history.replaceState(null, '', '#' + name);
  if (session.ready) views[name]();
}
export function go(name) { choose($('tab-' + name)); }
document.addEventListener('keydown', e => {
  if (e.ctrlKey || e.metaKey || e.altKey || /INPUT|TEXTAREA|SELECT/.test(e.target.tagName) || document.querySelector('dialog[open]')) return;
  const name = { 1: 'cluster', 2: 'sql', 3: 'data' }[e.key];
  if (name) { go(name); $('tab-' + name).focus(); }
});

async function start() {
  try { Object.assign(session, await api('session')); } catch (err) { if (err.status !== 401) toast(err.message); return; }
  $('who').textContent = session.node + ' · ' + session.access;
  $('logout').hidden = !session.login;
  $('export').hidden = $('import').hidden = session.access !== 'admin';
  document.title = 'ddb · ' + session.node;
  session.ready = true;
  startCluster(); startSQL(); startData();
  go(location.hash.slice(1).split('/')[0] in views ? location.hash.slice(1).split('/')[0] : 'cluster');
}
start();
