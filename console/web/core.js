export const $ = id => document.getElementById(id);

// el makes an element. Text is always text: nothing that comes from the database is ever read as HTML.
export function el(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (k === 'class') e.className = v;
    else if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (k in e && k !== 'list') e[k] = v;
    else e.setAttribute(k, v);
  }
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}

// update makes the children of a box what they are to be, and keeps on the screen those that stay: what is pressed, focused or
// selected is not drawn anew. Children with a data-key are known by it, others by their place. Who stays keeps the listeners that
// it had: they must not depend on anything but its key.
export function update(box, ...children) {
  const key = e => e.dataset && e.dataset.key, old = [...box.childNodes], known = new Map(old.filter(key).map(e => [key(e), e]));
  const kept = children.map((c, i) => {
    const o = key(c) ? known.get(key(c)) : old[i];
    if (!o || o.nodeName !== c.nodeName || key(o) !== key(c)) return c;
    known.delete(key(c)); // a second one with this key is another
    if (o.isEqualNode(c)) return o;
    if (o.nodeType === Node.TEXT_NODE) { o.data = c.data; return o; }
    for (const a of [...o.attributes]) if (!c.hasAttribute(a.name)) o.removeAttribute(a.name);
    for (const a of c.attributes) if (o.getAttribute(a.name) !== a.value) o.setAttribute(a.name, a.value);
    update(o, ...c.childNodes);
    return o;
  });
  for (const o of old) if (!kept.includes(o)) o.remove();
  kept.forEach((c, i) => { if (box.childNodes[i] !== c) box.insertBefore(c, box.childNodes[i] || null); });
}

export class APIError extends Error {
  constructor(status, body) { super(body.error || 'the answer has the status ' + status); this.status = status; this.body = body; }
}

// Big keeps a number that JavaScript's own numbers would round.
export class Big { constructor(text) { this.text = text; } toString() { return this.text; } toJSON() { return JSON.rawJSON ? JSON.rawJSON(this.text) : this.text; } }

// parse is JSON.parse, but with numbers of 16 digits and more, and those with ".0", kept as they are written.
export function parse(text) {
  if (!/\d{16}|\d\.0[,\]}]|\d[eE]/.test(text)) return JSON.parse(text);
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, m =>
    m[0] !== '"' && (m.length > 15 || m.endsWith('.0') || /[eE]/.test(m)) ? `{"\\u0000n":"${m}"}` : m);
  return JSON.parse(marked, (k, v) => v && typeof v === 'object' && '\u0000n' in v ? new Big(v['\u0000n']) : v);
}

export async function api(path, body, signal, method = 'GET') {
  const options = { signal, method, headers: {} };
  if (body !== undefined) Object.assign(options, { method: 'POST', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } });
  const response = await fetch('api/' + path, options);
  const text = await response.text();
  let value = {};
  try { value = text ? parse(text) : {}; } catch (e) { if (response.ok) throw e; value = { error: text.slice(0, 400) }; }
  if (response.status === 401 && path !== 'login') askLogin();
  if (!response.ok) throw new APIError(response.status, value);
  return value;
}

export function toast(text) {
  $('toast').textContent = text;
  $('toast').classList.add('on');
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => $('toast').classList.remove('on'), 4000);
}

// ask resolves to true if the person agrees.
export function ask(title, text, detail, yes = 'Run it') {
  $('ask-title').textContent = title; $('ask-text').textContent = text; $('ask-detail').textContent = detail; $('ask-detail').hidden = !detail; $('ask-yes').textContent = yes;
  const d = $('ask');
  d.returnValue = 'no';
  d.showModal();
  $('ask-no').focus();
  return new Promise(done => {
    const closed = () => {
      if (d.open) return; // the dialog before this one has closed, which is told late
      d.removeEventListener('close', closed);
      done(d.returnValue === 'yes');
    };
    d.addEventListener('close', closed);
  });
}

export const fmt = {
  count: n => n === null || n === undefined ? '–' : Number(n).toLocaleString('en-US'),
  rate: n => n >= 1000 ? (n / 1000).toFixed(1) + 'k' : n >= 10 || n === 0 ? Math.round(n) + '' : n.toFixed(1),
  ms: n => n === null || n === undefined ? 'unknown' : n >= 60000 ? (n / 60000).toFixed(1) + ' min' : n >= 1000 ? (n / 1000).toFixed(1) + ' s' : (n >= 10 || n === 0 ? Math.round(n) : n.toFixed(1)) + ' ms',
  bytes: n => n < 1024 ? n + ' B' : n < 1 << 20 ? (n / 1024).toFixed(1) + ' KiB' : n < 1 << 30 ? (n / (1 << 20)).toFixed(1) + ' MiB' : (n / (1 << 30)).toFixed(1) + ' GiB',
  ago: t => { const s = Math.max(0, (Date.now() - new Date(t)) / 1000); return s < 60 ? Math.round(s) + ' s' : s < 3600 ? Math.round(s / 60) + ' min' : s < 86400 ? Math.round(s / 3600) + ' h' : Math.round(s / 86400) + ' d'; },
  time: t => new Date(t).toLocaleTimeString('en-GB') + '.' + String(new Date(t).getMilliseconds()).padStart(3, '0'),
};

export const session = { access: 'read' };

function askLogin() {
  if ($('login').open) return;
  $('login-error').textContent = '';
  $('login').showModal();
  $('token').focus();
}
// Tabs: arrow keys move within a list, the address remembers which is open.
export function tabs(list, open) {
  const all = [...list.querySelectorAll('[role=tab]')];
  const choose = t => { for (const o of all) { o.setAttribute('aria-selected', o === t); o.tabIndex = o === t ? 0 : -1; } open(t); };
  for (const t of all) t.addEventListener('click', () => choose(t));
  list.addEventListener('keydown', e => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!step) return;
    const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    next.focus(); choose(next);
  });
  return choose;
}
