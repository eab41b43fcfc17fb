(() => {
'use strict';
const at = id => document.getElementById(id);
const percent = p => (p * 100).toFixed(p < 0.0995 ? 1 : 0) + ' %';
// What comes from a file must not turn what stands beside it, nor hide: a word; text of lines.
const unruly =
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const shown = text => text.replace(unruly, '\ufffd');
const tamed = text => String(text).replace(unruly, c => c === '\n' || c === '\t' ? c : '\ufffd');
const make = (tag, style, text) => {
  const node = document.createElement(tag);
  if (style) node.className = style;
  if (text !== undefined) node.textContent = tamed(text);
  return node;
};
const bright = t => {
  const stops = [[0, 32, 76], [49, 68, 107], [102, 105, 112], [149, 143, 120],
    [203, 186, 105], [255, 233, 69]];
  const x = Math.min(1, Math.max(0, t)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(x)), f = x - i;
  return stops[i].map((c, k) => Math.round(c + f * (stops[i + 1][k] - c)));
};
const options = (select, values) => {
  select.replaceChildren(...values.map(([value, text]) => {
    const option = make('option', '', text);
    option.value = value;
    return option;
  }));
};

async function get(path) {
  const response = await fetch(path);
  const json = await response.json();
  if (!response.ok) throw Object.assign(new Error(json.error), { status: response.status });
  return json;
}

const state = {
  info: null, picture: '', pinned: [], running: null, answers: [], first: 0,
  values: null, tiles: [], position: -1,
};

/* --- the address of what is seen --- */
const fields = ['question', 'what', 'setting', 'kind', 'most', 'module', 'layer', 'neuron'];
const checks = ['compare', 'raw', 'lens'];
function remember() {
  const words = new URLSearchParams();
  if (state.picture) words.set('picture', state.picture);
  for (const id of fields) if (at(id).value) words.set(id, at(id).value);
  for (const id of checks) if (at(id).checked) words.set(id, '1');
  if (state.pinned.length) words.set('pinned', state.pinned.map(n => n.join('.')).join(','));
  if (state.position >= 0) words.set('position', state.position);
  history.replaceState(null, '', '#' + words);
}
function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  for (const id of fields) if (words.has(id)) at(id).value = words.get(id);
  for (const id of checks) at(id).checked = words.has(id);
  if (words.has('position')) state.position = +words.get('position');
  const known = new Set(state.info.modules.map(m => m.name));
  state.pinned = (words.get('pinned') || '').split(',').map(text => text.split('.'))
    .filter(n => n.length === 3 && known.has(n[0])).map(n => [n[0], +n[1], +n[2]]);
  if (words.has('picture')) show(words.get('picture'));
}

/* --- the picture --- */
function show(picture) {
  const photo = at('photo');
  state.picture = picture;
  photo.alt = 'The picture that is asked about';
  photo.src = 'api/picture?id=' + encodeURIComponent(picture);
  photo.hidden = false;
  photo.onerror = () => {
    photo.hidden = true;
    state.picture = '';
    say('That picture is not kept any more: drop it again.');
  };
  remember();
}
async function take(file) {
  if (!file) return;
  say('Sending the picture …');
  try {
    const response = await fetch('api/pictures?name=' + encodeURIComponent(file.name),
      { method: 'POST', body: file });
    const json = await response.json();
    if (!response.ok) throw new Error(json.error);
    show(json.picture);
    say(`${file.name}: ${json.width} × ${json.height}`);
  } catch (error) {
    say(error.message);
  }
}
async function list() {
  try {
    const samples = await get(`api/samples?domain=${at('domain').value}&from=${state.first}`);
    if (!samples.length && state.first) {
      state.first -= 24;
      return;
    }
    at('sample-list').replaceChildren(...samples.map(sample => {
      const button = make('button'), image = make('img');
      button.type = 'button';
      image.loading = 'lazy';
      image.alt = '';
      image.src = 'api/picture?id=' + encodeURIComponent(sample.picture);
      button.append(image, make('span', '', shown(sample.question)));
      button.title = 'Answer of the data set: ' + shown(sample.answer);
      button.addEventListener('click', () => {
        at('question').value = sample.question;
        show(sample.picture);
      });
      const item = make('li');
      item.append(button);
      return item;
    }));
  } catch (error) {
    say(error.message);
  }
}

/* --- asking --- */
const say = text => { at('state').textContent = tamed(text); };
function mask() {
  const what = at('what').value, kind = at('kind').value;
  if (what === 'setting') {
    return at('setting').value ? at('setting').value + (kind === 'zero' ? '' : ':' + kind) : null;
  }
  if (what === 'pinned' && state.pinned.length) {
    return { kind, neurons: state.pinned.map(([module, layer, neuron]) =>
      ({ module, layer, neuron })) };
  }
  return null;
}
const maskWords = mask => !mask ? 'Unchanged'
  : typeof mask === 'string' ? mask
    : `${mask.neurons.length} pinned ${mask.neurons.length === 1 ? 'neuron' : 'neurons'}`
      + (mask.kind === 'zero' ? ' off' : ', ' + mask.kind);

class Answer {
  constructor(question) {
    this.question = question;
    this.chosen = [];
    this.node = make('div', 'answer' + (question.mask ? ' changed' : ''));
    this.title = maskWords(question.mask);
    this.text = make('p', 'text');
    this.text.setAttribute('aria-live', 'polite');
    this.words = make('ul', 'chosen');
    this.candidates = make('p', 'candidates');
    this.commands = make('details');
    this.node.append(make('h3', '', this.title), this.text, this.words, this.candidates,
      this.commands);
    this.commands.hidden = true;
  }
  take(event) {
    switch (event.event) {
    case 'waiting': say(`Waiting for ${event.before === 1 ? 'a question'
      : event.before + ' questions'} asked before …`); break;
    case 'started': say('Looking at the picture …'); break;
    case 'prepared': say(`Looking at the picture, ${event.tokens} tokens …`); break;
    case 'seen': say('Reading the prompt …'); break;
    case 'layer': say(`Reading the prompt: layer ${event.layer + 1} of ${event.of}`); break;
    case 'candidates': this.next = event.words; break;
    case 'token': say('Answering …'); this.token(event); break;
    case 'done': this.done(event); break;
    case 'lens': this.lens = event.lens; break;
    case 'error': throw new Error(event.message);
    }
  }
  token(event) {
    this.text.textContent += tamed(event.text);
    const words = this.next || [], own = words.find(w => w.word === event.word);
    const button = make('button', '', shown(event.word));
    button.type = 'button';
    button.style.setProperty('--p', Math.round(100 * (own ? own.probability : 0)) + '%');
    button.setAttribute('aria-pressed', 'false');
    button.title = own ? percent(own.probability) : '';
    button.addEventListener('click', () => {
      for (const other of this.words.querySelectorAll('button')) {
        other.setAttribute('aria-pressed', other === button);
      }
      this.candidates.textContent = words.map(w =>
        `${shown(w.word)} ${percent(w.probability)}`).join('   ');
    });
    const item = make('li');
    item.append(button);
    this.words.append(item);
    this.next = null;
  }
  done(event) {
    Object.assign(this, { pass: event.pass, prompt: event.words, grids: event.grids,
      promptTokens: event.prompt_tokens, image: new Set(event.image) });
    this.text.textContent = tamed(event.text);
    this.picture = this.question.picture;
    const code = make('pre', '', event.commands.join('\n'));
    const copy = make('button', '', 'Copy');
    copy.type = 'button';
    copy.addEventListener('click', async () => {
      await navigator.clipboard.writeText(event.commands.join('\n'));
      copy.textContent = 'Copied';
    });
    this.commands.replaceChildren(make('summary', '', 'The command that gives this answer'), code,
      copy);
    this.commands.hidden = false;
    say(`Done in ${event.seconds.toFixed(1)} s.`);
  }
}

async function ask(question, signal) {
  const answer = new Answer(question);
  at('answers').append(answer.node);
  const response = await fetch('api/ask', { method: 'POST', signal,
    headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(question) });
  if (!response.ok) throw new Error((await response.json()).error);
  const reader = response.body.getReader(), decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
    rest = lines.pop();
    for (const line of lines) if (line) answer.take(JSON.parse(line));
  }
  return answer;
}

async function run(keep) {
  if (state.running) state.running.abort();
  if (!state.picture) {
    say('Choose a picture first.');
    return;
  }
  const control = state.running = new AbortController();
  remember();
  at('stop').disabled = false;
  at('answering').hidden = false;
  at('answers').replaceChildren();
  state.answers = [];
  const changed = mask();
  const base = { picture: state.picture, prompt: at('question').value,
    raw: at('raw').checked, max_tokens: +at('most').value || 32, lens: at('lens').checked,
    keep: keep ? [keep] : [] };
  try {
    const masks = changed && at('compare').checked ? [null, changed] : [changed];
    for (const one of masks) {
      const answer = await ask({ ...base, mask: one }, control.signal);
      if (answer.pass) state.answers.push(answer);
    }
    options(at('pass'), state.answers.map((answer, i) => [i, answer.title]));
    at('looking').hidden = !state.answers.length;
    if (state.answers.length) await look();
    showLens();
  } catch (error) {
    if (error.name !== 'AbortError') say(error.message);
    else if (state.running === control) say('Stopped.');
  } finally {
    if (state.running === control) {
      state.running = null;
      at('stop').disabled = true;
    }
  }
}

/* --- neurons --- */
const module = () => state.info.modules.find(m => m.name === at('module').value);
const answer = () => state.answers[+at('pass').value] || state.answers[0];
const isDecoder = () => at('module').value === state.info.decoder;

async function look() {
  if (!answer()) return;
  remember();
  const [layer, neuron] = [+at('layer').value, +at('neuron').value];
  const note = at('neuron-note');
  try {
    const found = await get(`api/neuron?pass=${answer().pass}&module=${at('module').value}`
      + `&layer=${layer}&neuron=${neuron}`);
    state.values = found.values;
    state.tiles = found.grids || [];
    const numbers = found.values.filter(v => v !== null);
    const top = numbers.reduce((a, b) => Math.max(a, b), -Infinity);
    const on = numbers.filter(v => v > 0).length;
    note.textContent = `${at('module').value}, layer ${layer}, neuron ${neuron}: fires at ${on} of `
      + `${numbers.length} places (${percent(on / numbers.length)}), at most ${top.toFixed(3)}.`;
    draw();
    await point(state.position >= 0 && state.position < found.values.length ? state.position
      : numbers.length - 1);
  } catch (error) {
    state.values = null;
    if (error.status !== 409) {
      note.textContent = tamed(error.message);
      return;
    }
    const again = make('button', '', 'Ask again, keeping it');
    again.type = 'button';
    again.addEventListener('click', () => run(`mlp:${at('module').value}.${layer}`));
    note.replaceChildren('The answer did not keep this neuron\u2019s layer. ', again);
  }
}

/* Places that lie side by side in the picture. A tower sees tiles: those that are laid beside one
   another are one grid of patches. */
function grids() {
  if (!answer()) return [];
  if (isDecoder()) return answer().grids;
  const all = state.tiles, last = all[all.length - 1];
  const beside = all.filter(t => near(t.cellWidth, last.cellWidth)
    && near(t.cellHeight, last.cellHeight) && t.name !== 'overview');
  if (beside.length < 2) return all;
  return [laid(beside), ...all.filter(t => !beside.includes(t))];
}
const near = (a, b) => Math.abs(a - b) < 1e-9;
function laid(tiles) {
  const [corner] = tiles, across = tiles.filter(t => near(t.y, corner.y)).length;
  return { ...corner, name: 'tiles', tiles, across, rows: corner.rows * tiles.length / across,
    columns: corner.columns * across };
}
const width = grid => grid.columns + (grid.hasRowEnds ? 1 : 0);
function place(grid, row, column) {
  if (!grid.tiles) return grid.first + row * width(grid) + column;
  const side = grid.tiles[0];
  const tile = grid.tiles[Math.floor(row / side.rows) * grid.across
    + Math.floor(column / side.columns)];
  return place(tile, row % side.rows, column % side.columns);
}
function cell(grid, position) {
  if (grid.tiles) {
    for (const [i, tile] of grid.tiles.entries()) {
      const found = cell(tile, position);
      if (found) {
        return [found[0] + Math.floor(i / grid.across) * tile.rows,
          found[1] + i % grid.across * tile.columns];
      }
    }
    return null;
  }
  const index = position - grid.first;
  if (index < 0) return null;
  const row = Math.floor(index / width(grid)), column = index % width(grid);
  return row < grid.rows && column < grid.columns ? [row, column] : null;
}
const grid = () => grids()[+at('grid').value || 0];

function draw() {
  const all = grids(), chosen = at('grid').value;
  options(at('grid'), all.map((g, i) => [i, `${g.name}, ${g.rows} × ${g.columns}`]));
  if (chosen && +chosen < all.length) at('grid').value = chosen;
  at('grid-row').hidden = all.length < 2;
  const canvas = at('heat'), photo = at('photo');
  canvas.hidden = at('heat-scale').hidden = !all.length;
  if (all.length) paint(canvas, photo, grid());
  const values = state.values, top = values.reduce((a, b) => Math.max(a, b), 0) || 1;
  const [low, , high] = at('heat-scale').children;
  low.textContent = '0';
  high.textContent = top.toFixed(3);
  const answered = answer(), tokens = [];
  if (isDecoder()) {
    answered.prompt.forEach((word, i) => {
      if (answered.image.has(i) || i >= values.length) return;
      tokens.push(token(shown(word), i, values[i] / top));
    });
  } else if (!all.length) {
    values.forEach((value, i) => tokens.push(token(String(i), i, value / top)));
  }
  at('tokens').replaceChildren(...tokens);
}
function token(text, position, share) {
  const button = make('button', '', text);
  button.type = 'button';
  button.dataset.position = position;
  button.style.setProperty('--p', Math.round(100 * Math.min(1, Math.max(0, share))) + '%');
  button.addEventListener('click', () => point(position));
  return button;
}
function paint(canvas, photo, g) {
  const shape = photo.naturalWidth ? [photo.naturalWidth, photo.naturalHeight] : [1, 1];
  const wide = Math.min(560, canvas.parentElement.clientWidth || 560);
  canvas.width = wide;
  canvas.height = Math.round(wide * shape[1] / shape[0]);
  const pen = canvas.getContext('2d');
  if (photo.naturalWidth) {
    pen.filter = 'grayscale(1)';
    pen.drawImage(photo, 0, 0, canvas.width, canvas.height);
    pen.filter = 'none';
  }
  const top = state.values.reduce((a, b) => Math.max(a, b), 0) || 1;
  for (let row = 0; row < g.rows; row++) {
    for (let column = 0; column < g.columns; column++) {
      const share = Math.max(0, (state.values[place(g, row, column)] || 0) / top);
      const [r, gr, b] = bright(share);
      pen.fillStyle = `rgba(${r},${gr},${b},${0.25 + 0.55 * share})`;
      pen.fillRect(...box(g, row, column, canvas));
    }
  }
  const now = cell(g, state.position);
  if (now) {
    pen.strokeStyle = '#fff';
    pen.lineWidth = 3;
    pen.strokeRect(...box(g, ...now, canvas));
    pen.strokeStyle = '#000';
    pen.lineWidth = 1;
    pen.strokeRect(...box(g, ...now, canvas));
  }
}
const box = (g, row, column, canvas) => [
  (g.x + column * g.cellWidth) * canvas.width, (g.y + row * g.cellHeight) * canvas.height,
  g.cellWidth * canvas.width, g.cellHeight * canvas.height];
function hit(event) {
  const canvas = at('heat'), g = grid(), bounds = canvas.getBoundingClientRect();
  if (!g) return -1; // another module was chosen, whose values are under way
  const x = (event.clientX - bounds.left) / bounds.width;
  const y = (event.clientY - bounds.top) / bounds.height;
  const column = Math.floor((x - g.x) / g.cellWidth), row = Math.floor((y - g.y) / g.cellHeight);
  return row >= 0 && row < g.rows && column >= 0 && column < g.columns
    ? place(g, row, column) : -1;
}

async function point(position) {
  if (position < 0 || !state.values) return;
  state.position = position;
  remember();
  const g = grid(), now = g && cell(g, position);
  const value = state.values[position];
  at('place').textContent = (now ? `Row ${now[0] + 1}, column ${now[1] + 1} of ${g.name}`
    : isDecoder() && answer().prompt[position] !== undefined
      ? `“${shown(answer().prompt[position])}”` : `Place ${position}`)
    + (value === null ? '' : `: ${value.toFixed(4)}`);
  for (const button of at('tokens').children) {
    button.setAttribute('aria-pressed', +button.dataset.position === position);
  }
  if (g) paint(at('heat'), at('photo'), g);
  const found = await get(`api/position?pass=${answer().pass}&module=${at('module').value}`
    + `&position=${position}`).catch(() => []);
  if (state.position !== position) return;
  at('firing').hidden = !found.length;
  at('firing').tBodies[0].replaceChildren(...found.map(entry => {
    const row = make('tr'), first = make('th');
    first.scope = 'row';
    const button = make('button', '', `${entry.layer}.${entry.neuron}`);
    button.type = 'button';
    button.title = `Layer ${entry.layer}, neuron ${entry.neuron}`;
    button.addEventListener('click', () => {
      at('layer').value = entry.layer;
      at('neuron').value = entry.neuron;
      look();
    });
    first.append(button);
    row.append(first, make('td', '', entry.domains.join(', ')),
      make('td', 'num', entry.value.toFixed(4)));
    return row;
  }));
}
function walk(event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  const g = grid();
  if (!step || !g) return;
  event.preventDefault();
  // A tile's padding lies outside of the picture.
  const inside = (row, column) => {
    if (row < 0 || row >= g.rows || column < 0 || column >= g.columns) return false;
    const [x, y, w, h] = box(g, row, column, { width: 1, height: 1 });
    return x < 1 && y < 1 && x + w > 0 && y + h > 0;
  };
  let next = cell(g, state.position);
  if (next && inside(...next)) {
    next = [next[0] + step[0], next[1] + step[1]];
  } else {
    next = [0, 0];
    while (next[0] < g.rows - 1 && !inside(next[0], g.columns >> 1)) next[0]++;
    while (next[1] < g.columns - 1 && !inside(next[0], next[1])) next[1]++;
  }
  if (inside(...next)) point(place(g, ...next));
}

/* The neurons of a domain's set in a module, one after the other. */
function browsed() {
  const set = module().sets[at('browse-domain').value] || [];
  return set.flatMap((neurons, layer) => neurons.map(neuron => [layer, neuron]));
}
function browse(step) {
  const all = browsed();
  if (!all.length) return;
  const now = all.findIndex(([l, n]) => l === +at('layer').value && n === +at('neuron').value);
  const next = now < 0 ? 0 : (now + step + all.length) % all.length;
  [at('layer').value, at('neuron').value] = all[next];
  at('browse-place').textContent = `${next + 1} of ${all.length}`;
  look();
}
function chooseModule() {
  const shape = module();
  at('layer').max = shape.layers - 1;
  at('neuron').max = shape.neurons - 1;
  const domains = Object.keys(shape.sets).filter(d => shape.sets[d].some(l => l.length));
  options(at('browse-domain'), domains.map(d => [d, d]));
  at('browse').hidden = !domains.length;
  at('browse-place').textContent = domains.length ? `${browsed().length} neurons` : '';
}
function pinned() {
  at('pinned').replaceChildren(state.pinned.length ? 'Pinned: ' : 'Nothing is pinned: pin neurons '
    + 'below an answer.', ...state.pinned.map((neuron, i) => {
    const button = make('button', '', `${neuron.join('.')} ×`);
    button.type = 'button';
    button.title = 'Take it off';
    button.addEventListener('click', () => {
      state.pinned.splice(i, 1);
      pinned();
      remember();
    });
    return button;
  }));
}

/* --- the lens, as in the report --- */
function showLens() {
  const seen = state.answers.filter(a => a.lens);
  at('lensing').hidden = !seen.length;
  at('lens-place').replaceChildren(...seen.map(one => {
    const article = make('article', 'lens'), photo = make('img', 'photo');
    photo.src = 'api/picture?id=' + encodeURIComponent(one.picture);
    photo.alt = '';
    const app = make('div', 'app'), data = make('script');
    app.hidden = true;
    data.type = 'application/json';
    data.textContent = JSON.stringify(one.lens);
    article.append(make('h3', '', one.title), photo, app, make('div', 'static'), data);
    return article;
  }));
  for (const article of at('lens-place').children) window.mmqLens(article);
}

/* --- the beginning --- */
async function begin() {
  const info = state.info = await get('api/info');
  document.title = `${shown(info.model)} – mmq explore`;
  at('title').textContent = shown(info.model);
  at('byline').textContent = `${shown(info.architecture)}, ${info.modules.map(m =>
    `${m.name} ${m.layers} × ${m.neurons}`).join(', ')}`;
  options(at('setting'), info.settings.map(s => [s, s]));
  options(at('kind'), info.kinds.map(k => [k, k]));
  options(at('module'), info.modules.map(m => [m.name, m.name]));
  options(at('domain'), info.domains.map(d => [d, d]));
  at('module').value = info.decoder;
  at('what').querySelector('[value=setting]').disabled = !info.settings.length;
  at('samples').hidden = !info.domains.length;
  recall();
  chooseModule();
  pinned();
  const changes = () => { at('setting-label').hidden = at('what').value !== 'setting'; };
  changes();

  at('form').addEventListener('submit', event => { event.preventDefault(); run(); });
  at('stop').addEventListener('click', () => { if (state.running) state.running.abort(); });
  at('file').addEventListener('change', event => take(event.target.files[0]));
  at('what').addEventListener('change', changes);
  for (const id of ['what', 'setting', 'kind', 'most', 'question', ...checks]) {
    at(id).addEventListener('change', remember);
  }
  at('samples').addEventListener('toggle', () => { if (at('samples').open) list(); });
  at('domain').addEventListener('change', () => { state.first = 0; list(); });
  at('earlier').addEventListener('click', () => {
    state.first = Math.max(0, state.first - 24);
    list();
  });
  at('later').addEventListener('click', () => { state.first += 24; list(); });
  const drop = at('drop');
  for (const name of ['dragover', 'dragleave', 'drop']) {
    drop.addEventListener(name, event => {
      event.preventDefault();
      drop.classList.toggle('over', name === 'dragover');
      if (name === 'drop') take(event.dataTransfer.files[0]);
    });
  }
  at('neuron-form').addEventListener('submit', event => { event.preventDefault(); look(); });
  at('pass').addEventListener('change', look);
  at('module').addEventListener('change', () => {
    chooseModule();
    state.position = -1;
    look();
  });
  at('grid').addEventListener('change', () => { if (state.values) draw(); });
  at('before').addEventListener('click', () => browse(-1));
  at('after').addEventListener('click', () => browse(1));
  at('browse-domain').addEventListener('change', () => browse(0));
  at('pin').addEventListener('click', () => {
    const neuron = [at('module').value, +at('layer').value, +at('neuron').value];
    if (!state.pinned.some(n => n.join() === neuron.join())) state.pinned.push(neuron);
    at('what').value = 'pinned';
    changes();
    pinned();
    remember();
  });
  at('heat').addEventListener('click', event => point(hit(event)));
  at('heat').addEventListener('keydown', walk);
}
begin().catch(error => say(error.message));
})();
