'use strict';
// Filters rows and moves between them. All it knows it reads from the page's own elements; all it writes is text and attributes.
(() => {
  const get = id => document.getElementById(id);
  const [filter, kind, process, count, help] = ['filter', 'kind', 'process', 'count', 'help'].map(get);
  const rows = Array.from(document.querySelectorAll('.row'), element => ({
    element,
    text: element.textContent.toLowerCase(),
    kind: element.dataset.kind,
    processes: element.dataset.process.split(', '),
    section: element.closest('section'),
  }));
  const sections = Array.from(document.querySelectorAll('section.part'));
  const calm = matchMedia('(prefers-reduced-motion: reduce)');
  let current = null;

  for (const name of [...new Set(rows.flatMap(row => row.processes))].filter(Boolean).sort()) {
    const option = document.createElement('option');
    option.value = option.textContent = name;
    process.append(option);
  }

  const isFiltered = () => filter.value !== '' || kind.value !== '' || process.value !== '';

  function matches(row) {
    const ofKind = kind.value === '' || row.kind === kind.value || row.element.classList.contains(kind.value);
    return ofKind && (process.value === '' || row.processes.includes(process.value)) && row.text.includes(filter.value.trim().toLowerCase());
  }

  function apply() {
    const filtered = isFiltered();
    const found = new Map();
    let shown = 0;
    for (const row of rows) {
      const hit = !filtered || matches(row);
      row.element.hidden = !hit;
      shown += hit;
      found.set(row.section, (found.get(row.section) || 0) + hit);
    }
    for (const section of sections) section.classList.toggle('without', filtered && !found.get(section));
    document.body.classList.toggle('filtered', filtered);
    count.textContent = filtered ? `${shown} of ${rows.length} rows` : '';
  }

  function show(element) {
    for (let at = element.closest('details'); at; at = at.parentElement.closest('details')) at.open = true;
    document.querySelectorAll('.current').forEach(other => other.classList.remove('current'));
    element.classList.add('current');
    element.scrollIntoView({ block: 'center', behavior: calm.matches ? 'auto' : 'smooth' });
    element.focus({ preventScroll: true });
    current = element;
  }

  // What a link leads to is shown even if it is filtered out or in a run that is closed.
  function follow() {
    const target = location.hash.length > 1 && get(location.hash.slice(1));
    if (!target) return;
    if (target.hidden || target.closest('.without')) {
      filter.value = kind.value = process.value = '';
      apply();
    }
    if (target.matches('details')) target.open = true;
    if (target.matches('.row')) show(target);
    else for (let at = target.closest('details'); at; at = at.parentElement.closest('details')) at.open = true;
  }

  function move(step) {
    const stops = rows.map(row => row.element).filter(element => !element.hidden && (isFiltered() || element.matches('.cited')));
    if (stops.length === 0) return;
    const at = stops.indexOf(current);
    const next = at < 0 ? (step > 0 ? 0 : stops.length - 1) : (at + step + stops.length) % stops.length;
    show(stops[next]);
  }

  function clear() {
    filter.value = kind.value = process.value = '';
    apply();
  }

  let waiting = 0;
  filter.addEventListener('input', () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(apply);
  });
  kind.addEventListener('change', apply);
  process.addEventListener('change', apply);
  get('next').addEventListener('click', () => move(1));
  get('previous').addEventListener('click', () => move(-1));
  get('keys').addEventListener('click', () => help.showModal());
  get('close').addEventListener('click', () => help.close());
  window.addEventListener('hashchange', follow);
  document.addEventListener('click', event => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.getAttribute('href') === location.hash) follow();
  });
  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const typing = event.target.matches('input, select, textarea');
    if (event.key === 'Escape') {
      clear();
      filter.blur();
    } else if (!typing && event.key === '/') {
      event.preventDefault();
      filter.focus();
    } else if (!typing && event.key === 'n') move(1);
    else if (!typing && event.key === 'p') move(-1);
    else if (!typing && event.key === '?') help.showModal();
  });

  get('tools').hidden = false;
  follow();
})();
