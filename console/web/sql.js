import { $, el, api, ask, fmt, toast, session, APIError } from './core.js';
import { grid, asCSV, asJSON, save } from './table.js';

const keywords = new Set(('add all alter and any as asc autoincrement auto_increment begin between by cascade case check collate column commit constraint create cross current_date current_timestamp database default delete desc describe distinct drop else end except exists explain false first foreign from full group having if in index inner insert intersect into is join key left like limit not null offset on or order outer primary references rename replace returning right rollback row select set show start strict table then transaction trigger true truncate union unique update use using values view when where with without').split(' '));
const text = $('text'), shade = $('shade');
let running = null, bad = null, at = -1, started = false;
export let schema = [];

// shadeText colours the statement under the transparent text area.
function shadeText() {
  const s = text.value, parts = [], re = /(--[^\n]*|#[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|('(?:[^'\\]|\\.|'')*'?|"(?:[^"]|"")*"?|`[^`]*`?)|(\b\d[\w.]*)|([A-Za-z_]\w*)|([^])/g;
  let pos = 0, plain = '';
  const flush = () => { if (plain) { put(plain, ''); plain = ''; } };
  const put = (t, cls) => {
    const wrong = bad && pos >= bad.from && pos < bad.to;
    const c = [cls, wrong ? 'bad-sql' : ''].filter(Boolean).join(' ');
    parts.push(c ? el('span', { class: c }, t) : t);
  };
  if (s.length > 60000) { shade.textContent = s + '\n'; return; } // colours are not worth a slow editor
  for (const m of s.matchAll(re)) {
    const cls = m[1] ? 'c' : m[2] ? 'q' : m[3] ? 'd' : m[4] && keywords.has(m[4].toLowerCase()) ? 'k' : '';
    pos = m.index;
    if (cls || bad) { flush(); put(m[0], cls); } else plain += m[0];
  }
  flush();
  shade.replaceChildren(...parts, '\n');
  scroll();
}
const scroll = () => { shade.scrollTop = text.scrollTop; shade.scrollLeft = text.scrollLeft; };

function remember(s) {
  const list = past().filter(o => o !== s);
  list.unshift(s);
  try { localStorage.setItem('ddb.history', JSON.stringify(list.slice(0, 100).filter(o => o.length < 20000))); } catch { /* full: the history is a comfort */ }
  at = -1; fillHistory();
}
function past() { try { return JSON.parse(localStorage.getItem('ddb.history') || '[]'); } catch { return []; } }
function fillHistory() {
  $('history').replaceChildren(el('option', { value: '' }, 'History'), ...past().map((s, i) => el('option', { value: String(i) }, s.replace(/\s+/g, ' ').slice(0, 70))));
}
function recall(step) {
  const list = past();
  at = Math.max(-1, Math.min(list.length - 1, at + step));
  setText(at < 0 ? '' : list[at]);
}
export function setText(s) { text.value = s; bad = null; shadeText(); text.focus(); }

// index turns a byte offset of the server into one of JavaScript's text.
const index = (s, bytes) => new TextDecoder().decode(new TextEncoder().encode(s).slice(0, bytes)).length;

async function run(explain) {
  if (running) return;
  const picked = text.selectionStart !== text.selectionEnd, base = picked ? text.selectionStart : 0;
  const sql = picked ? text.value.slice(text.selectionStart, text.selectionEnd) : text.value;
  if (!sql.trim()) return;
  bad = null; shadeText();
  running = new AbortController();
  $('run').disabled = $('explain').disabled = true; $('cancel').hidden = false;
  const start = performance.now(), clock = setInterval(() => { $('cancel').firstChild.textContent = 'Cancel ' + ((performance.now() - start) / 1000).toFixed(1) + ' s '; }, 100);
  let list = [];
  try {
    list = (await api('split', { sql }, running.signal)).statements;
    const risky = explain ? [] : list.filter(s => s.destructive);
    if (risky.length && !await ask(risky.length > 1 ? `Run ${risky.length} destructive statements?` : 'Run a destructive statement?', 'It discards data and cannot be undone.', risky.map(s => s.sql).join(';\n'))) return;
    remember(sql);
    const answer = await api('sql', { sql, explain, consistency: $('consistency').value, node: $('node').value, maxRows: session.maxRows }, running.signal);
    results(list, answer.results || [answer], null);
    if (list.some(s => s.kind === 'schema' || s.kind === 'write')) loadSchema();
  } catch (e) { failed(e, sql, base, list); } finally {
    clearInterval(clock); running = null;
    $('run').disabled = $('explain').disabled = false; $('cancel').hidden = true; $('cancel').firstChild.textContent = 'Cancel ';
  }
}
function failed(e, sql, base, list) {
  if (e.name === 'AbortError') { results(list, [], { title: 'Canceled', text: 'The statement was canceled.' }); return; }
  const body = e instanceof APIError ? e.body : {}, n = body.statement;
  if (body.offset !== undefined) {
    const from = base + index(sql, body.offset), stmt = list[n];
    bad = { from, to: stmt ? from + stmt.sql.length : base + sql.length };
    shadeText();
  }
  results(list, body.results || [], { title: list.length > 1 && n !== undefined ? `Statement ${n + 1} of ${list.length} failed` : 'Failed', stmt: list[n] && list[n].sql, text: e.message });
}

function results(list, answers, error) {
  const out = answers.map((a, i) => result(a, list[i] ? list[i].sql : '', answers.length + (error ? 1 : 0) > 1));
  if (error) out.push(el('div', { class: 'panel result failed', role: 'alert' }, el('div', { class: 'result-head' }, el('b', { class: 'error' }, error.title), error.stmt ? el('span', { class: 'stmt' }, error.stmt) : null), el('div', { class: 'message' }, error.text)));
  $('results').classList.toggle('many', out.length > 1 || !!error);
  $('results').replaceChildren(...out);
}
function result(a, sql, many) {
  const rows = a.columns.length > 0, head = el('div', { class: 'result-head' });
  if (many) head.append(el('span', { class: 'stmt', title: sql }, sql.replace(/\s+/g, ' ')));
  const facts = rows ? el('span', {}, el('b', { class: 'row-count' }, fmt.count(a.rows.length)), a.rows.length === 1 ? ' row' : ' rows', a.truncated ? ' (more were cut off)' : '')
    : el('span', {}, el('b', {}, fmt.count(a.rowsAffected)), a.rowsAffected === 1 ? ' row changed' : ' rows changed', a.lastInsertId && String(a.lastInsertId) !== '0' ? ', last id ' + a.lastInsertId : '');
  head.append(facts, el('span', {}, 'by ', el('b', { class: 'by' }, a.node)), el('span', {}, 'in ', el('b', {}, fmt.ms(Number(a.elapsedMs)))), el('span', { class: 'hide-s' }, 'at LSN ' + fmt.count(a.lsn)), el('span', { class: 'grow' }));
  if (rows) head.append(el('button', { class: 'small', onclick: () => save('result.csv', asCSV(a.columns, a.rows), 'text/csv') }, 'CSV'), el('button', { class: 'small', onclick: () => save('result.json', asJSON(a.columns, a.rows), 'application/json') }, 'JSON'));
  return el('div', { class: 'panel result' }, head, rows ? grid(a.columns, a.rows, { compact: many }) : null);
}

export async function loadSchema() {
  try { schema = (await api('tables')).tables; } catch (e) { $('schema').replaceChildren(el('div', { class: 'refusal' }, e.message)); return; }
  const open = new Set([...$('schema').querySelectorAll('details[open]')].map(d => d.dataset.table)), parts = [];
  let db = null;
  for (const t of schema) {
    if (t.database && t.database !== db) parts.push(el('div', { class: 'db' }, db = t.database));
    const d = el('details', { 'data-table': t.database + '.' + t.name, open: open.has(t.database + '.' + t.name) || (!open.size && schema.length <= 3) }, el('summary', { title: t.name }, el('span', { class: 't' }, t.name), el('span', { class: 'count' }, t.rows === null ? '' : fmt.count(t.rows))));
    for (const c of t.columns) d.append(el('button', { class: 'col', title: c.name + ' ' + c.type + (c.nullable ? '' : ' NOT NULL') + (c.key ? ', primary key' : ''), onclick: () => insert(c.name) }, el('span', { class: c.key ? 'key' : '' }, c.name), el('span', {}, c.type.toLowerCase())));
    if (t.refusal) d.append(el('div', { class: 'refusal' }, t.refusal));
    d.querySelector('summary').addEventListener('dblclick', () => setText(`SELECT * FROM ${name(t)} LIMIT 100;`));
    parts.push(d);
  }
  $('schema').replaceChildren(...(parts.length ? parts : [el('div', { class: 'empty' }, 'No tables yet')]));
}
export const name = t => [t.database, t.name].filter(Boolean).map(n => /^[a-z_][a-z0-9_]*$/.test(n) && !keywords.has(n) ? n : session.dialect === 'mysql' ? '`' + n.replaceAll('`', '``') + '`' : '"' + n.replaceAll('"', '""') + '"').join('.');
function insert(s) { text.setRangeText(s, text.selectionStart, text.selectionEnd, 'end'); shadeText(); text.focus(); }

async function importFile() {
  const file = $('import-file').files[0];
  $('import-file').value = '';
  if (!file || !await ask('Import ' + file.name + '?', 'Its statements run on the master. Tables that the file drops and creates are replaced.', fmt.bytes(file.size), 'Import')) return;
  toast('Importing ' + file.name + ' …');
  try {
    const r = await fetch('api/import', { method: 'POST', body: file, headers: file.name.endsWith('.gz') ? { 'Content-Encoding': 'gzip' } : {} });
    const a = await r.json();
    toast(r.ok ? `Imported: ${fmt.count(a.statements)} statements, ${fmt.count(a.rows)} rows` : a.error);
    if (!r.ok) results([], [], { title: 'Import failed', text: a.error });
  } catch (e) { toast(e.message); }
  loadSchema();
}

export function startSQL() {
  if (started) return;
  started = true;
  text.addEventListener('input', () => { bad = null; shadeText(); sessionStorage.setItem('ddb.text', text.value.slice(0, 100000)); });
  text.addEventListener('scroll', scroll, { passive: true });
  text.addEventListener('keydown', e => {
    if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) { e.preventDefault(); run(false); }
    if (e.ctrlKey && (e.key === 'ArrowUp' || e.key === 'ArrowDown')) { e.preventDefault(); recall(e.key === 'ArrowUp' ? 1 : -1); }
  });
  document.addEventListener('keydown', e => { if (e.key === 'Escape' && running && !document.querySelector('dialog[open]')) running.abort(); });
  $('run').addEventListener('click', () => run(false)); $('explain').addEventListener('click', () => run(true)); $('cancel').addEventListener('click', () => running && running.abort());
  $('older').addEventListener('click', () => recall(1)); $('newer').addEventListener('click', () => recall(-1));
  $('history').addEventListener('change', e => { const list = past(); if (e.target.value !== '') setText(list[+e.target.value]); e.target.value = ''; });
  $('schema-reload').addEventListener('click', loadSchema);
  $('import').addEventListener('click', () => $('import-file').click()); $('import-file').addEventListener('change', importFile);
  text.value = sessionStorage.getItem('ddb.text') || ''; shadeText(); fillHistory();
  $('results').replaceChildren(el('div', { class: 'empty' }, 'Results appear here. Double-click a table for its rows, a cell for its whole value.'));
}
export function showSQL() { loadSchema(); text.focus({ preventScroll: true }); }
