// The studio: a form of settings on the left, what they make on the right. No build step.
import {html, render, useEffect, useRef, useState} from '/page/vendor/htm-preact.js';
import {base64, events, get, settingsOf, stop} from '/page/service.js';
import {Curve, Detail, Draw, Strip, Table} from '/page/parts.js';

const TABS = {samples: 'Samples', compare: 'Compare', xy: 'X × Y', edit: 'Edit', restore: 'Restore',
  between: 'Between', anagram: 'Anagram', queue: 'Queue', runs: 'Runs'};
const START = {tab: 'samples', n: '16', seed: '0', labels: ''};
const NUMBERS = new Set(['n', 'seed', 'steps', 'guidance', 'strength', 'noise', 'between', 'average', 'augment']);

// All settings live in the address, so that a link says how a picture was made.
const fromAddress = () => ({...START, ...Object.fromEntries(new URLSearchParams(location.hash.slice(1)))});
const toAddress = (said) => `#${new URLSearchParams(
  Object.fromEntries(Object.entries(said).filter(([, v]) => v !== '' && v != null)))}`;

const body = (said, ...names) => Object.fromEntries(['model', 'average', ...names]
  .filter((name) => (said[name] ?? '') !== '')
  .map((name) => [name, NUMBERS.has(name) ? Number(said[name]) : said[name]])
  .map(([name, value]) => name === 'labels'
    ? [name, value.split(',').map((word) => word.trim())] : [name, value]));
const HOW = ['labels', 'steps', 'solver', 'grid', 'guidance'];
const WHAT = ['prompt', 'negative', 'cascade', 'augment'], OF_WHAT = ['samples', 'compare', 'xy', 'between'];
const XY = {x: 'steps', xs: '3 6 12', y: 'solver', ys: 'ddim dpmpp2m arc'};
const NOTHING = {labels: '', prompt: '', negative: '', fill: '', average: '', cascade: '', augment: ''};

// What each tab asks the service for: a verb and a body, one for each strip.
const ASKS = {
  samples: (s) => [['samples', {...body(s, 'n', 'seed', ...HOW, ...WHAT, 'guide', 'fill'), previews: 1}]],
  compare: (s) => ['', 'b_'].map((b) => ['samples', {previews: 1, ...body({...s,
    ...(b ? Object.fromEntries(['steps', 'solver', 'grid', 'guidance']
      .filter((k) => s[b + k]).map((k) => [k, s[b + k]])) : {})}, 'n', 'seed', ...HOW, ...WHAT)}]),
  xy: (s) => {
    const [x, y] = ['x', 'y'].map((name) => ({...XY, ...s})[name]);
    const [xs, ys] = ['xs', 'ys'].map((name) => ({...XY, ...s})[name].trim().split(/\s+/));
    if (xs.length * ys.length > 64) throw new Error(`${xs.length} × ${ys.length} cells: at most 64.`);
    return ys.flatMap((b) => xs.map((a) => ['samples', {...body({...s, n: '1', [y]: b, [x]: a},
      'n', 'seed', ...HOW, ...WHAT), previews: 1}, [`${x} ${a}`, `${y} ${b}`]]));
  },
  edit: (s, files) => [['edit', {...body(s, 'n', 'seed', ...HOW, 'strength'),
    image: files.image, ...(files.mask ? {mask: files.mask} : {}), previews: 1}]],
  restore: (s, files) => [['restore', {...body(s, 'n', 'seed', 'steps', 'operator', 'method', 'noise'),
    ...(s.labels ? {label: s.labels.split(',')[0]} : {}), image: files.image, previews: 1}]],
  between: (s) => [['samples', {...body({between: 6, ...s}, 'between', ...HOW, ...WHAT),
    seeds: [Number(s.seed), Number(s.other ?? 1)], previews: 1}]],
  anagram: (s) => [['samples', {...body({views: 'identity,rot180', ...s}, 'n', 'seed', ...HOW, 'views'),
    previews: 1}]],
};

function Field({label, children}) {
  return html`<label><span>${label}</span>${children}</label>`;
}
function Slide({label, name, min, max, step, usual, said, put}) {
  const value = said[name] ?? usual;
  const set = (e) => put({[name]: e.target.value});
  return html`<${Field} label=${label}><div class="slide">
    <input type="range" aria-label=${`${label}, slider`} ...${{min, max, step, value}} onInput=${set} />
    <input type="number" ...${{min, step, value}} onInput=${set} /></div><//>`;
}
function Pick({label, name, of, usual, said, put}) {
  return html`<${Field} label=${label}><select value=${said[name] ?? ''}
      onChange=${(e) => put({[name]: e.target.value})}>
    <option value="">${usual ?? 'the run’s own'}</option>
    ${Object.entries(of).map(([key, text]) => html`<option key=${key} value=${key} title=${text}>${key}</option>`)}
  </select><//>`;
}
function Text({label, name, hint, said, put, ...more}) {
  return html`<${Field} label=${label}><input placeholder=${hint} value=${said[name] ?? ''}
    onInput=${(e) => put({[name]: e.target.value})} ...${more} /><//>`;
}

function Form({said, put, model, books, files, setFiles, go, busy}) {
  const more = {said, put}, tab = said.tab, own = model.settings;
  const upload = async (e) => e.target.files[0] && setFiles({image: await base64(e.target.files[0])});
  return html`<form onSubmit=${(e) => { e.preventDefault(); go(); }} aria-label="Settings">
    ${Object.keys(books.models).length > 1 && html`<${Field} label="Run"><select value=${model.id}
      onChange=${(e) => put({model: e.target.value, ...NOTHING})}>
      ${Object.keys(books.models).map((id) => html`<option key=${id} value=${id} selected=${id === model.id}>${id}</option>`)}</select><//>`}
    ${['edit', 'restore'].includes(tab) && html`
      <${Field} label="Picture (any size; its middle square is taken)">
        <input type="file" accept="image/*" onChange=${upload} /><//>
      ${files.image && tab === 'edit' && html`<${Draw} image=${files.image} size=${model.shape[1]}
        mask=${(mask) => setFiles({...files, mask})} />`}
      ${files.image && tab === 'restore' && html`<img class="draw" src=${files.image} alt="the picture" />`}`}
    ${model.classes.length > 0 && html`<${Text} label=${`Classes: ${model.classes.slice(0, 10).join(', ')}`}
      name="labels" hint=${tab === 'anagram' ? 'one for each view' : 'all in turn'} ...${more} />`}
    ${model.reads && OF_WHAT.includes(tab) && html`
      <${Text} label="Prompt" name="prompt" hint="what is to be seen" ...${more} />
      <${Text} label="And not" name="negative" ...${more} />`}
    ${tab === 'between' ? html`<div class="pair"><${Text} label="From seed" name="seed" type="number" ...${more} />
        <${Text} label="To seed" name="other" hint="1" type="number" ...${more} /></div>
        <${Slide} label="Between them" name="between" min="1" max="20" usual="6" ...${more} />`
    : html`<div class="pair">${tab !== 'xy' && html`<${Text} label="How many" name="n" type="number" min="1" max="64" ...${more} />`}
        <${Field} label=${tab === 'xy' ? 'Seed of all' : 'First seed'}><div class="slide"><input type="number" min="0" value=${said.seed}
          onInput=${(e) => put({seed: e.target.value})} /><button type="button" title="Another seed"
          aria-label="another seed" onClick=${() => put({seed: String(Math.floor(Math.random() * 1e6))})}>↻</button>
        </div><//></div>`}
    <${Slide} label="Steps" name="steps" min="1" max="100" usual=${tab === 'restore' ? 100 : own.steps} ...${more} />
    ${tab !== 'restore' && html`
      <${Slide} label="Guidance (1 is none)" name="guidance" min="0" max="8" step=".1" usual=${own.guidance} ...${more} />
      <${Pick} label="Solver" name="solver" of=${books.solvers} usual=${`the run’s own (${own.solver})`} ...${more} />
      <${Pick} label="Grid" name="grid" of=${books.grids} ...${more} />`}
    ${model.averages.length > 0 && html`<${Pick} label="Average of the weights, by its length" name="average"
      of=${Object.fromEntries(model.averages.map((length) => [length, '']))} usual="that of training" ...${more} />`}
    ${model.cascades.length > 0 && OF_WHAT.includes(tab) && html`<${Pick} label="Made larger by" name="cascade"
      of=${Object.fromEntries(model.cascades.map((name) => [name, books.models[name].shape.join(' × ')]))} usual="nothing" said=${said}
      put=${(more) => put(more.cascade ? more : {...more, augment: ''})} />
      ${said.cascade && html`<${Slide} label="How far what that is shown is noised" name="augment" min="0" max="1" step=".05"
        usual=".1" ...${more} />`}`}
    ${tab === 'samples' && html`<${Text} label="Guide" name="guide" hint="cfg" ...${more} />`}
    ${tab === 'samples' && ['letters', 'smiles'].includes(model.space) && html`
      <${Text} label="To be filled in" name="fill" hint="a text with _ for what is open" ...${more} />`}
    ${tab === 'edit' && html`<${Slide} label="Strength" name="strength" min=".05" max="1" step=".05"
      usual=${files.mask ? 1 : 0.6} ...${more} />`}
    ${tab === 'anagram' && html`<${Text} label=${`Views: ${Object.keys(books.views).slice(0, 7).join(', ')}`}
      name="views" hint="identity,rot180" ...${more} />`}
    ${tab === 'restore' && html`<${Text} label="Measured by" name="operator" hint="box:2,2,4,4 or pool:2" ...${more} />
      <${Pick} label="Method" name="method" of=${books.inverse} usual="dps" ...${more} />
      <${Slide} label="Noise" name="noise" min="0" max="1" step=".01" usual=".05" ...${more} />`}
    ${tab === 'xy' && ['x', 'y'].map((axis) => html`<div class="pair">
      <${Field} label=${axis.toUpperCase()}><select
        onChange=${(e) => put({[axis]: e.target.value})}>${['seed', ...HOW].map((name) =>
          html`<option key=${name} value=${name} selected=${name === (said[axis] ?? XY[axis])}>${name}</option>`)}</select><//>
      <${Field} label="Its values"><input value=${said[`${axis}s`] ?? XY[`${axis}s`]}
        onInput=${(e) => put({[`${axis}s`]: e.target.value})} /><//></div>`)}
    ${tab === 'compare' && html`<fieldset><legend>B, where it differs; the seeds are the same</legend>
      <${Pick} label="Solver of B" name="b_solver" of=${books.solvers} usual="as A" ...${more} />
      <${Pick} label="Grid of B" name="b_grid" of=${books.grids} usual="as A" ...${more} />
      <div class="pair"><${Text} label="Steps of B" name="b_steps" type="number" hint="as A" ...${more} />
      <${Text} label="Guidance of B" name="b_guidance" type="number" step=".1" hint="as A" ...${more} /></div></fieldset>`}
    <div class="row">${busy ? html`<button type="button" onClick=${busy}>Stop</button>`
      : html`<button class="go">Make</button>`}
      <label class="button"><span>Recall from a picture</span><input type="file" accept="image/png" hidden
        onChange=${(e) => e.target.files[0] && settingsOf(e.target.files[0]).then((told) => put(recalled(told, books)))
          .catch((error) => alert(error.message))} /></label></div>
  </form>`;
}

// The settings that a picture carries, as those of the form.
const recalled = ({run, order, index}, books) => {
  const seeds = order.seeds.split(',').flatMap((part) => {
    const [low, high] = part.split('-').map(Number);
    return Array.from({length: (high ?? low) - low + 1}, (_, i) => low + i);
  });
  const one = index == null ? 0 : index;
  const here = (place) => (place && books.models[place.split('/').pop()] ? place.split('/').pop() : undefined);
  return {tab: 'samples', model: here(run), average: order.average == null ? '' : String(order.average),
    cascade: here(order.cascade), augment: here(order.cascade) && order.augment != null ? String(order.augment) : '',
    seed: String(seeds[one]), n: index == null ? String(seeds.length) : '1', steps: String(order.steps),
    labels: order.labels ? expand(order.labels)[one % expand(order.labels).length] : '',
    prompt: order.prompt?.[one % order.prompt.length] ?? '', negative: order.negative ?? '',
    solver: order.solver, grid: order.grid, guide: order.guide === 'cfg' ? '' : order.guide,
    guidance: order.guidance == null ? '' : String(order.guidance)};
};
const expand = (text) => text.split(',').flatMap((part) => {
  const [low, high] = part.split('-').map(Number);
  return Array.from({length: (high ?? low) - low + 1}, (_, i) => String(low + i));
});

function Queue() {
  const [rows, setRows] = useState([]);
  useEffect(() => {
    const look = () => get('/v1/requests').then(setRows).catch(() => {});
    look();
    const timer = setInterval(look, 1000);
    return () => clearInterval(timer);
  }, []);
  return html`<section><h2>Queue</h2>${rows.length === 0 ? html`<p>Nothing waits.</p>` : html`
    <div class="scroll"><table><thead><tr><th>Turn</th><th>Run</th><th>Verb</th><th>Samples</th><th>Step</th><th></th></tr></thead>
    <tbody>${rows.map((row, i) => html`<tr key=${row.id}><td>${i + 1}</td><td>${row.model}</td><td>${row.verb}</td>
      <td>${row.samples}</td><td>${row.step} of ${row.of}</td>
      <td><button onClick=${() => stop(row.id)} aria-label=${`stop request ${i + 1}`}>Stop</button></td></tr>`)}
    </tbody></table></div>`}</section>`;
}

function Runs({books, put}) {
  const [logs, setLogs] = useState({}), names = Object.keys(books.models);
  useEffect(() => {
    const look = () => Promise.all(names.map((name) => get(`/v1/models/${name}/log`)))
      .then((found) => setLogs(Object.fromEntries(found.map((log, i) => [names[i], log])))).catch(() => {});
    look();
    const timer = setInterval(look, 2000);
    return () => clearInterval(timer);
  }, []);
  const row = (m) => {
    const {images = [], loss = []} = logs[m.id] ?? {}, now = images.at(-1);
    return html`<tr key=${m.id}><td>${m.id}</td><td>${m.shape.join(' × ')}</td><td>${m.classes.length}</td>
      <td>${m.images_seen.toLocaleString('en')}${now > m.images_seen ? `; in training ${now.toLocaleString('en')}` : ''}</td>
      <td>${now != null && html`<${Curve} ...${{images, loss}} />${loss.at(-1).toPrecision(3)}`}</td><td>${m.rows}</td>
      <td class="row"><button onClick=${() => put({tab: 'samples', model: m.id, ...NOTHING})}>Sample</button>
      <a href=${`/v1/models/${m.id}/report`} target="_blank">Report</a></td></tr>`;
  };
  return html`<section><h2>Runs</h2><div class="scroll"><table><thead><tr><th>Run</th><th>Shape</th><th>Classes</th>
    <th>Images seen</th><th>Loss</th><th>Rows of a wave</th><th></th></tr></thead><tbody>
    ${Object.values(books.models).map(row)}</tbody></table></div></section>`;
}

function Studio({books}) {
  const [said, setSaid] = useState(fromAddress), [files, setFiles] = useState({});
  const [strips, setStrips] = useState([]), [chosen, setChosen] = useState(null);
  const [told, setTold] = useState(''), [bad, setBad] = useState(false), [share, setShare] = useState(0);
  const [busy, setBusy] = useState(null), ran = useRef(false);
  const model = books.models[said.model] ?? Object.values(books.models)[0];
  const put = (more) => setSaid((before) => {
    const now = {...before, ...more};
    history.replaceState(null, '', toAddress(now));
    return now;
  });
  const say = (text, wrong = false) => { setTold(text); setBad(wrong); };

  const go = async () => {
    const control = new AbortController();
    setBusy(() => () => control.abort());
    setChosen(null); setShare(0); say('sent');
    let found = [];
    const one = async (strip) => {
      for await (const {kind, data} of events(strip.verb, strip.ask, control.signal)) {
        if (kind === 'queued') say(data.before ? `${data.before} before this` : 'begun');
        if (kind === 'step') {
          strip.frames = [...strip.frames, data.png ?? data.text ?? data.x];
          strip.share = data.step / data.of;
          setShare(found.reduce((sum, s) => sum + s.share, 0) / found.length); say(`step ${data.step} of ${data.of}`);
        }
        if (kind === 'failed' || kind === 'cancelled') throw new Error(data.error.message);
        if (kind === 'done') strip.answer = data;
        setStrips([...found]);
      }
    };
    try {
      found = ASKS[said.tab](said, files).map(([verb, ask, at]) => ({verb, ask, at, frames: [], answer: null, share: 0}));
      setStrips([...found]);
      await Promise.all(found.map(one));
      const notes = found.flatMap((strip) => strip.answer?.warnings ?? []);
      say([`done in ${Math.max(...found.map((s) => s.answer.seconds)).toFixed(2)} s`, ...notes].join('; '));
    } catch (error) {
      say(error.name === 'AbortError' ? 'stopped' : error.message, error.name !== 'AbortError');
    }
    setBusy(null);
  };
  useEffect(() => {
    if (!ran.current && location.hash.includes('go=')) { ran.current = true; go(); }
    const moved = () => setSaid(fromAddress());
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  const turn = (e) => {
    const names = Object.keys(TABS), at = names.indexOf(said.tab);
    const to = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1}[e.key];
    if (to == null) return;
    put({tab: names[(to + names.length) % names.length]});
    e.currentTarget.children[(to + names.length) % names.length].focus();
  };
  const edit = (png) => { setFiles({image: `data:image/png;base64,${png}`}); put({tab: 'edit', n: '8'}); };

  return html`<header><h1>Scorefield studio</h1><nav role="tablist" aria-label="What to make" onKeyDown=${turn}>
      ${Object.entries(TABS).map(([key, text]) => html`<button key=${key} role="tab" tabindex=${said.tab === key ? 0 : -1}
        aria-selected=${said.tab === key} aria-controls="panel" onClick=${() => put({tab: key})}>${text}</button>`)}
    </nav></header>
    <main id="panel" role="tabpanel" aria-label=${TABS[said.tab]}>
    ${said.tab === 'queue' ? html`<${Queue} />` : said.tab === 'runs' ? html`<${Runs} ...${{books, put}} />` : html`
      <${Form} ...${{said, put, model, books, files, setFiles, go, busy}} />
      <section aria-label="What was made">
        <p class=${bad ? 'status bad' : 'status'} role="status">${told}</p>
        ${busy && html`<progress value=${share} aria-label="how far it is"></progress>`}
        ${chosen && html`<${Detail} key=${`${chosen.k} ${chosen.i}`} ...${{strips, chosen, model, edit}} link=${toAddress({...said, go: 1})} />`}
        <div class="strips">${strips[0]?.at ? html`<${Table} ...${{strips, chosen, model}} choose=${(k) => setChosen({k, i: 0})} />`
        : strips.map((strip, k) => html`<${Strip} key=${k} ...${{strip, chosen, model}}
          name=${strips.length > 1 ? 'AB'[k] : ''} choose=${(i) => setChosen({k, i})} />`)}</div>
      </section>`}</main>`;
}

const [models, books] = await Promise.all([get('/v1/models'), get('/v1/catalogue')]).catch((error) => {
  document.body.textContent = error.message;
  throw error;
});
books.models = Object.fromEntries(models.data.map((model) => [model.id, model]));
render(html`<${Studio} books=${books} />`, document.body);
