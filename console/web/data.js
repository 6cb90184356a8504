import { $, el, api, ask, fmt, parse, session, tabs, toast, update, Big } from './core.js';
import { grid, hex } from './table.js';

const size = 200;
let view = 'browse', page = 0, order = null, tables = [], started = false, timer = null, turn = 0;
const loaders = { browse: loadBrowse, journal: loadJournal, conflicts: loadConflicts, statements: loadStatements };

export function startData() {
  if (started) return;
  started = true;
  tabs(document.querySelector('.subnav'), t => open(t.dataset.view));
  $('browse-table').addEventListener('change', () => { page = 0; order = null; $('filter').value = ''; fillColumns(); rows(); });
  $('filter').addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(() => { page = 0; rows(); }, 250); });
  $('filter-column').addEventListener('change', () => { page = 0; rows(); });
  $('prev').addEventListener('click', () => { page = Math.max(0, page - 1); rows(); });
  $('next').addEventListener('click', () => { page++; rows(); });
  setInterval(() => { if (!document.hidden) loadConflicts(); }, 5000); // the tab shows how many are open
  loadConflicts();
  setInterval(() => { if (!$('data').hidden && (view === 'journal' || view === 'statements') && !document.hidden) loaders[view](); }, 2000);
}
function open(name) {
  view = name;
  for (const v of Object.keys(loaders)) $(v).hidden = v !== name;
  loaders[name]();
}
export function showData() { open(view); }

const current = () => tables[+$('browse-table').value];
async function loadBrowse() {
  const was = current();
  try { tables = (await api('tables')).tables; } catch (e) { $('browse-rows').replaceChildren(el('div', { class: 'empty error' }, e.message)); return; }
  $('browse-table').replaceChildren(...tables.map((t, i) => el('option', { value: String(i) }, (t.database ? t.database + '.' : '') + t.name)));
  const at = was ? tables.findIndex(t => t.name === was.name && t.database === was.database) : 0;
  $('browse-table').value = String(Math.max(0, at));
  fillColumns();
  rows();
}
function fillColumns() {
  const t = current(), was = $('filter-column').value;
  $('filter-column').replaceChildren(el('option', { value: '' }, 'any column'), ...(t ? t.columns.map(c => el('option', { value: c.name }, c.name)) : []));
  $('filter-column').value = t && t.columns.some(c => c.name === was) ? was : '';
}
async function rows() {
  const t = current(), mine = ++turn;
  if (!t) { $('browse-rows').replaceChildren(el('div', { class: 'empty' }, 'No tables yet')); $('page-label').textContent = ''; return; }
  const q = new URLSearchParams({ table: t.name, database: t.database, limit: size + 1, offset: page * size, filter: $('filter').value, column: $('filter-column').value });
  if (order) { q.set('order', order.name); q.set('desc', order.desc ? '1' : ''); }
  try {
    const a = await api('rows?' + q);
    if (mine !== turn) return; // a newer question is on its way
    const more = a.rows.length > size, list = a.rows.slice(0, size);
    $('page-label').textContent = list.length ? `${fmt.count(page * size + 1)}–${fmt.count(page * size + list.length)}` + (t.rows !== null && !$('filter').value ? ' of ' + fmt.count(t.rows) : '') : 'no rows';
    $('prev').disabled = page === 0; $('next').disabled = !more;
    $('browse-rows').replaceChildren(grid(a.columns, list, { first: page * size, order, sort: name => { order = order && order.name === name ? (order.desc ? null : { name, desc: true }) : { name, desc: false }; page = 0; rows(); } }));
  } catch (e) { $('browse-rows').replaceChildren(el('div', { class: 'empty error' }, e.message)); }
}

const panel = (...c) => el('div', { class: 'panel scroll' }, ...c);
const table = (heads, body) => el('table', { class: 'list' }, el('thead', {}, el('tr', {}, ...heads.map(([t, c]) => el('th', { class: c || '' }, t)))), el('tbody', {}, ...body));

async function loadJournal() {
  try {
    const list = (await api('journal?n=200')).entries;
    update($('journal'), list.length ? panel(table([['LSN', 'num'], ['Time'], ['What changed'], ['From'], ['Size', 'num']], list.map(e => el('tr', { 'data-key': e.lsn }, el('td', { class: 'num mono' }, fmt.count(e.lsn)), el('td', { class: 'nowrap muted' }, fmt.time(e.at)), el('td', {}, ...what(e)), el('td', { class: 'nowrap' }, from(e)), el('td', { class: 'num muted' }, fmt.bytes(e.bytes))))))
      : el('div', { class: 'empty' }, 'The journal is empty'));
  } catch (e) { $('journal').replaceChildren(el('div', { class: 'empty error' }, e.message)); }
}
function what(e) {
  const parts = (e.schema || []).map(s => el('code', { class: 'mono' }, s.length > 200 ? s.slice(0, 200) + '…' : s));
  const rows = n => fmt.count(n) + (n === 1 ? ' row ' : ' rows ');
  for (const t of e.tables || []) { // written: inserted or changed, as an entry holds what is, not what was done
    const own = t.table.startsWith('%ddb.'), name = own ? 'ddb’s own ' + t.table.slice(5) : t.table;
    parts.push(el('span', { class: own ? 'tag muted' : 'tag' }, name + ': ', t.written ? rows(t.written) + 'written' : '', t.written && t.deleted ? ', ' : '', t.deleted ? el('span', { class: 'minus' }, rows(t.deleted) + 'deleted') : ''));
  }
  return parts.length ? parts : [el('span', { class: 'muted' }, 'nothing, or a snapshot')];
}
const from = e => e.batches && Object.keys(e.batches).length ? Object.entries(e.batches).map(([id, n]) => `${id} #${n}`).join(', ') : 'master';

async function loadConflicts() {
  try {
    const list = (await api('conflicts')).conflicts;
    $('open-conflicts').hidden = !list.length; $('open-conflicts').textContent = String(list.length);
    update($('conflicts'), ...(list.length ? list.map(conflict) : [el('div', { class: 'empty' }, 'No conflicts. What a snap wrote and another write overruled is kept here.')]));
  } catch (e) { $('conflicts').replaceChildren(el('div', { class: 'empty' }, e.message)); }
}
const row = text => { try { return text ? parse(text) : null; } catch { return { row: text }; } };
const cell = v => v === undefined ? '' : v === null ? 'NULL' : v instanceof Big ? v.text : typeof v !== 'object' ? String(v)
  : '$bytes' in v ? hex(v.$bytes, 64) : '$text' in v ? hex(v.$text, 64) : '$float' in v ? v.$float : JSON.stringify(v);
function conflict(c) {
  const sides = [row(c.base), row(c.local), row(c.remote)], names = [...new Set(sides.flatMap(s => s ? Object.keys(s) : []))];
  const parts = [el('div', { class: 'h' }, 'Column'), el('div', { class: 'h base' }, 'Before'), el('div', { class: 'h' }, c.origin + ' wrote'), el('div', { class: 'h' }, 'Master had')];
  const gone = ['no row', 'deleted', 'no row'];
  for (const n of names.length ? names : ['row']) {
    const values = sides.map((s, i) => s ? cell(s[n]) : gone[i]);
    parts.push(el('div', { class: 'h' }, n), ...values.map((v, i) => el('div', { class: 'v' + (i === 0 ? ' base' : values[1] !== values[2] ? ' diff' : ''), dir: 'auto' }, v)));
  }
  const settle = async action => {
    if (action === 'dismiss' && !await ask('Dismiss this conflict?', 'What the snap wrote is not applied. The record stays, marked as dismissed.', '', 'Dismiss')) return;
    try { await api('conflicts/' + encodeURIComponent(c.id), { action }); toast(action === 'retry' ? 'Retried' : 'Dismissed'); } catch (e) { toast(e.message); }
    loadConflicts();
  };
  const key = Object.entries(row(c.key) || {}).map(([n, v]) => n + ' ' + cell(v)).join(', ');
  const may = c.state === 'open' && session.access !== 'read';
  return el('div', { class: 'panel conflict', 'data-key': c.id, 'data-conflict': c.id }, el('div', { class: 'row' }, el('strong', {}, (c.database ? c.database + '.' : '') + c.table), el('span', { class: 'tag' }, key), el('span', { class: 'pill ' + (c.state === 'open' ? 'warn' : '') }, c.state === 'open' ? 'outcome: ' + c.outcome : c.state), el('span', { class: 'muted why' }, `${c.reason} · ${c.policy} · batch ${c.batch} · ${new Date(c.at).toLocaleString('en-GB')}`),
    el('span', { class: 'row buttons' }, may ? el('button', { class: 'small act', 'data-action': 'retry', title: 'Write what lost once more', onclick: () => settle('retry') }, 'Retry') : null, may ? el('button', { class: 'small', 'data-action': 'dismiss', title: 'Leave it as it is', onclick: () => settle('dismiss') }, 'Dismiss') : null)), el('div', { class: 'sides' }, ...parts));
}

async function loadStatements() {
  try {
    const list = (await api('log')).statements;
    update($('statements'), list.length ? panel(table([['Time'], ['Caller', 'hide-s'], ['Statement'], ['Node'], ['Rows', 'num'], ['Took', 'num']], list.map(s => el('tr', { 'data-key': s.at }, el('td', { class: 'nowrap muted' }, fmt.time(s.at)), el('td', { class: 'nowrap hide-s' }, s.caller), el('td', { class: 'mono' }, s.sql, s.error ? el('div', { class: 'error' }, s.error) : null), el('td', { class: 'nowrap' }, s.node), el('td', { class: 'num' }, fmt.count(s.rows)), el('td', { class: 'num' }, fmt.ms(s.elapsedMs))))))
      : el('div', { class: 'empty' }, 'No statement has been run through this console yet'));
  } catch (e) { $('statements').replaceChildren(el('div', { class: 'empty error' }, e.message)); }
}
