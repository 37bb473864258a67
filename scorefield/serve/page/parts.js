// What is shown: tiles, one sample large with its way from noise, strips, points and lines, a mask.
import {html, useLayoutEffect, useRef, useState} from '/page/vendor/htm-preact.js';
import {get} from '/page/service.js';

const source = (png) => `data:image/png;base64,${png}`;
const COLOURS = ['#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#17becf', '#8c564b', '#e377c2'];

// What a strip shows at a frame, by sample: the last frame is its answer.
const shownAt = (strip, at) => {
  const done = strip.answer?.samples;
  if (done && (at == null || at >= strip.frames.length - 1)) return done.map((s) => s.png ?? s.text ?? s.x);
  return strip.frames[at ?? strip.frames.length - 1] ?? [];
};
const nameOf = (strip, i) => {
  const sample = strip.answer?.samples[i];
  const seed = sample?.seed ?? strip.ask.seeds?.[0] ?? (strip.ask.seed ?? 0) + i;
  return `seed ${seed}${sample?.label != null ? ` · ${sample.label}` : ''}`;
};

function Tile({png, name, on, press}) {
  return html`<button type="button" class="tile" aria-pressed=${on} aria-label=${name} onClick=${press}>
    ${png ? html`<img src=${source(png)} alt="" />` : html`<span class="blank"></span>`}<small>${name}</small></button>`;
}

// Points as a scatter of their first two numbers, series as lines.
function Plot({rows, lines}) {
  if (rows.length === 0) return null;
  const path = (row) => row[0].map((y, x) => [x, y]);
  const places = lines ? rows.map(path) : [rows.map((r) => [r[0], r[1] ?? 0])];
  const all = places.flat(), ends = [0, 1].map((k) => all.map((p) => p[k]));
  const [low, high] = [ends.map((v) => Math.min(...v)), ends.map((v) => Math.max(...v))];
  const at = ([x, y]) => [5 + 90 * (x - low[0]) / (high[0] - low[0] || 1), 95 - 90 * (y - low[1]) / (high[1] - low[1] || 1)];
  return html`<svg viewBox="0 0 100 100" role="img" aria-label=${`${rows.length} samples`}>
    ${lines ? places.map((line, i) => html`<polyline key=${i} fill="none" stroke=${COLOURS[i % 8]} stroke-width=".6"
      points=${line.map((p) => at(p).join(',')).join(' ')} />`)
    : places[0].map((p, i) => html`<circle key=${i} r="1.2" cx=${at(p)[0]} cy=${at(p)[1]} fill=${COLOURS[0]} />`)}</svg>`;
}

// Texts line by line, or the rows of a table.
function Written({rows}) {
  if (typeof rows[0] !== 'object') return html`<ol class="texts">${rows.map((text, i) => html`<li key=${i}>${text}</li>`)}</ol>`;
  return html`<div class="scroll"><table><thead><tr>${Object.keys(rows[0]).map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
    <tbody>${rows.map((row, i) => html`<tr key=${i}>${Object.values(row).map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></div>`;
}

export function Strip({strip, chosen, choose, name, model}) {
  const shown = shownAt(strip), drawn = model.shape.length === 3;
  const count = Math.max(shown.length, strip.ask.seeds ? strip.ask.between + 2 : strip.ask.n ?? 1);
  const [at, setAt] = useState(null), views = strip.answer?.views;
  const frames = strip.frames.length;
  const rows = shownAt(strip, at), own = Array.isArray(rows[0]) || rows.length === 0 ? Plot : Written;
  if (!drawn) return html`<div><${own} rows=${rows} lines=${model.shape.length === 2} />
    ${frames > 1 && html`<label><span>Step</span><input type="range" min="0" max=${frames - 1}
      value=${at ?? frames - 1} onInput=${(e) => setAt(Number(e.target.value))} /></label>`}</div>`;
  return html`<div>${name && html`<h2>${name}: ${strip.answer ? told(strip.answer.how) : '…'}</h2>`}
    ${strip.answer?.measurement && html`<h2>What was measured</h2><div class="gallery"><img
      src=${source(strip.answer.measurement)} alt="the measurement" /></div><h2>Restorations, PSNR ${strip.answer.psnr} dB</h2>`}
    <div class="gallery">${Array.from({length: count}, (_, i) => html`<${Tile} key=${i} png=${shown[i]}
      name=${nameOf(strip, i)} on=${chosen?.i === i} press=${() => choose(i)} />`)}</div>
    ${views && strip.answer.how.views.map((view, k) => html`<h2>${view}</h2><div class="gallery">
      ${views[k].map((png, i) => html`<img key=${i} src=${source(png)} alt=${`${view} of sample ${i + 1}`} />`)}</div>`)}</div>`;
}
const told = (how) => `${how.solver}, ${how.steps} steps, ${how.grid}, guidance ${how.guidance ?? 'none'}`;

// One sample of each two settings.
export function Table({strips, chosen, choose, model}) {
  const [across, down] = [0, 1].map((k) => [...new Set(strips.map((strip) => strip.at[k]))]);
  return html`<div class="scroll"><table class="cells"><thead><tr><td></td>${across.map((x) => html`<th scope="col">${x}</th>`)}</tr></thead>
    <tbody>${down.map((y, j) => html`<tr><th scope="row">${y}</th>${across.map((x, i) => {
      const k = j * across.length + i, row = shownAt(strips[k])[0];
      return html`<td>${model.shape.length === 3 ? html`<${Tile} png=${row} name=${`${x}, ${y}`} on=${chosen?.k === k}
        press=${() => choose(k)} />` : row && html`<${Array.isArray(row) ? Plot : Written} rows=${[row]} lines=${model.shape.length === 2} />`}</td>`;
    })}</tr>`)}</tbody></table></div>`;
}

// Losses over images seen, by their logarithms.
export function Curve({images, loss}) {
  const y = loss.map(Math.log), low = Math.min(...y), high = Math.max(...y), first = images[0], last = images.at(-1);
  const points = y.map((v, i) => `${100 * (images[i] - first) / (last - first || 1)},${29 - 28 * (v - low) / (high - low || 1)}`);
  return html`<svg class="curve" viewBox="0 0 100 30" role="img" aria-label=${`loss from ${loss[0].toPrecision(3)} to ${loss.at(-1).toPrecision(3)}`}>
    <polyline fill="none" stroke="currentColor" points=${points.join(' ')} /></svg>`;
}

// One sample: its way from noise step by step, beside that of B if there are two; how it was made.
export function Detail({strips, chosen, model, link, edit}) {
  const [at, setAt] = useState(null), [cut, setCut] = useState(50), strip = strips[chosen.k], over = useRef(null);
  const [near, setNear] = useState(null);
  useLayoutEffect(() => { if (over.current) over.current.style.clipPath = `inset(0 0 0 ${cut}%)`; }, [cut, strips.length, chosen]);
  const frames = strip.frames.length, step = at ?? frames - 1;
  const png = shownAt(strip, at)[chosen.i], end = strip.answer?.samples[chosen.i], name = nameOf(strip, chosen.i);
  const other = strips.length === 2 && !strip.at ? shownAt(strips[1 - chosen.k], at == null ? null : Math.round(
    at / Math.max(frames - 1, 1) * (strips[1 - chosen.k].frames.length - 1)))[chosen.i] : null;
  const rows = Object.entries(strip.answer?.how ?? {}).filter(([k, v]) => v != null && v !== false && !Array.isArray(v) && k !== 'batch');
  return html`<div class="detail"><div>
      <div class="over">${png && html`<img src=${source(png)} alt=${`${name}, step ${step + 1} of ${frames}`} />`}
        ${other && html`<img ref=${over} src=${source(other)} alt="the same seed by the other settings" />`}</div>
      ${other && html`<label><span>${'AB'[chosen.k]} | ${'AB'[1 - chosen.k]}</span><input type="range" min="0" max="100"
        value=${cut} onInput=${(e) => setCut(Number(e.target.value))} /></label>`}
      ${frames > 1 && html`<label><span>Step ${step + 1} of ${frames}: what the model expects</span><input type="range"
        min="0" max=${frames - 1} value=${step} onInput=${(e) => setAt(Number(e.target.value))} /></label>`}</div>
    <div><h2>${name}</h2><dl>${rows.map(([key, value]) => html`<dt>${key}</dt><dd>${String(value)}</dd>`)}</dl>
      <p class="row">${end?.png && html`<a class="button" download=${`${model.id}-${end.seed}.png`}
        href=${source(end.png)}>Download</a>`}<a class="button" href=${link}>Link to this</a>
        ${end?.png && html`<button type="button" onClick=${() => edit(end.png)}>Edit it</button>
        <button type="button" onClick=${() => get(`/v1/requests/${strip.answer.id}/${chosen.i}/nearest`).then(setNear)
          .catch((error) => setNear(error.message))}>Nearest in training</button>`}</p>
      ${typeof near === 'string' && html`<p class="status bad" role="status">${near}</p>`}
      ${Array.isArray(near) && html`<div class="gallery">${near.map((row) => html`<figure key=${row.index}><img
        src=${source(row.png)} alt=${`training picture ${row.index}`} /><figcaption>${row.label != null ? `${row.label} · ` : ''}${
        row.distance.toFixed(3)}</figcaption></figure>`)}</div>`}</div></div>`;
}

// A picture to paint on: what is painted may change.
export function Draw({image, size, mask}) {
  const canvas = useRef(null), down = useRef(false);
  const clear = () => {
    const ink = canvas.current.getContext('2d');
    ink.fillStyle = '#000'; ink.fillRect(0, 0, size, size);
    mask(null);
  };
  useLayoutEffect(clear, [image]);
  const paint = (e) => {
    if (!down.current) return;
    const box = canvas.current.getBoundingClientRect(), ink = canvas.current.getContext('2d');
    const wide = Math.max(1, Math.round(size / 8)), at = (v, from, room) => Math.floor((v - from) / room * size);
    ink.fillStyle = '#fff';
    ink.fillRect(at(e.clientX, box.left, box.width) - (wide >> 1), at(e.clientY, box.top, box.height) - (wide >> 1), wide, wide);
  };
  const end = () => { if (down.current) { down.current = false; mask(canvas.current.toDataURL('image/png')); } };
  const half = (x, y, w, h) => {
    const ink = canvas.current.getContext('2d');
    ink.fillStyle = '#fff'; ink.fillRect(x, y, w, h);
    mask(canvas.current.toDataURL('image/png'));
  };
  const m = size / 2;
  return html`<fieldset><legend>Paint what may change (nothing: all of it, by strength)</legend>
    <div class="draw"><img src=${image} alt="the picture to edit" /><canvas ref=${canvas} width=${size} height=${size}
      aria-label="mask" onPointerDown=${(e) => { down.current = true; e.target.setPointerCapture(e.pointerId); paint(e); }}
      onPointerMove=${paint} onPointerUp=${end}></canvas></div>
    <div class="row"><button type="button" onClick=${() => half(0, 0, size, m)}>Upper half</button>
      <button type="button" onClick=${() => half(0, m, size, m)}>Lower half</button>
      <button type="button" onClick=${() => half(m / 2, m / 2, m, m)}>Middle</button>
      <button type="button" onClick=${clear}>None</button></div></fieldset>`;
}
