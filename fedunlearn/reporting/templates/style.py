"""How the page looks, in light and dark; the pictures use the colours and their own part, also as files."""

COLOURS = r"""
:root {
  color-scheme: light dark;
  --letters: "Inter", "Segoe UI", system-ui, -apple-system, "Noto Sans", "Helvetica Neue", Arial, sans-serif;
  --paper: #fbfaf7; --card: #ffffff; --ink: #23262b; --soft: #636a74; --rule: #e4e1da; --accent: #0b5a8f;
  --warn: #a84300; --tile: 11, 90, 143;
  --c0: #3b4252; --c1: #0072b2; --c2: #d55e00; --c3: #009e73; --c4: #7cb518; --c5: #8a8f98; --c6: #b8bcc4;
  --c7: #cc79a7; --c8: #e69f00; --c9: #8c6d31;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c; --card: #1c2026; --ink: #e6e4df; --soft: #9aa2ad; --rule: #2d333b; --accent: #6db6e8;
    --warn: #f0975a; --tile: 86, 180, 233;
    --c0: #d8dee9; --c1: #56b4e9; --c2: #f0864a; --c3: #2fc79a; --c4: #a5d64a; --c5: #8a929d; --c6: #5b636e;
    --c7: #e39cc4; --c8: #f2b84b; --c9: #c9a95c;
  }
}
"""

PAGE = r"""
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 var(--letters);
  font-variant-numeric: tabular-nums;
}
main, header.top, footer { max-width: 1080px; margin: 0 auto; padding: 0 28px; }
header.top { padding-top: 64px; padding-bottom: 8px; }
.over { color: var(--accent); font-size: 13px; font-weight: 600; letter-spacing: .08em; text-transform: uppercase; margin: 0; }
h1, h2, h3, h4 { font-family: "Iowan Old Style", "Palatino Linotype", Palatino, "Source Serif 4", Georgia, "Noto Serif", serif; line-height: 1.2; font-weight: 600; text-wrap: balance; }
h1 { font-size: clamp(30px, 4.4vw, 46px); margin: 8px 0 12px; letter-spacing: -.01em; }
h2 { font-size: 30px; margin: 72px 0 4px; padding-top: 28px; border-top: 1px solid var(--rule); }
h3 { font-size: 21px; margin: 44px 0 6px; }
h4 { font-size: 16px; margin: 24px 0 4px; font-family: inherit; }
p { max-width: 70ch; margin: 6px 0 12px; }
.lead { font-size: 18px; color: var(--soft); white-space: pre-line; }
.soft, figcaption, .note-line { color: var(--soft); font-size: 14px; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: 3px; }
nav { display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 18px 0 0; font-size: 15px; }
code { font: 13px/1.4 ui-monospace, "SF Mono", "JetBrains Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 20px; margin: 24px 0; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 14px; padding: 22px 24px; }
.card h3 { margin: 0 0 10px; }
.tiles { display: grid; grid-template-columns: 1fr 1fr; gap: 18px 20px; }
.tile strong { display: block; font-size: 27px; line-height: 1.15; font-weight: 600; letter-spacing: -.01em; }
.tile .topic { font-size: 13px; color: var(--accent); font-weight: 600; }
.tile .about { font-size: 13px; line-height: 1.4; color: var(--soft); display: block; margin-top: 3px; }
.strip { display: flex; gap: 8px; margin: 18px 0 0; }
.strip div { flex: 1 1 0; max-width: 84px; }
.strip img { width: 100%; display: block; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 4px 22px; margin: 12px 0; font-size: 15px; }
dl.facts dt { color: var(--soft); }
dl.facts dd { margin: 0; }
.halves { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 28px 40px; align-items: start; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(400px, 100%), 1fr)); gap: 8px 40px; align-items: start; }
figure { margin: 14px 0 22px; }
figcaption { margin-top: 6px; max-width: 70ch; }
svg { display: block; width: 100%; height: auto; }
ul.sees { list-style: none; padding: 0; margin: 10px 0; font-size: 15px; }
ul.sees li { padding-left: 26px; position: relative; margin: 3px 0; }
ul.sees li::before { content: "\2713"; position: absolute; left: 3px; color: var(--c3); font-weight: 700; }
ul.sees li.no { color: var(--soft); }
ul.sees li.no::before { content: "\2013"; color: var(--soft); }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 18px 14px; margin: 16px 0; max-width: 860px; }
.pair img, .strip img { image-rendering: pixelated; border-radius: 5px; border: 1px solid var(--rule); background: #888; }
.pair img { width: 100%; display: block; margin-bottom: 5px; }
.pair span { font-size: 13px; color: var(--soft); display: block; text-align: center; line-height: 1.35; }
.pair.yes span { color: var(--ink); font-weight: 600; }
.pairs.small { grid-template-columns: repeat(auto-fill, minmax(70px, 1fr)); gap: 8px 14px; }
.pair.forgotten img { outline: 3px solid var(--c2); outline-offset: 1px; }
.pair.mean { padding-left: 12px; border-left: 2px solid var(--rule); }
.albums { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 14px; margin: 8px 0; }
.albums img { width: 100%; display: block; border-radius: 5px; border: 1px solid var(--rule); }
.albums span { font-size: 13px; color: var(--soft); display: block; text-align: center; }
.shelf { margin: 10px 0 16px; }
.shelf.quiet { border: 1px dashed var(--rule); border-radius: 10px; padding: 8px 14px; }
.shelf .pairs { margin: 6px 0 8px; }
table.dense { font-size: 13px; }
table.dense th, table.dense td { padding: 4px 10px 4px 0; }
table.dense .soft { font-size: inherit; }
.spread { color: var(--soft); font-size: .88em; font-weight: 400; }
table.dense th { white-space: normal; vertical-align: bottom; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 14px 24px; margin: 14px 0; }
.panel { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 14px 10px; }
.panel.quiet { border-style: dashed; background: none; }
.panel .head { font-weight: 600; font-size: 14px; margin: 0 0 6px; }
.panel .note-line { margin: 4px 0 0; font-size: 13px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 14px; margin: 8px 0; padding: 0; list-style: none; }
.legend i { display: inline-block; width: 18px; height: 0; border-top: 3px solid currentColor; vertical-align: middle; margin-right: 7px; }
.legend b { font-weight: 400; color: var(--ink); }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 2px; vertical-align: -1px; margin: 0 4px 0 2px; }
.scroll { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; font-size: 14px; width: 100%; }
th, td { text-align: left; padding: 6px 18px 6px 0; border-bottom: 1px solid var(--rule); vertical-align: baseline; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.n:last-child, th.n:last-child { padding-right: 2px; }
td.big { font-weight: 600; }
tr.first td { border-top: 1px solid var(--soft); }
details { margin: 10px 0 18px; }
summary { cursor: pointer; color: var(--accent); font-size: 15px; }
footer { color: var(--soft); font-size: 14px; padding-top: 40px; padding-bottom: 64px; }
"""

DRAWINGS = r"""
.axis { font-size: 11.5px; fill: var(--soft); }
.axis.strong { font-weight: 700; fill: var(--ink); }
.middle { text-anchor: middle; } .end { text-anchor: end; }
.note { font-size: 12px; fill: var(--warn); font-weight: 600; }
.rule { stroke: var(--rule); stroke-width: 1; }
.zero { stroke: var(--soft); stroke-width: 1; }
.mark { stroke: var(--warn); stroke-width: 1.5; stroke-dasharray: 4 3; }
.curve { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.s3 .curve, .s4 .curve { stroke-dasharray: 7 4; } .s5 .curve, .s6 .curve, .s9 .curve { stroke-dasharray: 2 4; }
.dot { fill: currentColor; }
.seen { fill: var(--paper); stroke: var(--warn); stroke-width: 2.5; }
.s0 { color: var(--c0); } .s1 { color: var(--c1); } .s2 { color: var(--c2); } .s3 { color: var(--c3); } .s4 { color: var(--c4); }
.s5 { color: var(--c5); } .s6 { color: var(--c6); } .s7 { color: var(--c7); } .s8 { color: var(--c8); } .s9 { color: var(--c9); }
.bar { fill: var(--c5); fill-opacity: .45; }
.bar.true { fill: var(--c2); fill-opacity: 1; }
.bar.original { fill: var(--c5); fill-opacity: .6; }
.bar.found { fill: var(--c1); fill-opacity: 1; }
.area { fill: currentColor; fill-opacity: .22; stroke: currentColor; stroke-width: 1.6; }
.area.s0 { color: var(--c2); } .area.s1 { color: var(--c1); }
.tile { fill: rgb(var(--tile)); } .tile-text { font-size: 11px; text-anchor: middle; fill: var(--ink); }
.tile-text.light { fill: #fff; } .tile-text.strong { font-weight: 700; }
.tile.alarm { fill: var(--c2); } .tile.framed { stroke: var(--ink); stroke-width: 1.8; }
.hollow { fill: none; stroke: var(--rule); } .axis.ink { fill: var(--ink); }
.curve.thin { stroke-width: 1.5; stroke-opacity: .75; } .whisker { stroke: currentColor; stroke-width: 1.6; }
.interval { stroke: var(--c1); stroke-width: 2.4; stroke-linecap: round; }
.estimate { fill: var(--c1); } .chance { stroke: var(--warn); stroke-width: 2; }
.bubble { fill: currentColor; fill-opacity: .4; stroke: currentColor; stroke-width: 1.3; }
.ring { fill: none; stroke: currentColor; stroke-width: 2; }
.leader { stroke: var(--soft); stroke-width: .8; stroke-opacity: .7; }
.aim { stroke: var(--c3); stroke-width: 1.4; stroke-dasharray: 5 4; stroke-opacity: .8; }
.name { font-size: 12px; fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round; }
.name.strong { font-weight: 600; }
.halo { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round; }
.paper { fill: var(--paper); }
.heading { font-size: 17px; font-weight: 600; fill: var(--ink); }
svg text { font-family: var(--letters); }
@media (prefers-color-scheme: dark) { .tile-text.light { fill: #0d1013; } }
"""

NARROW_AND_PAPER = r"""
@media (max-width: 640px) { main, header.top, footer { padding-left: 16px; padding-right: 16px; } h2 { font-size: 25px; } }
@media print { details { display: block; } details > * { display: revert; } body { background: #fff; } }
"""

TEXT = COLOURS + PAGE + DRAWINGS + NARROW_AND_PAPER
