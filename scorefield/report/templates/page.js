const by = i => (a, b) => {
  const [x, y] = [a, b].map(row => row.cells[i]?.textContent.replace(/[,%≈]/g, '').replace('−', '-'));
  const [u, v] = [parseFloat(x), parseFloat(y)];
  return isNaN(u) && isNaN(v) ? x.localeCompare(y) : isNaN(u) ? 1 : isNaN(v) ? -1 : u - v;
};
for (const head of document.querySelectorAll('thead th')) {
  const sort = () => {
    const body = head.closest('table').tBodies[0], rows = [...body.rows];
    const down = head.getAttribute('aria-sort') === 'ascending';
    rows.sort(by(head.cellIndex));
    body.append(...(down ? rows.reverse() : rows));
    for (const other of head.parentNode.cells) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  };
  head.tabIndex = 0;
  head.addEventListener('click', sort);
  head.addEventListener('keydown', event => event.key === 'Enter' && sort());
}
for (const film of document.querySelectorAll('.film')) {
  const frames = film.querySelectorAll('figure'), scrub = film.querySelector('.scrub');
  if (!scrub) continue;
  const input = scrub.querySelector('input');
  const show = () => frames.forEach((frame, i) => frame.classList.toggle('on', i == input.value));
  film.classList.add('single');
  scrub.hidden = false;
  input.addEventListener('input', show);
  show();
}
