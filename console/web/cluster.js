import { $, el, api, ask, fmt, session, toast, update } from './core.js';

const SVG = 'http://www.w3.org/2000/svg';
const svg = (tag, props = {}, ...children) => {
  const e = document.createElementNS(SVG, tag);
  for (const [k, v] of Object.entries(props)) e.setAttribute(k, v);
  e.append(...children);
  return e;
};
const span = 300; // points kept
let status = null, points = [], source = null, order = [];

export function nodes() { return status ? status.nodes : []; }

export async function startCluster() {
  try { // these are to be computed with, so plain numbers do
    const r = await fetch('api/history');
    points = r.ok ? (await r.json()).points : [];
  } catch { points = []; }
  if (source) source.close();
  source = new EventSource('api/events');
  source.addEventListener('status', e => { status = JSON.parse(e.data); draw(); });
  source.addEventListener('point', e => {
    points.push(JSON.parse(e.data));
    if (points.length > span) points.splice(0, points.length - span);
    plots(); figures(); rates();
  });
  source.onerror = () => { setHealth('bad', 'console not reachable'); if (source.readyState === EventSource.CLOSED) setTimeout(startCluster, 3000); };
}

// A snap that is offline is doing what snaps do: away, not down.
const gone = n => n.state === 'inactive' || n.state === 'failed';
const level = n => n.role === 'snap' && n.state === 'inactive' ? 'away' : n.maintenance ? 'out' : n.state === 'active' ? 'ok' : gone(n) ? 'bad' : 'warn';
const last = () => points[points.length - 1] || { writes: 0, entries: 0, nodes: {} };

function setHealth(kind, text) { $('health').className = 'pill ' + kind; $('health').textContent = text; }

function draw() {
  const list = status.nodes, bad = list.filter(n => level(n) === 'bad'), warn = list.filter(n => ['warn', 'out'].includes(level(n)));
  for (const n of list) if (!order.includes(n.id)) order.push(n.id);
  const some = (all, most) => all.slice(0, most).join(', ') + (all.length > most ? ` and ${all.length - most} more` : '');
  if (bad.length) setHealth('bad', some(bad.map(n => n.id), 3) + ' ' + (bad.length > 1 ? 'are down' : bad[0].state));
  else if (warn.length) setHealth('warn', some(warn.map(n => n.id + ' ' + (n.maintenance ? 'in maintenance' : n.state)), 2));
  else if (list.some(n => level(n) === 'away')) setHealth('ok', 'all well, ' + some(list.filter(n => level(n) === 'away').map(n => n.id), 2) + ' offline');
  else setHealth('ok', 'all well');
  figures(); table(list); topology(list); picker(list);
}

function figure(value, unit, label) { return el('div', { class: 'figure' }, el('b', {}, value, el('small', {}, unit)), el('span', {}, label)); }
function figures() {
  if (!status) return;
  const p = last(), known = status.nodes.filter(n => n.role !== 'master' && n.lagMs !== null && n.state !== 'inactive').map(n => n.lagMs);
  const reads = Object.values(p.nodes).reduce((a, n) => a + n.reads, 0);
  const up = status.nodes.filter(n => n.state === 'active' && !n.maintenance).length;
  const [lag, unit] = known.length ? fmt.ms(Math.max(...known)).split(' ') : ['–', ''];
  $('figures').replaceChildren(
    figure(fmt.rate(p.writes), '/s', 'Writes'), figure(fmt.rate(reads), '/s', 'Reads'), figure(lag, unit, 'Largest lag'),
    figure(up + '', ' of ' + status.nodes.length, 'Nodes active'), figure(fmt.count(status.lsn), '', 'Last entry (LSN)'), figure(status.epoch + '', '', 'Epoch'));
}

const cell = (label, cls, ...c) => el('div', { class: cls, role: 'cell', 'data-label': label }, ...c);
function table(list) {
  const focus = document.activeElement && document.activeElement.dataset || {}, held = focus.maintain || focus.forget;
  const rows = [el('div', { class: 'n-head', role: 'row' }, ...['Node', 'State', 'Address', 'LSN', 'Lag', 'Pending', 'Reads/s', ''].map((t, i) =>
    el('div', { role: 'columnheader', class: i > 2 && i < 7 ? 'num' : '' }, t)))];
  for (const n of list) {
    const kind = level(n), reads = (last().nodes[n.id] || { reads: 0 }).reads;
    const button = action(n, list);
    const row = el('div', { class: 'n-row ' + kind, role: 'row', 'data-key': n.id, 'data-node': n.id, 'data-state': n.state },
      el('div', { class: 'id', role: 'cell' }, el('div', { class: 'name' }, n.id), el('div', { class: 'sub' }, n.role + (n.local ? ' · this node' : ''))),
      cell('State', '', el('span', { class: 'state ' + kind }, n.maintenance ? 'maintenance' : kind === 'away' ? 'offline' : n.state), el('div', { class: 'sub', 'data-since': n.since }, 'for ' + fmt.ago(n.since))),
      cell('Address', 'mono address', el('span', { title: n.address }, n.address || '–')),
      cell('LSN', 'num', fmt.count(n.lsn)),
      cell('Lag', 'num', n.role === 'master' ? '–' : n.state === 'inactive' || n.lagMs === null ? '–' : fmt.ms(n.lagMs)),
      cell('Pending', 'num', fmt.count(n.pending), n.pendingBytes ? el('div', { class: 'sub' }, fmt.bytes(n.pendingBytes)) : ''),
      cell('Reads/s', 'num', el('span', { 'data-reads': n.id }, fmt.rate(reads))),
      el('div', { class: 'act', role: 'cell' }, button));
    if (n.reason && kind !== 'ok') row.append(el('div', { class: 'reason' }, n.reason));
    rows.push(row);
  }
  update($('nodes'), ...rows);
  if (held) { const b = $('nodes').querySelector('[data-node="' + CSS.escape(held) + '"] button'); if (b && b !== document.activeElement) b.focus(); }
}
function rates() {
  for (const e of document.querySelectorAll('[data-reads]')) e.textContent = fmt.rate((last().nodes[e.dataset.reads] || { reads: 0 }).reads);
  for (const e of document.querySelectorAll('[data-since]')) e.textContent = 'for ' + fmt.ago(e.dataset.since);
}
// action is the button for what can be done to a node: one that is gone can be forgotten, on the master, and only
// replicas get reads that can be sent elsewhere.
function action(n, list) {
  if (n.role === 'master' || session.access !== 'admin') return '';
  const small = (props, text) => el('button', { class: 'small', 'data-key': text, ...props }, text); // one that means something else is another
  if (gone(n) && list.some(m => m.local && m.role === 'master')) return small({ 'data-forget': n.id, title: 'Take it off the list: it will not come back' }, 'Forget');
  if (n.role !== 'replica' || gone(n) && !n.maintenance) return '';
  return small({ 'data-maintain': n.id, title: n.maintenance ? 'Send reads to it again' : 'Send it no reads' }, n.maintenance ? 'Let in' : 'Take out');
}
$('nodes').addEventListener('click', e => {
  const pressed = e.target.closest('button')?.dataset, n = pressed && nodes().find(n => n.id === (pressed.forget || pressed.maintain));
  if (n) (pressed.forget ? forget : maintain)(n);
});
async function forget(n) {
  const pending = n.role === 'snap' ? ' What it has not handed over yet counts if it comes back.' : '';
  if (!await ask('Forget ' + n.id + '?', 'It is taken off the list of nodes. If it comes back, it is let in as before.' + pending, '', 'Forget it')) return;
  try { await api('nodes/' + encodeURIComponent(n.id), undefined, undefined, 'DELETE'); toast(n.id + ' is forgotten'); } catch (e) { toast(e.message); }
}
async function maintain(n) {
  try { await api('nodes/' + encodeURIComponent(n.id), { maintenance: !n.maintenance }); toast(n.id + (n.maintenance ? ' gets reads again' : ' gets no more reads')); } catch (e) { toast(e.message); }
}
function picker(list) {
  const s = $('node'), have = [...s.options].slice(1).map(o => o.value).join();
  if (have === list.map(n => n.id).join()) return;
  const was = s.value;
  s.replaceChildren(el('option', { value: '' }, 'any'), ...list.map(n => el('option', { value: n.id }, n.id)));
  s.value = list.some(n => n.id === was) ? was : '';
}

// The topology: the master in the middle, the others around it. Elements are kept between
// drawings, so that what flows goes on flowing.
const drawn = new Map();
function topology(list) {
  const s = $('topology'), master = list.find(n => n.role === 'master') || list[0], others = list.filter(n => n !== master);
  const w = 460, h = 310, cx = w / 2, cy = h / 2;
  s.setAttribute('viewBox', `0 0 ${w} ${h}`);
  const shape = JSON.stringify(list.map(n => [n.id, n.role, level(n), n.state]));
  if (drawn.get('shape') !== shape) {
    drawn.set('shape', shape);
    const parts = [];
    const flat = others.length <= 2;
    others.forEach((n, i) => {
      const a = flat ? (others.length === 1 ? 0 : i * Math.PI + Math.PI) : -Math.PI / 2 + (2 * Math.PI * i) / others.length + (others.length % 2 ? 0 : Math.PI / others.length);
      n.x = cx + Math.cos(a) * 165; n.y = cy + Math.sin(a) * 98;
      parts.push(link(cx, cy, n.x, n.y, n));
    });
    others.forEach(n => parts.push(ball(n, n.x, n.y, 17)));
    if (master) parts.push(ball(master, cx, cy, 25));
    s.replaceChildren(...parts);
  }
  for (const n of list) {
    const t = s.querySelector('[data-sub="' + CSS.escape(n.id) + '"]');
    if (t) t.textContent = n === master ? 'LSN ' + fmt.count(n.lsn) : n.maintenance ? 'maintenance' : level(n) === 'away' ? 'offline' : n.state !== 'active' ? n.state : fmt.ms(n.lagMs);
  }
}
function link(x1, y1, x2, y2, n) {
  const g = svg('g', { 'data-link': n.id, 'data-broken': ['bad', 'away'].includes(level(n)) }), kind = level(n);
  const d = Math.hypot(x2 - x1, y2 - y1), ux = (x2 - x1) / d, uy = (y2 - y1) / d;
  const at = r => [x1 + ux * r, y1 + uy * r], line = (a, b, cls) => { const [ax, ay] = at(a), [bx, by] = at(b); return svg('path', { class: 'link ' + cls, d: `M${ax} ${ay}L${bx} ${by}` }); };
  if (kind === 'bad' || kind === 'away') { // the two ends hang loose
    const m = (d + 8) / 2, [mx, my] = at(m);
    g.append(line(27, m - 14, kind), line(m + 14, d - 19, kind));
    for (const [a, b] of [[1, 1], [1, -1]]) g.append(svg('path', { class: 'cut ' + kind, d: `M${mx - 5 * a} ${my - 5 * b}L${mx + 5 * a} ${my + 5 * b}` }));
    return g;
  }
  g.append(line(27, d - 19, 'base ' + kind));
  if (kind !== 'out') g.append(line(27, d - 19, 'flow ' + kind));
  return g;
}
function ball(n, x, y, r) {
  const master = n.role === 'master', g = svg('g', { 'data-ball': n.id });
  g.append(svg('circle', { class: 'ball ' + (master ? 'master' : level(n)), cx: x, cy: y, r }));
  const k = master ? 9 : 6.5, t = k * .38; // a database's barrel; a snap has a bolt of its own
  const glyph = n.role === 'snap' ? `M${x + 2} ${y - 8}l-6 9h4l-2 7 7-10h-4z`
    : `M${x - k} ${y - k * .7}a${k} ${t} 0 0 0 ${2 * k} 0a${k} ${t} 0 0 0 ${-2 * k} 0v${k * 1.4}a${k} ${t} 0 0 0 ${2 * k} 0v${-k * 1.4}M${x - k} ${y}a${k} ${t} 0 0 0 ${2 * k} 0`;
  g.append(svg('path', { class: 'glyph' + (master ? ' master-glyph' : ''), d: glyph }));
  const up = !master && y < 130 && Math.abs(x - 230) < 60; // a label below would lie on the link
  const label = svg('text', { x, y: up ? y - r - 22 : y + r + 16 }), sub = svg('text', { class: 'sub', x, y: up ? y - r - 8 : y + r + 30, 'data-sub': n.id });
  label.textContent = n.id.length > 20 ? n.id.slice(0, 19) + '…' : n.id;
  g.append(label, sub);
  return g;
}

// Plots of the last minutes.
function plots() {
  plot('plot-writes', [{ name: 'writes', values: points.map(p => p.writes), at: 0 }, { name: 'entries', values: points.map(p => p.entries), at: 1 }], v => fmt.rate(v) + '/s', true);
  const seen = order.filter(id => points.some(p => p.nodes[id]));
  plot('plot-reads', seen.map(id => ({ name: id, values: points.map(p => p.nodes[id] ? p.nodes[id].reads : null), at: order.indexOf(id) % 6 })), v => fmt.rate(v) + '/s');
  const roles = Object.fromEntries(nodes().map(n => [n.id, n.role]));
  plot('plot-lag', seen.filter(id => roles[id] !== 'master').map(id => ({ name: id, values: points.map(p => p.nodes[id] && p.nodes[id].state !== 'inactive' ? p.nodes[id].lagMs : null), at: order.indexOf(id) % 6 })), fmt.ms);
}
function nice(v) { const p = 10 ** Math.floor(Math.log10(v || 1)); for (const f of [1, 2, 5, 10]) if (v <= f * p) return f * p; return v; }
function plot(id, series, unit, area) {
  const s = $(id), w = s.clientWidth || 380, h = 180, left = 16, right = 16, top = 14, bottom = 22;
  s.setAttribute('viewBox', `0 0 ${w} ${h}`);
  const end = points.length ? points[points.length - 1].at : Date.now(), width = Math.max(60e3, Math.min(300e3, points.length > 1 ? end - points[0].at : 0)), start = end - width;
  const max = nice(Math.max(1, ...series.flatMap(x => x.values.filter(v => v !== null))));
  const X = t => left + (w - left - right) * (t - start) / width, Y = v => top + (h - top - bottom) * (1 - v / max);
  const parts = [];
  for (const f of [0, .5, 1]) parts.push(svg('line', { class: 'grid', x1: left, x2: w - right, y1: Y(max * f), y2: Y(max * f) }));
  const text = (x, y, t, anchor) => { const e = svg('text', { x, y, 'text-anchor': anchor }); e.textContent = t; parts.push(e); };
  for (const x of series) {
    let d = '', pen = false;
    x.values.forEach((v, i) => { if (v === null || points[i].at < start) { pen = false; return; } d += (pen ? 'L' : 'M') + X(points[i].at).toFixed(1) + ' ' + Y(v).toFixed(1); pen = true; });
    if (area && x.at === 0 && d && !d.slice(1).includes('M')) parts.push(svg('path', { class: 'area f0', d: d + `L${X(end)} ${Y(0)}L${d.slice(1).split(' ')[0]} ${Y(0)}Z` }));
    parts.push(svg('path', { class: 's' + x.at, d }));
  }
  text(left, top - 4, unit(max), 'start'); text(left, h - 6, '−' + (width >= 120e3 ? Math.round(width / 60e3) + ' min' : Math.round(width / 1e3) + ' s'), 'start'); text(w - right, h - 6, 'now', 'end');
  s.replaceChildren(...parts);
  s.parentElement.querySelector('.legend').replaceChildren(...series.map(x => { const v = x.values[x.values.length - 1]; return el('span', {}, el('i', { class: 'b' + x.at }), x.name + (series.length > 2 || v === null || v === undefined ? '' : ' ' + unit(v))); }));
}
addEventListener('resize', () => { if (status) plots(); });
