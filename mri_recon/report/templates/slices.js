// Metric against slice, and the numbers of it.
const AREA = { width: 560, height: 240, left: 46, right: 12, top: 10, bottom: 30 };

function startSlicePlot() {
  byId('slice-measure').append(...report.measures.map((measure, i) => make('option', { value: i }, measure.heading)));
  byId('slice-measure').addEventListener('change', drawSlicePlot);
}

const finite = (value) => typeof value === 'number' && Number.isFinite(value);

function roundTicks(low, high, most = 5) {
  const rough = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i += 1) ticks.push(i * step);
  return [ticks, Math.max(0, -Math.floor(Math.log10(step)))];
}

function slicePlace(index) {
  const entry = current();
  const inner = AREA.width - AREA.left - AREA.right;
  return AREA.left + (inner * (index - entry.first + 0.5)) / entry.n_slices;
}

function drawSlicePlot() {
  const entry = current();
  const measure = report.measures[Number(byId('slice-measure').value)];
  const methods = report.methods.filter((method) => entry.methods[method]);
  const lines = methods.map((method) => entry.methods[method].slices[measure.key]);
  fillSliceTable(entry, measure, methods, lines);
  const single = entry.n_slices < 2;
  byId('slice-note').textContent = single
    ? 'This volume has one slice, so there is no curve to draw.'
    : 'On the volume’s data range. The dashed line is the slice shown above, the ticks under the axis are slices with pictures; click near one to see it.';
  const values = lines.flat().filter(finite);
  if (single || !values.length) {
    byId('slice-plot').replaceChildren();
    return;
  }
  const pad = 0.06 * (Math.max(...values) - Math.min(...values) || 1);
  const [low, high] = [Math.min(...values) - pad, Math.max(...values) + pad];
  const bottom = AREA.height - AREA.bottom;
  const y = (value) => AREA.top + ((bottom - AREA.top) * (high - value)) / (high - low);
  const [ticks, digits] = roundTicks(low, high);
  const parts = ticks.flatMap((tick) => [
    draw('line', { class: 'grid', x1: AREA.left, x2: AREA.width - AREA.right, y1: y(tick), y2: y(tick) }),
    draw('text', { class: 'tick', x: AREA.left - 6, y: y(tick) + 4, 'text-anchor': 'end' }, show(tick, digits)),
  ]);
  const last = entry.first + entry.n_slices - 1;
  for (const index of roundTicks(entry.first, last, 8)[0].filter(Number.isInteger)) {
    parts.push(draw('text', { class: 'tick', x: slicePlace(index), y: bottom + 22, 'text-anchor': 'middle' }, String(index)));
  }
  parts.push(draw('line', { class: 'axis', x1: AREA.left, x2: AREA.width - AREA.right, y1: bottom, y2: bottom }));
  for (const slice of entry.slices) {
    const x = slicePlace(slice.index);
    parts.push(draw('line', { class: 'axis', x1: x, x2: x, y1: bottom, y2: bottom + 7 }));
  }
  lines.forEach((line, i) => {
    let pen = 'M';
    const path = line.map((value, place) => {
      if (!finite(value)) { pen = 'M'; return ''; }
      const step = `${pen}${slicePlace(entry.first + place).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = 'L';
      return step;
    }).join('');
    parts.push(draw('path', { class: `curve ${color(methods[i])}`, d: path }, draw('title', {}, methods[i])));
  });
  parts.push(draw('line', { class: 'now', id: 'slice-now', y1: AREA.top, y2: bottom }));
  const plot = picture(AREA.width, AREA.height, `${measure.heading} against slice, ${methods.join(', ')}; the numbers are in the table below`, ...parts);
  plot.addEventListener('click', (event) => {
    const box = plot.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * AREA.width;
    const gap = (slice) => Math.abs(slicePlace(slice.index) - x);
    openSlice(entry.slices.reduce((best, slice, i) => (gap(slice) < gap(entry.slices[best]) ? i : best), 0));
  });
  const key = make('p', { class: 'fine' }, ...methods.flatMap((method) => {
    const marker = document.querySelector(`.marker.${color(method)}`).cloneNode(true);
    return [marker, `${method}\u2003`];
  }));
  byId('slice-plot').replaceChildren(plot, key);
  moveCursor();
}

function moveCursor() {
  const line = byId('slice-now');
  if (!line) return;
  const x = slicePlace(shown().index);
  line.setAttribute('x1', x);
  line.setAttribute('x2', x);
}

function fillSliceTable(entry, measure, methods, lines) {
  const head = make('tr', {}, ...['Slice', ...methods].map((name) => make('th', { scope: 'col', class: 'number' }, name)));
  const rows = lines[0].map((_, place) => make('tr', {},
    make('th', { scope: 'row', class: 'number' }, String(entry.first + place)),
    ...lines.map((line) => make('td', { class: 'number' }, show(line[place], measure.digits)))));
  byId('slice-table').replaceChildren(
    make('caption', { class: 'hidden' }, `${measure.heading} of each slice`),
    make('thead', {}, head), make('tbody', {}, ...rows));
}
