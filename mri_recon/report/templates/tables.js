// Sorting, filtering, choosing and copying.
function cellValue(row, column) {
  const cell = row.cells[column];
  const raw = cell.dataset.value ?? cell.textContent.trim();
  const number = raw === 'inf' ? Infinity : Number(raw);
  return raw === '' || Number.isNaN(number) ? raw : number;
}

function sortable(table) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    // What says which way is better stays beside the button, so that its arrow follows the name.
    const words = [...heading.childNodes].filter((node) => node.className !== 'way');
    const button = make('button', { type: 'button' }, ...words);
    heading.prepend(button);
    button.addEventListener('click', () => {
      const down = heading.getAttribute('aria-sort') === 'ascending';
      headings.forEach((other) => other.removeAttribute('aria-sort'));
      heading.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      const rows = [...body.rows].map((row) => [cellValue(row, column), row]);
      rows.sort(([a], [b]) => {
        const order = typeof a === 'number' && typeof b === 'number'
          ? a - b
          : (typeof a === 'number') - (typeof b === 'number') || String(a).localeCompare(String(b), 'en', { numeric: true });
        return down ? -order : order;
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}

function startTables() {
  all('table.sortable').forEach(sortable);
  all('[data-filter]').forEach((select) => select.addEventListener('change', () => {
    for (const row of byId(select.dataset.filter).tBodies[0].rows) {
      row.hidden = select.value !== '' && row.dataset.acquisition !== select.value;
    }
  }));
  all('[data-search]').forEach((input) => input.addEventListener('input', () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...byId(input.dataset.search).tBodies[0].rows];
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const found = rows.filter((row) => !row.hidden).length;
    byId('volume-count').textContent = words.length ? `${found} of ${rows.length}` : '';
  }));
  all('[data-show]').forEach((select) => select.addEventListener('change', () => {
    all(`.${select.dataset.show}`).forEach((part, i) => { part.hidden = i !== Number(select.value); });
    drawThumbnails();
  }));
  all('[data-copy]').forEach((button) => button.addEventListener('click', () => copy(button)));
  // What is folded is not printed.
  window.addEventListener('beforeprint', () => all('details:not(.keys)').forEach((part) => { part.open = true; }));
}

async function copy(button) {
  const source = byId(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // A page opened from disk may not write to the clipboard; a selection can always be copied.
    getSelection().selectAllChildren(source);
    document.execCommand('copy');
  }
  const label = button.firstChild;
  label.textContent = 'Copied';
  say('Copied to the clipboard');
  setTimeout(() => { label.textContent = 'Copy'; }, 1600);
}
