// The mask of the volume shown, and what it does to a single bright pixel.
function runs(columns) {
  const found = [];
  for (const column of columns) {
    const last = found[found.length - 1];
    if (last && last[1] === column) last[1] += 1;
    else found.push([column, column + 1]);
  }
  return found;
}

function drawSampling() {
  const { mask } = current();
  if (!mask) return; // images made elsewhere: nobody told how they were sampled
  byId('mask-text').textContent =
    `${mask.kind}: ${mask.lines} of ${mask.width} lines acquired, ${mask.effective.toFixed(2)}× fewer, `
    + `${mask.center} of them the fully sampled centre. The largest side lobe of the point-spread function is ${show(mask.lobe, 1)} dB.`;
  const width = 560;
  const left = 46;
  const inner = width - left - 12;
  const x = (column) => left + (inner * column) / mask.width;
  const strips = runs(mask.columns).map(([from, to]) => draw('rect', {
    class: 'acquired', x: x(from).toFixed(2), y: 2, width: (x(to) - x(from)).toFixed(2), height: 36, 'shape-rendering': 'crispEdges',
  }));
  byId('mask-plot').replaceChildren(picture(width, 58, `Sampling mask: ${mask.text}`,
    draw('rect', { class: 'frame', x: left, y: 2, width: inner, height: 36 }),
    ...strips,
    draw('text', { class: 'tick', x: left, y: 53 }, '0'),
    draw('text', { class: 'tick', x: left + inner / 2, y: 53, 'text-anchor': 'middle' }, 'phase-encode line'),
    draw('text', { class: 'tick', x: left + inner, y: 53, 'text-anchor': 'end' }, String(mask.width - 1))));
  const bottom = 150;
  const y = (decibel) => 8 + ((bottom - 8) * -Math.max(decibel, -60)) / 60;
  const path = mask.spread.map((decibel, i) => `${i ? 'L' : 'M'}${x(i + 0.5).toFixed(1)} ${y(decibel).toFixed(1)}`).join('');
  const parts = [0, -20, -40, -60].flatMap((decibel) => [
    draw('line', { class: 'grid', x1: left, x2: left + inner, y1: y(decibel), y2: y(decibel) }),
    draw('text', { class: 'tick', x: left - 6, y: y(decibel) + 4, 'text-anchor': 'end' }, show(decibel, 0)),
  ]);
  byId('spread-plot').replaceChildren(
    picture(width, 184, `Point-spread function along the phase encode, in decibels; largest side lobe ${show(mask.lobe, 1)} dB`,
      ...parts,
      draw('line', { class: 'now', x1: left, x2: left + inner, y1: y(mask.lobe), y2: y(mask.lobe) }),
      draw('path', { class: 'curve', d: path }),
      draw('text', { class: 'tick', x: left + inner / 2, y: bottom + 17, 'text-anchor': 'middle' }, '0'),
      draw('text', { class: 'tick', x: left, y: bottom + 17 }, String(-Math.floor(mask.width / 2))),
      draw('text', { class: 'tick', x: left + inner / 2, y: bottom + 31, 'text-anchor': 'middle' }, 'pixels from a bright point; its point spread in dB')));
  byId('mask-lines').textContent = `${mask.columns.join(', ')}\nsha256 ${mask.sha256}`;
}
