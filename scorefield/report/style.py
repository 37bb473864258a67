"""The look of a report, and its few lines of script. Nothing here is fetched from anywhere."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfc; --raised: #f4f5f6; --ink: #191b1f; --muted: #666c76; --rule: #e3e5e8;
  --accent: #2f5bd0; --real: #2f8558;
  --c0: #2f5bd0; --c1: #c4540a; --c2: #0d8a6a; --c3: #b0478f; --c4: #9a7400; --c5: #2b8fc0;
  --c6: #6d6f76; --c7: #7a50c8;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #131519; --raised: #1c1f25; --ink: #e8e9eb; --muted: #9aa0aa; --rule: #2b2f36;
    --accent: #86a8ff; --real: #6cc294;
    --c0: #86a8ff; --c1: #f0945a; --c2: #4fc7a4; --c3: #e18cc4; --c4: #d9b64a; --c5: #6cc3ee;
    --c6: #a7aab2; --c7: #b79af2;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 4rem; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.6 var(--sans); font-variant-numeric: tabular-nums; overflow-wrap: break-word;
}
header, main, footer, nav ol { max-width: 66rem; margin-inline: auto; padding-inline: 1.5rem; }
header { padding-top: 4rem; }
h1 {
  margin: 0; font-size: clamp(2rem, 6vw, 3rem); font-weight: 650; letter-spacing: -.025em;
  line-height: 1.1; overflow-wrap: anywhere;
}
h2 { margin: 0 0 .35rem; font-size: 1.45rem; font-weight: 640; letter-spacing: -.015em; }
h3 { margin: 0; font-size: 1rem; font-weight: 600; }
.lead { margin: .9rem 0 0; max-width: 44rem; font-size: 1.15rem; color: var(--muted); }
p.after { margin-top: 1.5rem; }
.about { margin: 0 0 1.75rem; max-width: 44rem; font-size: .9375rem; color: var(--muted); }
.state { margin: 0 0 .9rem; font-size: .875rem; color: var(--muted); }
.state::before {
  content: ""; display: inline-block; width: .55em; height: .55em; margin-right: .5em;
  border-radius: 50%; background: var(--real);
}
.state.under::before { background: none; box-shadow: inset 0 0 0 .13em var(--accent); }
code { font: .875em/1.5 var(--mono); }
p, dd, code, figcaption, td.value { overflow-wrap: anywhere; }
.next code { padding: .15em .45em; border-radius: .3em; background: var(--raised); }
.next code { color: var(--ink); }
a { color: inherit; text-underline-offset: .2em; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 2px; }

.facts {
  display: grid; grid-template-columns: repeat(4, 1fr); gap: 1.75rem 2rem; margin: 2.75rem 0 2.5rem;
}
.facts div { border-top: 1px solid var(--rule); padding-top: .7rem; }
.facts dt { font-size: .8125rem; color: var(--muted); }
.facts dd {
  margin: 0; font-size: 1.6rem; font-weight: 600; letter-spacing: -.02em; line-height: 1.3;
}
.facts dd + dd {
  font-size: .8125rem; font-weight: 400; letter-spacing: 0; color: var(--muted); line-height: 1.5;
}

nav {
  position: sticky; top: 0; z-index: 1; background: var(--paper);
  border-block: 1px solid var(--rule);
}
nav ol {
  display: flex; gap: 1.5rem; margin-block: 0; padding-block: .7rem; list-style: none;
  overflow-x: auto; scrollbar-width: none; font-size: .875rem; white-space: nowrap;
}
nav a { color: var(--muted); text-decoration: none; }
nav a:hover { color: var(--accent); }
section { padding: 3.5rem 0 1rem; }
section + section { border-top: 1px solid var(--rule); margin-top: 2.5rem; }
footer { padding-block: 3rem 4rem; font-size: .8125rem; color: var(--muted); }

figure { margin: 0; min-width: 0; }
.charts {
  display: grid; gap: 2.25rem 2.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
}
.charts .wide { grid-column: 1 / -1; }
figcaption { margin-bottom: .6rem; line-height: 1.4; }
figcaption b { font-weight: 600; }
figcaption span { color: var(--muted); font-size: .8125rem; }
figcaption b + span { margin-left: .4em; }

svg { display: block; overflow: visible; }
.chart { padding: 10px var(--right) 36px 46px; }
.chart > svg { width: 100%; }
svg text { font: 12px var(--sans); font-variant-numeric: tabular-nums; fill: var(--muted); }
svg text.name { font-size: 11.5px; }
svg text.end { font-weight: 600; fill: var(--ink); }
svg line { stroke: var(--rule); shape-rendering: crispEdges; }
svg .base { stroke: var(--muted); stroke-opacity: .45; }
svg line.mark { stroke: var(--real); stroke-dasharray: 4 4; shape-rendering: auto; }
svg text.mark { fill: var(--real); font-weight: 500; }
svg .band { fill: var(--real); fill-opacity: .12; }
svg path {
  fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round;
  stroke-linecap: round; vector-effect: non-scaling-stroke;
}
svg path.raw { stroke-width: 1; stroke-opacity: .32; }
svg path.pale0 { stroke-opacity: .3; } svg path.pale1 { stroke-opacity: .5; }
svg path.pale2 { stroke-opacity: .72; } svg path.pale3 { stroke-width: 2.5; }
svg text.pale0, svg text.pale1, svg text.pale2 { fill: var(--muted); font-weight: 400; }
svg text.pale3, svg text.main { fill: var(--accent); }
svg .hit { fill: transparent; }
svg .hit:hover { fill: var(--ink); fill-opacity: .08; }
svg .heat rect { fill: color-mix(in srgb, var(--accent) var(--cell), var(--paper)); }
svg .heat rect:hover { stroke: var(--ink); stroke-width: 1; vector-effect: non-scaling-stroke; }
svg g line { stroke-width: 1.25; stroke-opacity: .6; shape-rendering: auto; }
svg path.aside { stroke-dasharray: 5 4; }
COLOURS
.scale {
  display: flex; align-items: center; gap: .6rem; margin: .5rem 0 0 46px;
  font-size: .75rem; color: var(--muted);
}
.scale i {
  width: 7rem; height: .5rem; border-radius: 2px;
  --faint: color-mix(in srgb, var(--accent) 8%, var(--paper));
  background: linear-gradient(to right, var(--faint), var(--accent));
}

.key { list-style: none; margin: .4rem 0 0 46px; padding: 0; font-size: .8125rem; }
.key { color: var(--muted); }
.key svg { display: inline-block; vertical-align: middle; margin-right: .3rem; }

.film { max-width: 46rem; }
.film .strip {
  display: flex; gap: 1rem; overflow-x: auto; scroll-snap-type: x mandatory; padding-bottom: .5rem;
}
.film figure { flex: 0 0 min(100%, 26rem); scroll-snap-align: start; }
.film img { display: block; width: 100%; height: auto; border-radius: 4px; background: #282828; }
.film figcaption { margin: .6rem 0 0; }
.scrub {
  display: flex; align-items: center; gap: 1rem; margin-top: .6rem; font-size: .8125rem;
  color: var(--muted);
}
.scrub[hidden] { display: none; }
.scrub input { flex: 1; min-width: 0; accent-color: var(--accent); height: 1.75rem; margin: 0; }
@media screen {
  .film.single figure { display: none; flex: 1 0 100%; }
  .film.single figure.on { display: block; }
}
.sheet { overflow-x: auto; margin-top: 2.25rem; }
.sheet img { display: block; max-width: 100%; height: auto; border-radius: 4px; background: #fff; }

.measures { display: grid; gap: 0; margin: 0 0 1.5rem; }
.measure {
  display: grid; grid-template: auto 1fr / 15rem 1fr; gap: .4rem 2.5rem; padding: 1.4rem 0;
  border-top: 1px solid var(--rule);
}
.measure > div { grid-row: span 2; }
.measure p { margin: 0; }
.measure .value { font-size: 1.5rem; font-weight: 600; letter-spacing: -.02em; line-height: 1.35; }
.measure .verdict { font-size: .875rem; color: var(--muted); }
.measure .words { grid-column: 2; max-width: 38rem; font-size: .875rem; color: var(--muted); }
.bar { width: 100%; height: 46px; }
.bar .track { fill: var(--raised); } .bar .fill { fill: var(--accent); }
.bar .whisker { stroke: var(--ink); stroke-width: 2; }
svg .floor { stroke: var(--real); stroke-width: 2; }
.bar .floorband { fill: var(--real); fill-opacity: .18; }
.bar text { fill: var(--real); font-weight: 500; }
.ladder { width: 100%; min-width: 8rem; height: 18px; }
.ladder line { stroke: var(--accent); stroke-width: 1.5; }
.ladder .rail { stroke: var(--rule); stroke-width: 1; }

.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
caption { text-align: left; padding: 1.75rem 0 .5rem; font-weight: 600; }
th, td { text-align: left; vertical-align: baseline; font-weight: 400; }
th, td { padding: .5rem 1.25rem .5rem 0; }
thead th { color: var(--muted); font-size: .8125rem; white-space: nowrap; }
tbody tr { border-top: 1px solid var(--rule); }
td.n, th.n { text-align: right; white-space: nowrap; }
tbody th, td.words { color: var(--muted); }
tbody th { white-space: nowrap; color: var(--ink); }
tr.changed th code::before { content: "● "; color: var(--accent); }
tr.changed td.value b { color: var(--accent); }
td.value b { font-weight: 500; } tr.changed td.value b { font-weight: 650; }
td.value small { display: block; color: var(--muted); }
.settings { table-layout: fixed; }
.settings th:nth-child(1) { width: 16rem; } .settings th:nth-child(2) { width: 12rem; }
details { margin-top: 1.75rem; }
summary { cursor: pointer; font-size: .875rem; color: var(--muted); }
summary:hover { color: var(--accent); }

@media (max-width: 44rem) {
  header { padding-top: 2.5rem; }
  header, main, footer, nav ol { padding-inline: 1rem; }
  .facts { grid-template-columns: 1fr 1fr; margin-block: 2rem; gap: 1.25rem 1rem; }
  .facts dd { font-size: 1.35rem; }
  section { padding-top: 2.5rem; } section + section { margin-top: 1.75rem; }
  .measure { grid-template: none; } .measure .words { grid-column: 1; }
  .measure > div { grid-row: auto; }
  .sheet img { max-width: none; width: 40rem; }
  .settings tr { display: grid; grid-template-columns: auto 1fr; padding: .55rem 0; gap: 0 1rem; }
  .settings th, .settings td { width: auto !important; padding: 0; }
  .settings td.value { text-align: right; } .settings td.words { grid-column: 1 / -1; }
  .settings thead { display: none; }
}
@media print {
  :root { --paper: #fff; font-size: 10pt; }
  nav, .scrub { display: none !important; }
  header { padding-top: 0; }
  header, main, footer { max-width: none; padding-inline: 0; }
  section { padding-top: 1.5rem; }
  figure, .measure, tr, .facts div { break-inside: avoid; }
  h2, h2 + .about, caption { break-after: avoid; }
  .film { max-width: none; }
  .film .strip { display: grid; grid-template-columns: repeat(3, 1fr); overflow: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
""".replace(
    "COLOURS",
    "\n".join(
        f"svg path.c{i} {{ stroke: var(--c{i}); }} svg text.c{i} {{ fill: var(--c{i}); }} "
        f"svg g.c{i} circle {{ fill: var(--c{i}); }} svg g.c{i} line {{ stroke: var(--c{i}); }}"
        for i in range(8)
    ),
).strip()

SCRIPT = """
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
""".strip()
"""Turns a row of pictures into one with a slider; without it the row scrolls."""
