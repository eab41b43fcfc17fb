(() => {
'use strict';
const make = (tag, style, text) => {
  const node = document.createElement(tag);
  if (style) node.className = style;
  if (text !== undefined) node.textContent = text;
  return node;
};
const bytes = text => {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out.buffer;
};
const percent = p => (p * 100).toFixed(p < 0.0995 ? 1 : 0) + ' %';
// Dark for undecided, bright for certain: cividis, whose lightness rises evenly.
const stops = [[0, 32, 76], [49, 68, 107], [102, 105, 112], [149, 143, 120],
  [203, 186, 105], [255, 233, 69]];
const color = t => {
  const x = Math.min(1, Math.max(0, t)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(x)), f = x - i;
  return stops[i].map((c, k) => Math.round(c + f * (stops[i + 1][k] - c)));
};

class Lens {
  constructor(article) {
    const d = JSON.parse(article.querySelector('script').textContent);
    this.d = d;
    // As in the page's other texts: a token must not turn what stands beside it.
    d.words = d.words.map(word => word.replace(
      /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '\ufffd'));
    this.ids = d.idBytes === 2 ? new Uint16Array(bytes(d.ids))
      : new Uint32Array(bytes(d.ids));
    this.none = d.idBytes === 2 ? 0xffff : 0xffffffff;
    this.p = new Uint16Array(bytes(d.probabilities));
    this.e = new Uint16Array(bytes(d.entropies));
    this.image = new Uint8Array(d.positions);
    for (const [first, count] of d.imageRuns) {
      this.image.fill(1, first, first + count);
    }
    this.layer = d.layers.length - 1;
    this.position = d.positions - 1;
    this.kept = this.position;
    this.grid = 0;
    this.by = 'entropy';
    this.photo = article.querySelector('img');
    this.limits();
    this.build(article);
  }

  entropy(layer, position) {
    const v = this.e[layer * this.d.positions + position];
    return v <= this.d.scale ? v / this.d.scale * this.d.entropyLimit : NaN;
  }
  guesses(layer, position) {
    const row = (layer * this.d.positions + position) * this.d.top, out = [];
    for (let i = row; i < row + this.d.top; i++) {
      if (this.ids[i] === this.none) continue;
      const p = this.p[i];
      out.push([this.d.words[this.ids[i]], p <= this.d.scale ? p / this.d.scale : NaN]);
    }
    return out;
  }
  /* One scale over all layers, so that colours can be compared between them. */
  limits() {
    const values = [];
    for (let layer = 0; layer < this.d.layers.length; layer++) {
      for (let i = 0; i < this.d.positions; i++) {
        const v = this.entropy(layer, i);
        if (this.image[i] && v === v) values.push(v);
      }
    }
    values.sort((a, b) => a - b);
    const at = q => values.length ? values[Math.floor(q * (values.length - 1))] : 0;
    this.low = at(0.01);
    this.high = Math.max(at(0.99), this.low + 1e-6);
  }
  brightness(layer, position) {
    if (this.by === 'probability') {
      const best = this.guesses(layer, position)[0];
      return best ? best[1] : 0;
    }
    return 1 - (this.entropy(layer, position) - this.low) / (this.high - this.low);
  }

  word(text) {
    const node = make('bdi', 'word');
    for (const part of text.split(/(\u2581)/)) {
      if (part) node.append(part === '\u2581' ? make('i', '', part) : part);
    }
    return node;
  }
  labelled(text, control) {
    const node = make('label', '', text);
    node.append(control);
    return node;
  }
  choice(options, change) {
    const node = make('select');
    options.forEach(([value, text]) => {
      const option = make('option', '', text);
      option.value = value;
      node.append(option);
    });
    node.addEventListener('change', () => { change(node.value); this.show(); });
    return node;
  }

  build(article) {
    const app = article.querySelector('.app'), d = this.d;
    const left = make('div', 'left'), right = make('div', 'right');
    const controls = make('div', 'controls');
    this.slider = make('input');
    Object.assign(this.slider,
      { type: 'range', min: 0, max: d.layers.length - 1, step: 1, value: this.layer });
    this.slider.addEventListener('input', () => this.setLayer(+this.slider.value));
    this.layerName = make('output');
    const layerLabel = this.labelled('', this.slider);
    layerLabel.prepend(this.layerName);
    controls.append(layerLabel);
    if (d.grids.length && this.photo) {
      controls.append(this.labelled('colour', this.choice([
        ['entropy', 'entropy'], ['probability', 'first choice'], ['none', 'none'],
      ], v => { this.by = v; })));
      if (d.grids.length > 1) {
        controls.append(this.labelled('tokens of', this.choice(
          d.grids.map((g, i) => [i, `${g.name}, ${g.rows} × ${g.columns}`]),
          v => { this.setGrid(+v); })));
      }
      this.buildCanvas(left);
    } else if (this.photo) {
      left.append(this.photo);
    }
    this.buildTokens(left);
    this.place = make('p', 'place');
    this.spoken = make('p', 'spoken');
    this.spoken.setAttribute('aria-live', 'polite');
    this.table = make('table', 'layers');
    const head = make('tr');
    for (const [name, style] of [['layer', 'l'], ['entropy', 'e'],
      ['what would come next', 't']]) {
      const cell = make('th', style, name);
      cell.scope = 'col';
      head.append(cell);
    }
    const thead = make('thead');
    thead.append(head);
    this.rows = make('tbody');
    this.table.append(thead, this.rows);
    right.append(this.place, this.spoken, this.table);
    left.prepend(controls);
    app.append(left, right);
    app.hidden = false;
    article.querySelector('.static').hidden = true;
    this.rows.addEventListener('click', event => {
      const row = event.target.closest('tr');
      if (row) this.setLayer(this.d.layers.length - 1 - row.sectionRowIndex);
    });
    article.addEventListener('keydown', event => {
      if (event.key === 'Escape') { this.keep(this.d.positions - 1); return; }
      const step = { PageUp: 1, PageDown: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.setLayer(this.layer + step);
    });
    this.setLayer(this.layer);
  }

  /* --- the picture --- */
  buildCanvas(parent) {
    this.canvas = make('canvas');
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute('role', 'application');
    this.canvas.setAttribute('aria-label',
      'Tokens of the picture. Arrow keys move between patches, Page Up and Page Down '
      + 'between layers.');
    this.scale = make('div', 'scale');
    this.scale.append(make('span'), make('i'), make('span'));
    this.photo.hidden = true;
    parent.append(this.canvas, this.scale);
    const at = event => {
      const box = this.canvas.getBoundingClientRect();
      return this.hit(event.clientX - box.left, event.clientY - box.top);
    };
    this.canvas.addEventListener('pointermove', event => {
      if (event.pointerType !== 'touch') this.look(at(event));
    });
    this.canvas.addEventListener('pointerleave', () => this.look(this.kept));
    this.canvas.addEventListener('click', event => this.keep(at(event)));
    this.canvas.addEventListener('keydown', event => this.walk(event));
    this.canvas.addEventListener('focus', () => {
      if (!this.cell(this.position)) this.keep(this.d.grids[this.grid].first);
    });
    new ResizeObserver(() => this.draw()).observe(this.scale);
    if (!this.photo.complete) this.photo.addEventListener('load', () => {
      this.heatKey = '';
      this.draw();
    });
  }
  setGrid(grid) {
    this.grid = grid;
    const first = this.d.grids[grid].first;
    if (this.image[this.kept]) this.kept = this.position = first;
  }
  stride(g) { return g.columns + (g.hasRowEnds ? 1 : 0); }
  /* Row and column of a position in the grid that is shown; null if it is not in it. */
  cell(position) {
    const g = this.d.grids[this.grid], stride = this.stride(g);
    const i = position - g.first;
    return i < 0 || i >= stride * g.rows ? null
      : { row: Math.floor(i / stride), column: i % stride };
  }
  at(row, column) {
    const g = this.d.grids[this.grid];
    return g.first + row * this.stride(g) + column;
  }
  /* Sizes in CSS pixels: the picture, and right of it a strip for the ends of rows. */
  sizes() {
    const g = this.d.grids[this.grid];
    const strip = this.d.grids.some(g => g.hasRowEnds) ? 14 : 0;
    const margin = strip ? strip + 4 : 0;
    const shape = this.photo.naturalHeight / Math.max(1, this.photo.naturalWidth);
    // A tall picture is not to push everything else off the screen.
    const room = this.scale.clientWidth - margin;
    const width = Math.max(40, Math.min(room, 520 / Math.max(shape, 1e-6)));
    const whole = width + margin;
    const height = width * shape;
    return { g, whole, strip, width, height };
  }
  box(row, column, { g, whole, strip, width, height }) {
    const clip = v => Math.min(1, Math.max(0, v));
    const top = clip(g.y + row * g.cellHeight) * height;
    const bottom = clip(g.y + (row + 1) * g.cellHeight) * height;
    if (column >= g.columns) {
      return { x: whole - strip, y: top, w: strip, h: bottom - top };
    }
    const start = clip(g.x + column * g.cellWidth) * width;
    const end = clip(g.x + (column + 1) * g.cellWidth) * width;
    return { x: start, y: top, w: end - start, h: bottom - top };
  }
  hit(x, y) {
    const { g, width, height } = this.sizes();
    const limit = (v, n) => Math.min(n - 1, Math.max(0, v));
    const row = limit(Math.floor((y / height - g.y) / g.cellHeight), g.rows);
    const column = g.hasRowEnds && x > width + 2 ? g.columns
      : limit(Math.floor((x / width - g.x) / g.cellWidth), g.columns);
    return this.at(row, column);
  }
  walk(event) {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0],
      ArrowDown: [1, 0] }[event.key];
    const now = this.cell(this.kept);
    if (!move || !now) return;
    event.preventDefault();
    const g = this.d.grids[this.grid];
    const row = Math.min(g.rows - 1, Math.max(0, now.row + move[0]));
    const column = Math.min(this.stride(g) - 1, Math.max(0, now.column + move[1]));
    this.keep(this.at(row, column));
  }
  paint(c, sizes, ratio) {
    const { g, width, height } = sizes;
    c.scale(ratio, ratio);
    c.drawImage(this.photo, 0, 0, width, height);
    if (this.by === 'none') return;
    for (let row = 0; row < g.rows; row++) {
      for (let column = 0; column < this.stride(g); column++) {
        const b = this.box(row, column, sizes);
        const t = this.brightness(this.layer, this.at(row, column));
        const rgb = color(t === t ? t : 0).join(',');
        c.fillStyle = `rgba(${rgb},${column < g.columns ? 0.62 : 1})`;
        c.fillRect(b.x, b.y, b.w, b.h);
      }
    }
  }
  draw() {
    if (!this.canvas) return;
    const sizes = this.sizes(), { whole, width, height } = sizes;
    if (!(width > 0) || !(height > 0)) return;
    const ratio = window.devicePixelRatio || 1;
    // The colours change with the layer, not with the place pointed at.
    const key = [this.layer, this.by, this.grid, whole, height, ratio].join();
    if (key !== this.heatKey) {
      this.heatKey = key;
      this.heat = this.heat || make('canvas');
      this.heat.width = Math.round(whole * ratio);
      this.heat.height = Math.round(height * ratio);
      this.paint(this.heat.getContext('2d'), sizes, ratio);
      this.canvas.style.width = whole + 'px';
      this.canvas.style.height = height + 'px';
      this.canvas.width = this.heat.width;
      this.canvas.height = this.heat.height;
    }
    const c = this.canvas.getContext('2d');
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, this.canvas.width, this.canvas.height);
    c.drawImage(this.heat, 0, 0);
    c.scale(ratio, ratio);
    const now = this.cell(this.position);
    if (now) {
      const b = this.box(now.row, now.column, sizes);
      for (const [width, style] of [[4, '#000'], [2, '#fff']]) {
        c.lineWidth = width;
        c.strokeStyle = style;
        c.strokeRect(b.x, b.y, b.w, b.h);
      }
    }
    const [low, , high] = this.scale.children;
    this.scale.style.visibility = this.by === 'none' ? 'hidden' : 'visible';
    const isEntropy = this.by === 'entropy';
    low.textContent = isEntropy ? `undecided ${this.high.toFixed(2)}` : '0 %';
    high.textContent = isEntropy ? `${this.low.toFixed(2)} certain` : '100 %';
  }

  /* --- the tokens --- */
  buildTokens(parent) {
    const box = make('div', 'tokens');
    box.setAttribute('role', 'group');
    box.setAttribute('aria-label', 'Tokens of the prompt');
    this.buttons = new Map();
    const placed = this.canvas !== undefined;
    for (let i = 0; i < this.d.positions; i++) {
      if (this.image[i] && placed) {
        let end = i;
        while (end < this.d.positions && this.image[end]) end++;
        const run = make('button', 'run', `picture: ${end - i} tokens`);
        run.addEventListener('click', () => this.canvas.focus());
        box.append(run);
        i = end - 1;
        continue;
      }
      const button = make('button');
      button.append(this.image[i] ? make('span', '', `image ${i}`)
        : this.word(this.d.words[this.d.tokens[i]]));
      button.append(make('small'));
      button.tabIndex = -1;
      button.setAttribute('aria-pressed', false);
      button.addEventListener('click', () => this.keep(i));
      button.addEventListener('pointerenter', event => {
        if (event.pointerType !== 'touch') this.look(i);
      });
      button.addEventListener('pointerleave', () => this.look(this.kept));
      this.buttons.set(i, button);
      box.append(button);
    }
    box.addEventListener('keydown', event => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const list = [...this.buttons.keys()];
      const next = list[list.indexOf(this.kept) + step];
      if (next === undefined) return;
      this.keep(next);
      this.buttons.get(next).focus();
    });
    parent.append(box);
  }

  /* --- what is shown --- */
  setLayer(layer) {
    this.layer = Math.min(this.d.layers.length - 1, Math.max(0, layer));
    this.slider.value = this.layer;
    this.layerName.textContent = 'layer ' + this.d.layers[this.layer];
    this.slider.setAttribute('aria-valuetext', this.layerName.textContent);
    for (const [i, button] of this.buttons) {
      const best = this.guesses(this.layer, i)[0];
      const text = best ? '→ ' + best[0].replace(/\u2581/g, ' ').trim() : '';
      button.lastChild.textContent = text || '→';
    }
    this.show();
  }
  look(position) {
    if (position === this.position) return;
    this.position = position;
    this.show();
  }
  keep(position) {
    this.kept = this.position = position;
    this.show();
  }
  show() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.render(); });
  }
  name(position) {
    if (!this.image[position]) {
      return `Token ${position}: “${this.d.words[this.d.tokens[position]]}”`;
    }
    const cell = this.canvas ? this.cell(position) : null;
    if (!cell) return `Image token, position ${position}`;
    const g = this.d.grids[this.grid];
    return cell.column >= g.columns ? `End of row ${cell.row + 1}, position ${position}`
      : `Patch in row ${cell.row + 1}, column ${cell.column + 1}, position ${position}`;
  }
  press(button) {
    if (this.pressed) this.pressed.setAttribute('aria-pressed', false);
    this.pressed = button;
    if (button) button.setAttribute('aria-pressed', true);
  }
  tab(button) {
    if (this.tabbed) this.tabbed.tabIndex = -1;
    this.tabbed = button;
    if (button) button.tabIndex = 0;
  }
  render() {
    this.press(this.buttons.get(this.position));
    // One token takes part in the walk with Tab: the one that is kept, else the first.
    this.tab(this.buttons.get(this.kept) || this.buttons.values().next().value);
    this.draw();
    this.place.textContent = this.name(this.position);
    const best = this.guesses(this.layer, this.position)[0];
    this.spoken.textContent = best
      ? `Layer ${this.d.layers[this.layer]}: “${best[0]}” with ${percent(best[1])}, entropy `
        + this.entropy(this.layer, this.position).toFixed(2)
      : `Layer ${this.d.layers[this.layer]}`;
    const rows = [];
    for (let layer = this.d.layers.length - 1; layer >= 0; layer--) {
      const row = make('tr', layer === this.layer ? 'now' : '');
      const head = make('th', 'l', this.d.layers[layer]);
      head.scope = 'row';
      const entropy = this.entropy(layer, this.position);
      const cell = make('td', 'e');
      const bar = make('span', 'bar', entropy.toFixed(2));
      bar.style.setProperty('--p',
        Math.max(0, 100 * entropy / this.d.entropyLimit || 0) + '%');
      cell.append(bar);
      const words = make('div', 'words');
      for (const [text, p] of this.guesses(layer, this.position).slice(0, 5)) {
        const guess = make('span', 'guess');
        guess.title = `${text} ${percent(p)}`;
        guess.style.setProperty('--p', Math.round(100 * p || 0) + '%');
        guess.append(this.word(text), make('b', '', percent(p)));
        words.append(guess);
      }
      const said = make('td', 't');
      said.append(words);
      row.append(head, cell, said);
      rows.push(row);
    }
    this.rows.replaceChildren(...rows);
  }
}
window.mmqLens = article => new Lens(article);
document.querySelectorAll('.lens').forEach(window.mmqLens);
})();
