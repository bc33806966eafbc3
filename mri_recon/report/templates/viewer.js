// The viewer: one state, drawn into all panes.
const TARGET = 'target';
const state = {
  entry: 0, slice: 0, swipe: false, show: 'both', factor: report.factor, white: 1,
  left: null, right: null, divider: 0.5, zoom: 1, x: 0.5, y: 0.5,
};
let drawn = { sources: {}, panes: [] };
let turn = 0;

const current = () => report.entries[state.entry];
const shown = () => current().slices[state.slice];
const present = () => report.methods.filter((method) => shown().images[method]);

function scoreText(method) {
  const slice = current().methods[method].slices;
  const place = shown().index - current().first;
  return `SSIM ${show(slice.ssim[place], 3)} · ${show(slice.psnr[place], 1)} dB`;
}

function pane(name, kinds) {
  const canvases = kinds.map((kind) => {
    const canvas = make('canvas', { role: 'img', 'data-kind': kind });
    follow(canvas);
    return canvas;
  });
  const who = make('span', { class: 'who' }, name);
  const what = make('span', { class: 'what' });
  const figure = make('figure', { class: 'pane', 'data-method': name }, make('figcaption', {}, who, what), ...canvases);
  return { name, figure, who, what, canvases };
}

function kindsShown() {
  return { both: ['image', 'error'], images: ['image'], errors: ['error'] }[state.show];
}

// Panes are made anew only when what they hold changes, so that focus and drags survive a redraw.
function layOut() {
  const kinds = kindsShown();
  const key = JSON.stringify([state.swipe, kinds, state.swipe ? [] : present()]);
  if (drawn.key === key) return;
  const panes = state.swipe
    ? kinds.map((kind) => pane(kind, [kind]))
    : [pane(TARGET, kinds.includes('image') ? ['image'] : []), ...present().map((method) => pane(method, kinds))];
  if (!state.swipe && kinds.includes('error')) panes[0].figure.append(scaleBar());
  byId('panes').replaceChildren(...panes.map((one) => one.figure));
  byId('panes').classList.toggle('swipe', state.swipe);
  drawn = { key, panes, sources: drawn.sources };
}

function scaleBar() {
  const bar = make('canvas', { width: 256, height: 1, 'aria-hidden': 'true' });
  const context = bar.getContext('2d');
  for (let i = 0; i < 256; i += 1) {
    context.fillStyle = `rgb(${heat(i / 255).map(Math.round).join(' ')})`;
    context.fillRect(i, 0, 1, 1);
  }
  const ends = make('span', { class: 'ends' }, make('span', {}, '0'), make('span', { class: 'end' }));
  return make('div', { class: 'scale' }, make('span', { class: 'title' }), bar, ends);
}

// Loads what the state asks for, then draws; a later call overtakes an earlier one.
async function load() {
  turn += 1;
  const mine = turn;
  byId('panes').setAttribute('aria-busy', 'true');
  const slice = shown();
  const wanted = { [TARGET]: { image: slice.target } };
  for (const method of present()) wanted[method] = { image: slice.images[method], error: slice.errors[method] };
  const sources = {};
  for (const [name, urls] of Object.entries(wanted)) {
    sources[name] = {};
    for (const [kind, url] of Object.entries(urls)) sources[name][kind] = { found: await levelsOf(url) };
  }
  if (mine !== turn) return;
  drawn.sources = sources;
  layOut();
  redraw();
  byId('panes').setAttribute('aria-busy', 'false');
}

function source(name, kind) {
  const entry = drawn.sources[name]?.[kind];
  if (!entry) return null;
  const white = (current().white / state.white) / (kind === 'error' ? state.factor : 1);
  if (entry.white !== white) Object.assign(entry, { white, canvas: paint(entry.found, white, kind === 'error' ? heat : gray) });
  return entry.canvas;
}

function redraw() {
  const entry = current();
  const aspect = entry.width / entry.height;
  for (const one of drawn.panes) {
    for (const canvas of one.canvases) {
      const { kind } = canvas.dataset;
      fitCanvas(canvas, aspect);
      canvas.classList.toggle('zoomed', state.zoom > 1);
      canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
      if (state.swipe) drawSwipe(canvas, kind);
      else drawPart(canvas, source(one.name, kind), state);
      canvas.setAttribute('aria-label', label(one.name, kind));
    }
    describe(one);
  }
  all('.scale', byId('panes')).forEach((bar) => {
    bar.style.aspectRatio = String(aspect);
    bar.querySelector('.title').textContent = `|error| × ${state.factor}`;
    bar.querySelector('.end').textContent = `${percent(1 / state.factor)} of white`;
  });
  controls();
}

function describe(one) {
  if (state.swipe) {
    one.who.textContent = `${state.left} | ${state.right}`;
    one.what.textContent = one.name === 'error' ? `|error| × ${state.factor}` : 'image';
  } else {
    one.what.textContent = one.name === TARGET ? 'reference' : scoreText(one.name);
  }
}

function label(name, kind) {
  const where = `${current().name}, slice ${shown().index}`;
  if (state.swipe) return `${state.left} to the left and ${state.right} to the right, ${kind}s, ${where}`;
  return kind === 'error'
    ? `Error of ${name} times ${state.factor}, ${where}`
    : `${name}, ${where}${name === TARGET ? '' : `, ${scoreText(name)}`}`;
}

function drawSwipe(canvas, kind) {
  const sides = [[state.left, 0, state.divider], [state.right, state.divider, 1]];
  for (const [name, from, to] of sides) {
    const part = source(name, kind);
    if (part) drawPart(canvas, part, state, from, to);
  }
  const context = canvas.getContext('2d');
  const x = state.divider * canvas.width;
  // White with a dark rim, to be seen on any picture.
  for (const [style, rim] of [['#000', 1], ['#fff', 0]]) {
    context.fillStyle = style;
    context.fillRect(x - 1 - rim, 0, 2 + 2 * rim, canvas.height);
    context.beginPath();
    context.arc(x, canvas.height / 2, 0.012 * canvas.width + 4 + rim, 0, 2 * Math.PI);
    context.fill();
  }
}

const percent = (part) => `${show(100 * part, part < 0.1 ? 1 : 0)} %`;

function controls() {
  const entry = current();
  byId('view-volume').value = String(state.entry);
  Object.assign(byId('view-slice'), { max: String(entry.slices.length - 1), value: String(state.slice), disabled: entry.slices.length < 2 });
  byId('view-slice').setAttribute('aria-valuetext', `slice ${shown().index}`);
  byId('view-slice-text').textContent = String(shown().index);
  byId('view-factor').value = String(state.factor);
  byId('view-white').value = String(Math.round(100 * state.white));
  byId('view-white-text').textContent = `${Math.round(100 * state.white)} %`;
  byId('view-zoom-text').textContent = `${show(state.zoom, state.zoom < 10 ? 1 : 0)}×`;
  byId('view-side').setAttribute('aria-pressed', String(!state.swipe));
  byId('view-swipe').setAttribute('aria-pressed', String(state.swipe));
  all('[data-view-show]').forEach((button) => button.setAttribute('aria-pressed', String(button.dataset.viewShow === state.show)));
  byId('swipe-bar').hidden = !state.swipe;
  byId('swipe-a').value = state.left;
  byId('swipe-b').value = state.right;
  byId('swipe-divider').value = String(Math.round(100 * state.divider));
  const last = entry.first + entry.n_slices - 1;
  const range = entry.n_slices > 1 ? `slices ${entry.first} to ${last}` : `slice ${entry.first}`;
  const kept = entry.slices.map((slice) => `${slice.index} (${slice.reason})`).join(', ');
  byId('view-caption').textContent =
    `${entry.name}, ${entry.rate}. Scored: ${range}. `
    + (entry.n_slices > entry.slices.length ? `Pictures in this file: slice ${kept}. ` : '')
    + `White is ${percent(entry.white / state.white)} of the volume's maximum, `
    + `in the error maps ${percent(entry.white / state.white / state.factor)}.`;
}
