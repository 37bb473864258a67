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
