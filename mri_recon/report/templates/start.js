// What the reader does to the viewer.
function update(change, reload = false) {
  Object.assign(state, change);
  state.zoom = clamp(state.zoom, 1, 32);
  // Nothing beyond the edge comes into view.
  const half = 0.5 / state.zoom;
  state.x = clamp(state.x, half, 1 - half);
  state.y = clamp(state.y, half, 1 - half);
  if (reload) return load();
  layOut();
  redraw();
  return Promise.resolve();
}

function openEntry(entry, slice = 0) {
  const number = (entry + report.entries.length) % report.entries.length;
  const other = number !== state.entry;
  Object.assign(state, { entry: number, slice: clamp(slice, 0, report.entries[number].slices.length - 1) });
  if (other) volumeParts();
  const names = [TARGET, ...present()];
  const keep = (name, fallback) => (names.includes(name) ? name : fallback);
  const change = { left: keep(state.left, names[Math.max(names.length - 2, 0)]), right: keep(state.right, names[names.length - 1]) };
  for (const id of ['swipe-a', 'swipe-b']) {
    byId(id).replaceChildren(...names.map((name) => make('option', { value: name }, name)));
  }
  moveCursor();
  say(`${current().name} ${current().rate}, slice ${shown().index}`);
  return update(change, true);
}

const openSlice = (slice) => openEntry(state.entry, slice);

// Zoom so that the point under the pointer, as a fraction of the pane, stays where it is.
function zoomAt(factor, px = 0.5, py = 0.5) {
  const zoom = clamp(state.zoom * factor, 1, 32);
  const shift = (p) => (p - 0.5) * (1 / state.zoom - 1 / zoom);
  return update({ zoom, x: state.x + shift(px), y: state.y + shift(py) });
}

const move = (dx, dy) => update({ x: state.x + dx / state.zoom, y: state.y + dy / state.zoom });

function stepFactor(by) {
  const place = clamp(report.factors.indexOf(state.factor) + by, 0, report.factors.length - 1);
  return update({ factor: report.factors[place] });
}

function setSwipe(swipe) {
  return update({ swipe });
}

const exchange = () => update({ left: state.right, right: state.left });
const nextShow = () => update({ show: { both: 'images', images: 'errors', errors: 'both' }[state.show] });
const setWhite = (white) => update({ white: clamp(white, 0.2, 2) });
const setDivider = (divider) => update({ divider: clamp(divider, 0, 1) });

const KEYS = {
  ArrowLeft: () => openSlice(state.slice - 1),
  ArrowRight: () => openSlice(state.slice + 1),
  ArrowUp: () => openEntry(state.entry - 1),
  ArrowDown: () => openEntry(state.entry + 1),
  '+': () => zoomAt(1.5),
  '=': () => zoomAt(1.5),
  '-': () => zoomAt(1 / 1.5),
  0: () => update({ zoom: 1, x: 0.5, y: 0.5 }),
  e: nextShow,
  s: () => setSwipe(!state.swipe),
  x: exchange,
  '[': () => stepFactor(-1),
  ']': () => stepFactor(1),
  b: () => setWhite(state.white + 0.1),
  d: () => setWhite(state.white - 0.1),
  ',': () => setDivider(state.divider - 0.05),
  '.': () => setDivider(state.divider + 0.05),
};
const MOVES = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  // Lists and sliders have keys of their own.
  const tag = event.target.tagName;
  if (tag === 'SELECT' || (tag === 'INPUT' && event.key.startsWith('Arrow'))) return;
  const step = event.shiftKey ? MOVES[event.key] : null;
  const action = step ? () => move(...step) : KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

// Drag, pinch, wheel and double click on a canvas; every pane follows, because they share one state.
function follow(canvas) {
  const fingers = new Map();
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const apart = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  let dividing = false;
  canvas.addEventListener('pointerdown', (event) => {
    fingers.set(event.pointerId, at(event));
    canvas.setPointerCapture(event.pointerId);
    byId('panes').focus({ preventScroll: true });
    // In the swipe a drag moves the divider, unless it starts away from it in a zoomed picture.
    dividing = state.swipe && (state.zoom === 1 || Math.abs(at(event)[0] - state.divider) < 0.06);
    if (dividing) setDivider(at(event)[0]);
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = fingers.get(event.pointerId);
    const now = at(event);
    if (fingers.size === 2) {
      const distance = apart();
      fingers.set(event.pointerId, now);
      const [a, b] = [...fingers.values()];
      zoomAt(apart() / Math.max(distance, 1e-3), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
      return;
    }
    fingers.set(event.pointerId, now);
    if (dividing) setDivider(now[0]);
    else if (state.zoom > 1) move(before[0] - now[0], before[1] - now[1]);
  });
  const lift = (event) => fingers.delete(event.pointerId);
  ['pointerup', 'pointercancel'].forEach((name) => canvas.addEventListener(name, lift));
  canvas.addEventListener('dblclick', (event) => (state.zoom > 1 ? KEYS[0]() : zoomAt(3, ...at(event))));
  canvas.addEventListener('wheel', (event) => {
    // A page that is only scrolled past must scroll.
    if (!event.ctrlKey && document.activeElement !== byId('panes')) return;
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY / 400), ...at(event));
  }, { passive: false });
}

function startViewer() {
  const on = (id, name, action) => byId(id).addEventListener(name, (event) => action(event.target));
  byId('view-volume').append(...report.entries.map((entry, i) => make('option', { value: i }, `${entry.name} · ${entry.rate}`)));
  byId('view-factor').append(...report.factors.map((factor) => make('option', { value: factor }, `× ${factor}`)));
  on('view-volume', 'change', (list) => openEntry(Number(list.value)));
  on('view-slice', 'input', (slider) => openSlice(Number(slider.value)));
  on('view-factor', 'change', (list) => update({ factor: Number(list.value) }));
  on('view-white', 'input', (slider) => setWhite(Number(slider.value) / 100));
  on('view-side', 'click', () => setSwipe(false));
  on('view-swipe', 'click', () => setSwipe(true));
  on('view-in', 'click', () => zoomAt(1.5));
  on('view-out', 'click', () => zoomAt(1 / 1.5));
  on('view-reset', 'click', KEYS[0]);
  on('swipe-a', 'change', (list) => update({ left: list.value }));
  on('swipe-b', 'change', (list) => update({ right: list.value }));
  on('swipe-divider', 'input', (slider) => setDivider(Number(slider.value) / 100));
  on('swipe-flip', 'click', exchange);
  all('[data-view-show]').forEach((button) => button.addEventListener('click', () => update({ show: button.dataset.viewShow })));
  byId('viewer').addEventListener('keydown', onKey);
  all('[data-open]').forEach((button) => button.addEventListener('click', () => {
    const entry = Number(button.dataset.open);
    openEntry(entry, worstSlice(report.entries[entry], button.dataset.method));
    byId('images').scrollIntoView();
    byId('panes').focus({ preventScroll: true });
  }));
  new ResizeObserver(() => { if (drawn.panes.length) redraw(); }).observe(byId('panes'));
  startSlicePlot();
  volumeParts();
  openEntry(0);
}

function volumeParts() {
  drawSlicePlot();
  drawSampling();
}

startTables();
if (report.entries.length) {
  startViewer();
  drawThumbnails();
}
