"""The style sheet of the report card, for light and dark screens, wide and narrow ones, and paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --line: #e2e6eb; --text: #1f2328; --soft: #59636e; --track: #eef1f4;
  --train: #2f6fde; --eval: #e0781e; --good: #1a7f37; --good-back: #e4f5e9; --bad: #c2261c; --bad-back: #fdecea;
  --code: #f3f5f7; --second: #8db4f2; --rest: #d3dae2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0d1117; --card: #151b23; --line: #2b333d; --text: #e6edf3; --soft: #98a2ad; --track: #222a33;
    --train: #6ea8ff; --eval: #f2a05a; --good: #56d364; --good-back: #12301c; --bad: #ff8d85; --bad-back: #3b1513;
    --code: #0f141b; --second: #3f6aa8; --rest: #3a4450;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; padding: 2.5rem 1.25rem 4rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1120px; margin: 0 auto; }
header { margin-bottom: 1.5rem; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 0.75rem; font-size: 1.2rem; letter-spacing: -0.005em; }
h3 { margin: 0 0 0.75rem; font-size: 0.95rem; font-weight: 600; }
p { margin: 0.3rem 0; max-width: 46rem; }
.soft { color: var(--soft); }
.small { font-size: 0.86rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 0.75rem; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 0.85rem 1rem; }
.tile b { display: block; font-size: 1.45rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 0.86rem; display: block; }
.tile.train { box-shadow: inset 0 3px var(--train); } .tile.eval { box-shadow: inset 0 3px var(--eval); }
.cards { columns: 2 400px; column-gap: 0.75rem; }
.card { padding: 1rem 1.1rem; margin: 0 0 0.75rem; break-inside: avoid; min-width: 0; }
.cards > .wide { column-span: all; }
.checks { list-style: none; margin: 0.75rem 0 0; padding: 0; display: grid; gap: 0.75rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); }
.checks li { display: flex; gap: 0.75rem; padding: 0.75rem 1rem; border-radius: 10px; border: 1px solid var(--line);
  background: var(--card); min-width: 0; }
.checks li > div { min-width: 0; } .checks b { display: block; font-weight: 600; }
.checks span { font-size: 0.9rem; overflow-wrap: anywhere; display: block; }
.checks i { flex: none; width: 1.5rem; height: 1.5rem; border-radius: 50%; font-style: normal; font-weight: 700;
  font-size: 0.9rem; line-height: 1.5rem; text-align: center; background: var(--track); color: var(--soft); }
.checks .good { background: var(--good-back); border-color: transparent; } .checks .bad { background: var(--bad-back);
  border-color: transparent; }
.checks .good i { background: var(--good); color: var(--card); } .checks .bad i { background: var(--bad); color: var(--card); }
.checks.plain { display: block; margin: 0 0 0.4rem; }
.checks.plain li { background: none; border: 0; padding: 0.2rem 0; align-items: center; }
.mark.bad b { color: var(--bad); }
.bars { display: grid; grid-template-columns: minmax(5rem, 38%) 1fr auto; gap: 0.35rem 0.75rem; align-items: center;
  font-size: 0.9rem; }
.bars > .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; direction: ltr; }
.bars.two { grid-template-columns: minmax(5rem, 34%) 1fr auto auto; }
.bars > .number, .bars > .head { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bars > .head { font-size: 0.8rem; color: var(--soft); } .bars > .more { min-width: 3.4rem; color: var(--soft); }
.bars svg { width: 100%; height: 10px; border-radius: 3px; background: var(--track); display: block; }
.fill { fill: var(--train); } .fill.eval { fill: var(--eval); } .fill.out { fill: var(--soft); }
.fill.second { fill: var(--second); } .fill.rest { fill: var(--rest); }
svg.parts { width: 100%; height: 22px; border-radius: 5px; background: var(--track); display: block; margin: 0 0 0.6rem; }
.gap { height: 0.9rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; font-size: 0.86rem; color: var(--soft); margin: 0 0 0.6rem; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 0.4rem;
  background: var(--train); }
.legend i.eval { background: var(--eval); } .legend i.out { background: var(--soft); }
.legend i.second { background: var(--second); } .legend i.rest { background: var(--rest); }
.columns svg { width: 100%; height: 150px; display: block; border-bottom: 1px solid var(--line); }
.ticks { display: flex; font-size: 0.78rem; color: var(--soft); margin-top: 0.3rem; }
.ticks span { flex: 1 1 0; text-align: center; min-width: 0; white-space: nowrap; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 0.82rem; }
th, td { padding: 0.35rem 0.75rem 0.35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
tr:last-child > td { border-bottom: 0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; overflow-wrap: normal; }
th:last-child, td:last-child { padding-right: 0; }
.facts { display: grid; grid-template-columns: fit-content(48%) 1fr; gap: 0.3rem 1rem; margin: 0; font-size: 0.9rem; }
.wide > .facts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 0.75rem 2rem; }
.facts > div { display: contents; } .wide > .facts > div { display: block; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
details { border-bottom: 1px solid var(--line); } details:last-child { border-bottom: 0; }
summary { cursor: pointer; padding: 0.5rem 0; list-style: none; display: grid; gap: 0.1rem 0.75rem;
  grid-template-columns: 0.8rem 1fr minmax(3rem, 22%) 4.5rem; align-items: center; }
summary::-webkit-details-marker { display: none; }
summary::before { content: ""; width: 0; height: 0; border-left: 5px solid var(--soft); border-top: 4px solid transparent;
  border-bottom: 4px solid transparent; }
details[open] > summary::before { transform: rotate(90deg); }
details.plain > summary { grid-template-columns: 0.8rem 1fr; }
summary svg { width: 100%; height: 8px; border-radius: 3px; background: var(--track); display: block; }
summary .number { text-align: right; font-variant-numeric: tabular-nums; }
.step { color: var(--soft); font-size: 0.86rem; }
.pair { padding: 0.6rem 0; border-bottom: 1px solid var(--line); display: grid;
  grid-template-columns: 3.2rem 1fr; gap: 0 0.5rem; }
.pair:last-child { border-bottom: 0; padding-bottom: 0; } .pair > b { font-variant-numeric: tabular-nums; }
.pair p { max-width: none; margin: 0; font-size: 0.9rem; overflow-wrap: anywhere; } .pair pre { grid-column: 2; }
.example { margin: 0 0 0.75rem 1.55rem; }
.example .where { font-size: 0.84rem; color: var(--soft); overflow-wrap: anywhere; }
pre { margin: 0.25rem 0 0; padding: 0.6rem 0.8rem; background: var(--code); border-radius: 6px; font-size: 0.82rem;
  line-height: 1.45; white-space: pre-wrap; overflow-wrap: anywhere;
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
ul.tree { list-style: none; margin: 0; padding-left: 0; font-size: 0.9rem; }
ul.tree ul { list-style: none; margin: 0; padding-left: 1rem; border-left: 1px solid var(--line); }
ul.tree li { padding: 0.12rem 0; overflow-wrap: anywhere; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 0.92em; }
footer { margin-top: 2.5rem; color: var(--soft); font-size: 0.84rem; overflow-wrap: anywhere; }
@media (max-width: 520px) {
  body { padding: 1.5rem 0.85rem 3rem; }
  h1 { font-size: 1.5rem; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .pair { grid-template-columns: 1fr; } .pair pre { grid-column: 1; }
  .facts { grid-template-columns: 1fr; gap: 0; }
  .wide > .facts { gap: 0; } .facts dd { margin-bottom: 0.5rem; }
  .bars { grid-template-columns: minmax(4rem, 40%) 1fr auto; gap: 0.35rem 0.5rem; }
  .bars.two { grid-template-columns: minmax(4rem, 38%) 1fr auto auto; } .bars > .more { min-width: 2.6rem; }
  td, th { padding-right: 0.4rem; } .card { padding: 0.85rem 0.9rem; }
  summary { grid-template-columns: 0.8rem 1fr 4.2rem; } summary svg { display: none; }
  .example { margin-left: 0; }
  .ticks span:nth-child(even) { visibility: hidden; }
  ul.tree ul { padding-left: 0.6rem; }
}
@media print {
  :root { color-scheme: light; --page: #fff; --card: #fff; --line: #cfd5db; --text: #111; --soft: #444; --track: #eee;
    --train: #2f6fde; --eval: #e0781e; --good: #1a7f37; --good-back: #fff; --bad: #c2261c; --bad-back: #fff; --code: #f6f6f6;
    --second: #8db4f2; --rest: #d3dae2; }
  body { padding: 0; font-size: 12px; } main { max-width: none; }
  .checks li, .checks .good, .checks .bad { border-color: var(--line); }
  .card, .tile, .checks li { break-inside: avoid; } h2 { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
