"""The style of HTML: one sheet for fragments (scoped), and what a page of its own adds."""

FRAGMENT = """
.crosslevel { line-height: 1.5; max-width: 52rem; text-align: left; }
.crosslevel h1, .crosslevel h2, .crosslevel h3, .crosslevel h4 { line-height: 1.25; margin: 1.6em 0 .5em; }
.crosslevel > :first-child { margin-top: 0; }
.crosslevel p { margin: .6em 0; }
.crosslevel ul { margin: .6em 0; padding-left: 1.3em; }
.crosslevel li { margin: .25em 0; }
.crosslevel .scroll { overflow-x: auto; margin: 1em 0; }
.crosslevel table { border-collapse: collapse; border: 0; margin: 0; font-size: .93em;
  border-bottom: 1.5px solid currentColor; font-variant-numeric: tabular-nums lining-nums; }
.crosslevel caption { caption-side: top; text-align: left; font-weight: 600; padding: 0 0 .4em; color: inherit; }
.crosslevel table:not(:has(thead)) { border-top: 1.5px solid currentColor; }
.crosslevel tr, .crosslevel thead, .crosslevel tbody { background: none !important; border: 0; }
.crosslevel th, .crosslevel td { padding: .22em .8em; border: 0; text-align: left; vertical-align: top;
  font-weight: 400; white-space: normal; color: inherit; }
.crosslevel thead th, .crosslevel thead td {
  border-top: 1.5px solid currentColor; border-bottom: 1px solid currentColor; font-weight: 600;
  vertical-align: bottom; }
.crosslevel .n { text-align: right; white-space: nowrap; }
.crosslevel tbody th[scope=row] { min-width: 9rem; overflow-wrap: anywhere; }
.crosslevel tbody th[scope=rowgroup] { font-weight: 600; padding-top: .7em; }
.crosslevel tbody.indent th[scope=row] { padding-left: 1.8em; }
.crosslevel .below { font-size: .85em; margin: .35em 0; opacity: .85; }
.crosslevel .note { border-left: 4px solid #2f6db5; padding: .45em .9em; margin: 1em 0;
  background: rgba(47,109,181,.09); }
.crosslevel .note.warning { border-color: #c25e00; background: rgba(194,94,0,.10); }
.crosslevel .equations { margin: 1em 0; }
.crosslevel .equations p { margin: .25em 0; padding-left: 3em; text-indent: -2em;
  font-family: Cambria, "STIX Two Text", "Latin Modern Math", Georgia, serif; }
.crosslevel .equations p.name { font-family: inherit;
  padding: 0; text-indent: 0; font-weight: 600; margin-bottom: .4em; }
.crosslevel pre { overflow-x: auto; margin: 1em 0; padding: .7em .9em; font-size: .85em; line-height: 1.4;
  background: rgba(120,130,145,.12); border-radius: 4px; }
.crosslevel sub { font-size: .72em; line-height: 0; }
.crosslevel figure { margin: 1.4em 0; }
.crosslevel figure img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; display: block; }
.crosslevel figcaption { font-size: .88em; margin-top: .5em; max-width: 46rem; }
.crosslevel figure.live > div { background: #fff; border-radius: 4px; }
.crosslevel figure.live svg { display: block; width: 100%; height: auto; }
.crosslevel dl.facts { display: flex; flex-wrap: wrap; gap: .6rem 2.4rem; margin: 1.1em 0 1.3em; }
.crosslevel dl.facts div { display: flex; flex-direction: column-reverse; }
.crosslevel dl.facts dt { font-size: .85em; opacity: .85; }
.crosslevel dl.facts dd { margin: 0; font-size: 1.3em; font-weight: 600; line-height: 1.25;
  font-variant-numeric: tabular-nums lining-nums; }
.crosslevel details { margin: .9em 0; }
.crosslevel summary { cursor: pointer; font-weight: 600; padding: .25em 0; }
"""

PAGE = """
:root { color-scheme: light dark; --ink: #1d2430; --paper: #ffffff; --quiet: #5a6475;
  --line: #d9dee6; --link: #1f5fa8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e5e9f0; --paper: #14181f; --quiet: #a2acbb; --line: #343c49; --link: #8ab8ef; }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
main { max-width: 58rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
.crosslevel { max-width: none; }
.crosslevel p, .crosslevel ul, .crosslevel .note { max-width: 46rem; }
.crosslevel .equations p { max-width: none; }
h1 { font-size: 1.9rem; letter-spacing: -.01em; text-wrap: balance; }
h2 { font-size: 1.35rem; border-top: 1px solid var(--line); padding-top: 1.1em; }
h3 { font-size: 1.08rem; }
h2[id], h3[id] { scroll-margin-top: 1rem; }
a { color: var(--link); }
nav { border: 1px solid var(--line); border-radius: 6px; padding: .8em 1.2em; margin: 1.2em 0 2em; max-width: 46rem; }
nav ol { margin: .3em 0 0; padding-left: 1.3em; }
nav strong { font-size: .9em; }
details { border: 1px solid var(--line); border-radius: 6px; padding: .35em 1em; }
.crosslevel .below, figcaption, .crosslevel dl.facts dt { color: var(--quiet); opacity: 1; }
@media screen and (min-width: 84rem) {
  main { max-width: 76rem; }
  .crosslevel.contents { display: grid; grid-template-columns: 14rem minmax(0, 56rem); column-gap: 3rem; }
  .crosslevel.contents > h1, .crosslevel.contents > .body { grid-column: 2; min-width: 0; }
  .crosslevel.contents > nav { grid-column: 1; grid-row: 1 / span 2; align-self: start; position: sticky;
    top: 2rem; margin: .4rem 0 0; border: 0; padding: 0; font-size: .92rem; }
  nav ol { list-style: none; padding: 0; }
  nav li { margin: .35em 0; }
  nav a { text-decoration: none; }
  nav a:hover { text-decoration: underline; }
}
@media print {
  :root { --ink: #000; --paper: #fff; --quiet: #333; --line: #999; --link: #000; color-scheme: light; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  h1 { font-size: 17pt; }
  h2 { font-size: 13pt; }
  h3 { font-size: 11pt; }
  nav { display: none; }
  a { text-decoration: none; }
  .crosslevel p, .crosslevel ul, .crosslevel .note, figcaption { max-width: none; }
  .crosslevel .scroll { overflow: visible; }
  .crosslevel pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  .crosslevel details { border: 0; padding: 0; }
  .crosslevel details::details-content { content-visibility: visible; display: block; block-size: auto; }
  .crosslevel summary { list-style: none; }
  figure img, figure.live > div { max-width: 13cm !important; }
  h1, h2, h3, h4, summary, caption, .name { break-after: avoid; }
  figure, tr, .scroll, .note, .equations, dl.facts { break-inside: avoid; }
  p, li { orphans: 3; widows: 3; }
  @page { margin: 18mm 16mm; }
}
"""
