import { $, el, Big } from './core.js';

const height = 26; // of a row, as in the style sheet
const bytesType = t => /BLOB|BINARY/i.test(t) || /^(BIT|GEOMETRY)$/i.test(t);
const numberType = t => /INT|REAL|FLOA|DOUB|DECIMAL|NUMERIC|YEAR/i.test(t);

// show tells how a value looks: NULL and bytes are no text that happens to read the same.
export function show(v, column) {
  if (v === null) return { text: 'NULL', kind: 'null' };
  if (v instanceof Big) return { text: v.text, kind: 'n' };
  if (typeof v === 'number' || typeof v === 'boolean') return { text: String(v), kind: 'n' };
  if (typeof v === 'object' && 'base64' in v) return { text: hex(v.base64), kind: 'bytes', base64: v.base64 };
  if (typeof v === 'object') return { text: v.text, kind: 'other' };
  if (bytesType(column.type)) return { text: hex(v), kind: 'bytes', base64: v };
  return { text: v, kind: numberType(column.type) && v !== '' && isFinite(v) ? 'n' : '' };
}
export function hex(base64, limit = 32) {
  let raw = '';
  try { raw = atob(base64); } catch { return base64; }
  const some = [...raw.slice(0, limit)].map(c => c.charCodeAt(0).toString(16).padStart(2, '0')).join(' ');
  return '0x ' + some + (raw.length > limit ? ` … (${raw.length} bytes)` : '');
}
// visible makes control characters seen in one line.
const visible = s => s.length > 400 ? visible(s.slice(0, 400)) + '…' : s.replace(/[\u0000-\u001f\u007f]/g, c => c === '\n' ? '↵' : c === '\t' ? '→' : String.fromCharCode(c.charCodeAt(0) < 32 ? 0x2400 + c.charCodeAt(0) : 0x2421));

// grid shows rows as a table of which only the visible part exists, so that 100,000 rows are as quick as ten.
export function grid(columns, rows, options = {}) {
  const sample = rows.length > 200 ? [...rows.slice(0, 150), ...rows.slice(-50)] : rows;
  const widths = columns.map((c, i) => {
    let n = c.name.length + c.type.length + 3;
    for (const r of sample) n = Math.max(n, Math.min(60, show(r[i], c).text.length));
    return Math.min(460, Math.max(64, Math.round(n * 7.6) + 26));
  });
  const number = Math.max(44, String((options.first || 0) + rows.length).length * 8 + 26), total = number + widths.reduce((a, b) => a + b, 0);
  const size = (e, w) => { e.style.width = w + 'px'; return e; };
  const head = el('div', { class: 'g-head', role: 'row' }, size(el('div', { class: 'g-cell no' }, '#'), number), ...columns.map((c, i) => {
    const order = options.order && options.order.name === c.name ? (options.order.desc ? ' ↓' : ' ↑') : '';
    return size(el('div', { class: 'g-cell' + (options.sort ? ' sortable' : ''), role: 'columnheader', title: c.name + ' ' + c.type, onclick: () => options.sort && options.sort(c.name) }, c.name + order, el('small', {}, c.type.toLowerCase())), widths[i]);
  }));
  const body = el('div', {});
  body.style.height = rows.length * height + 'px'; body.style.width = total + 'px'; body.style.position = 'relative';
  const box = el('div', { class: 'grid', role: 'table', tabIndex: 0, 'aria-rowcount': rows.length }, head, body);
  const made = new Map();
  const draw = () => {
    const from = Math.max(0, Math.floor(box.scrollTop / height) - 12), to = Math.min(rows.length, Math.ceil((box.scrollTop + box.clientHeight) / height) + 12);
    for (const [i, r] of made) if (i < from || i >= to) { r.remove(); made.delete(i); }
    const fresh = [];
    for (let i = from; i < to; i++) {
      if (made.has(i)) continue;
      const r = el('div', { class: 'g-row', role: 'row', 'aria-rowindex': i + 1 }, size(el('div', { class: 'g-cell no' }, String(i + 1 + (options.first || 0))), number));
      r.style.top = i * height + 'px'; r.style.width = total + 'px';
      columns.forEach((c, j) => { const v = show(rows[i][j], c); r.append(size(el('div', { class: 'g-cell ' + v.kind, role: 'cell', dir: 'auto' }, visible(v.text)), widths[j])); });
      made.set(i, r); fresh.push(r);
    }
    body.append(...fresh);
  };
  box.addEventListener('scroll', () => requestAnimationFrame(draw), { passive: true });
  body.addEventListener('dblclick', e => {
    const c = e.target.closest('.g-cell'), r = e.target.closest('.g-row');
    if (!c || !r) return;
    const j = [...r.children].indexOf(c) - 1, i = r.getAttribute('aria-rowindex') - 1;
    if (j >= 0) openCell(columns[j], rows[i][j]);
  });
  new ResizeObserver(draw).observe(box);
  if (options.compact) box.style.height = Math.min(rows.length * height + 36, 420) + 'px';
  return box;
}

function openCell(column, value) {
  const v = show(value, column);
  $('cell-name').textContent = column.name; $('cell-type').textContent = column.type + (v.kind === 'null' ? ' · NULL' : '');
  $('cell-value').textContent = v.base64 !== undefined ? hex(v.base64, 4096) : v.text;
  $('cell').showModal();
}

const plain = (v, c) => { const s = show(v, c); return s.base64 !== undefined ? s.base64 : s.text; };
// asCSV follows RFC 4180: NULL is an empty field, an empty text is "".
export function asCSV(columns, rows) {
  const quote = s => s === '' || /[",\r\n]/.test(s) ? '"' + s.replaceAll('"', '""') + '"' : s;
  return [columns.map(c => quote(c.name)).join(','), ...rows.map(r => r.map((v, i) => v === null ? '' : quote(plain(v, columns[i]))).join(','))].join('\r\n') + '\r\n';
}
export function asJSON(columns, rows) {
  const value = v => v instanceof Big ? v.text : JSON.stringify(v);
  return '[' + rows.map(r => '{' + r.map((v, i) => JSON.stringify(columns[i].name) + ':' + value(v)).join(',') + '}').join(',\n') + ']\n';
}
export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const a = el('a', { href: url, download: name });
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
