// Pictures: levels out of the page's data, and canvases that draw a part of them.
const decoded = new Map();
const MOST_DECODED = 120;

// Levels are 255 √(value / peak), so a window and an error factor are chosen here without loss.
const squares = Float32Array.from({ length: 256 }, (_, level) => (level / 255) ** 2);

async function levelsOf(url) {
  if (decoded.has(url)) return decoded.get(url);
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = make('canvas', { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const levels = new Uint8Array(pixels.length / 4);
  for (let i = 0; i < levels.length; i += 1) levels[i] = pixels[4 * i];
  const found = { width: canvas.width, height: canvas.height, levels };
  if (decoded.size >= MOST_DECODED) decoded.delete(decoded.keys().next().value);
  decoded.set(url, found);
  return found;
}

const gray = (value) => { const g = 255 * Math.min(value, 1); return [g, g, g]; };
// Black through red and yellow to white, each colour a third of the range.
const heat = (value) => [0, 1, 2].map((third) => 255 * clamp(3 * Math.min(value, 1) - third, 0, 1));

// Value of each level, white being 1, in the colours of the map.
function paint(found, white, map) {
  const table = Array.from(squares, (value) => map(value / white));
  const canvas = make('canvas', { width: found.width, height: found.height });
  const context = canvas.getContext('2d');
  const pixels = context.createImageData(found.width, found.height);
  found.levels.forEach((level, i) => {
    [pixels.data[4 * i], pixels.data[4 * i + 1], pixels.data[4 * i + 2]] = table[level];
    pixels.data[4 * i + 3] = 255;
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// The part of a picture that a view shows, drawn into a canvas; `to` is how much of its width is drawn.
function drawPart(canvas, source, view, from = 0, to = 1) {
  const context = canvas.getContext('2d');
  const scale = (canvas.width / source.width) * view.zoom;
  context.save();
  context.beginPath();
  context.rect(from * canvas.width, 0, (to - from) * canvas.width, canvas.height);
  context.clip();
  // Once a pixel is several of the screen's, it is shown as the square that it is.
  context.imageSmoothingEnabled = scale < 3;
  context.imageSmoothingQuality = 'high';
  context.setTransform(
    scale, 0, 0, scale,
    canvas.width / 2 - view.x * source.width * scale,
    canvas.height / 2 - view.y * source.height * scale,
  );
  context.drawImage(source, 0, 0);
  context.restore();
}

// As many pixels as the screen has for it.
function fitCanvas(canvas, aspect) {
  canvas.style.aspectRatio = String(aspect);
  const width = Math.max(1, Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)));
  const height = Math.max(1, Math.round(width / aspect));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}

async function drawThumbnails() {
  for (const canvas of all('canvas.thumbnail')) {
    if (canvas.dataset.done || canvas.closest('[hidden]')) continue;
    canvas.dataset.done = 'yes';
    const entry = report.entries[Number(canvas.dataset.entry)];
    const { method } = canvas.dataset;
    const slice = entry.slices[worstSlice(entry, method)];
    if (!slice.images[method]) continue;
    const image = paint(await levelsOf(slice.images[method]), entry.white, gray);
    const error = paint(await levelsOf(slice.errors[method]), entry.white / report.factor, heat);
    canvas.width = 2 * image.width;
    canvas.height = image.height;
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    context.drawImage(error, image.width, 0);
  }
}

// Among the slices shown, the one on which a method does worst.
function worstSlice(entry, method) {
  const scores = entry.methods[method]?.slices.ssim ?? [];
  const value = (slice) => scores[slice.index - entry.first] ?? Infinity;
  return entry.slices.reduce((worst, slice, i) => (value(slice) < value(entry.slices[worst]) ? i : worst), 0);
}
