"""Interactive drawings: an SVG whose marks tell their name and numbers, in one piece and without a network."""

import hashlib
import re
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.report.figures import theme
from crosslevel.report.figures.marks import POINTS_PER_INCH, Mark, marks_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
.crosslevel{max-width:100%;height:auto}
.crosslevel .marks *{fill:#fff;fill-opacity:0;stroke:#E0671B;stroke-opacity:0;stroke-width:5;outline:none}
.crosslevel .marks circle,.crosslevel .marks polygon{pointer-events:all}
.crosslevel .marks polyline{fill:none;pointer-events:stroke}
.crosslevel:not([data-ready]) .marks :hover,.crosslevel .marks .on{stroke-opacity:1;stroke-width:2}
.crosslevel .marks .same{stroke-opacity:.65;stroke-width:1.6}
.crosslevel .told{pointer-events:none;font:8.5px system-ui,sans-serif}
.crosslevel .told rect{fill:#fff;stroke:#6f7886;stroke-width:.7}
.crosslevel .told text{fill:#222833;stroke:none}
@media print{.crosslevel .told{display:none}}
"""
"""Looks of the marks: unseen until they are pointed at."""

SCRIPT = """
(() => {
const SVG = 'http://www.w3.org/2000/svg', REACH = 9, book = window.crosslevelMarks ||= new Map();
for (const svg of document.querySelectorAll('svg.crosslevel:not([data-ready])')) {
  svg.dataset.ready = '';
  const marks = [...svg.querySelectorAll('.marks *:not(title)')];
  if (!marks.length) continue;
  const texts = new Map(), lines = [];
  let shown = null, box = null;
  for (const mark of marks) {
    const title = mark.firstElementChild, text = title.textContent, name = text.split('\\n')[0];
    title.remove();
    texts.set(mark, text);
    mark.setAttribute('role', 'img');
    mark.setAttribute('aria-label', text.replaceAll('\\n', ', '));
    mark.setAttribute('tabindex', mark === marks[0] ? '0' : '-1');
    if (!book.has(name)) book.set(name, []);
    book.get(name).push(mark);
    if (mark.tagName === 'circle') lines.push([mark, [[+mark.getAttribute('cx'), +mark.getAttribute('cy')]]]);
    if (mark.tagName === 'polyline') lines.push([mark, [...mark.points].map(point => [point.x, point.y])]);
  }
  const twins = mark => book.get(texts.get(mark).split('\\n')[0]);
  const hide = () => {
    if (!shown) return;
    for (const twin of twins(shown)) twin.classList.remove('on', 'same');
    box.remove();
    shown = box = null;
  };
  const show = mark => {
    if (mark === shown) return;
    hide();
    if (!mark) return;
    shown = mark;
    for (const twin of twins(mark)) twin.classList.add(twin === mark ? 'on' : 'same');
    box = svg.appendChild(document.createElementNS(SVG, 'g'));
    box.setAttribute('class', 'told');
    const back = box.appendChild(document.createElementNS(SVG, 'rect'));
    const words = box.appendChild(document.createElementNS(SVG, 'text'));
    texts.get(mark).split('\\n').forEach((line, k) => {
      const part = words.appendChild(document.createElementNS(SVG, 'tspan'));
      part.textContent = line;
      part.setAttribute('x', 0);
      part.setAttribute('dy', k ? 11 : 0);
      if (!k) part.setAttribute('font-weight', 'bold');
    });
    const size = words.getBBox(), page = svg.viewBox.baseVal, at = mark.getBBox();
    back.setAttribute('x', size.x - 5);
    back.setAttribute('y', size.y - 3);
    back.setAttribute('width', size.width + 10);
    back.setAttribute('height', size.height + 6);
    back.setAttribute('rx', 2);
    const right = at.x + at.width + 12, left = at.x - 12 - size.width;
    const beside = right + size.width + 8 < page.width ? right : left > 8 ? left : page.width - size.width - 8;
    const middle = at.y + at.height / 2 - size.height / 2;
    const top = Math.min(Math.max(middle, 6), page.height - size.height - 6);
    box.setAttribute('transform', `translate(${Math.max(beside, 8) - size.x},${top - size.y})`);
  };
  const nearest = event => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = event.target.tagName === 'polygon' && texts.has(event.target) ? event.target : null, least = REACH;
    for (const [mark, points] of lines) points.forEach(([x, y], k) => {
      const [u, v] = points[k + 1] || [x, y], run = u - x, rise = v - y, length = run * run + rise * rise;
      const along = length ? Math.min(Math.max(((place.x - x) * run + (place.y - y) * rise) / length, 0), 1) : 0;
      const far = Math.hypot(x + along * run - place.x, y + along * rise - place.y);
      if (far < least) [least, best] = [far, mark];
    });
    return best;
  };
  svg.addEventListener('pointermove', event => show(nearest(event)));
  svg.addEventListener('pointerdown', event => show(nearest(event)));
  svg.addEventListener('pointerleave', hide);
  svg.addEventListener('focusin', event => texts.has(event.target) && show(event.target));
  svg.addEventListener('focusout', hide);
  svg.addEventListener('keydown', event => {
    const k = marks.indexOf(event.target), steps = { ArrowRight: k + 1, ArrowDown: k + 1, ArrowLeft: k - 1,
      ArrowUp: k - 1, Home: 0, End: marks.length - 1 };
    if (event.key === 'Escape') hide();
    if (k < 0 || !(event.key in steps)) return;
    event.preventDefault();
    const next = marks[Math.min(Math.max(steps[event.key], 0), marks.length - 1)];
    marks[k].setAttribute('tabindex', '-1');
    next.setAttribute('tabindex', '0');
    next.focus();
  });
}
})();
"""
"""Shows what the mark next to the pointer, or with the focus, says; arrows go from mark to mark."""


class Drawing(str):
    """An interactive drawing: a text that a notebook shows as what it draws."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """The drawing itself."""
        return str(self)


def interactive(figure: "Figure", *, script: bool = True) -> str:
    """Draw a figure as an SVG for HTML pages whose marks tell their name and numbers.

    Point at a mark, or go to it with the tabulator and arrow keys. All is in this one piece; nothing is loaded.
    Where scripts do not run, browsers show the same words as titles. A cluster that is pointed at is highlighted in
    all figures of the page.

    Parameters
    ----------
    figure : a figure of `crosslevel.plot`, or any whose artists were marked by `theme.mark`.
    script : whether the style and script are inside; a page with many drawings needs them once.

    Returns
    -------
    drawing : `<svg …>…</svg>`, the same every time; file it as .svg, or put it inside a page.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> drawing = interactive(cl.plot.caterpillar(fit))
    >>> drawing.count("<circle"), "<title>337" in drawing
    (18, True)
    """
    data = theme.svg(figure).decode("utf-8")
    before = figure.dpi
    figure.dpi = POINTS_PER_INCH
    try:
        marks = marks_of(figure)
    finally:
        figure.dpi = before
    inside = re.sub(r"<metadata>.*?</metadata>", "", data[data.index("<svg") : data.rindex("</svg>")], flags=re.S)
    # a style inside a page is the whole page's
    inside = inside.replace("*{stroke-linejoin", ".crosslevel *{stroke-linejoin")
    key = f"c{hashlib.sha256(data.encode()).hexdigest()[:8]}"
    words = " ".join(text.get_text() for text in figure.texts[:2])
    head = f'<svg class="crosslevel" role="group" aria-label="{clean(words)}"'
    parts = [head, own_names(inside, key).removeprefix("<svg"), *overlay(marks, key)]
    parts += [extras()] if script and marks else []
    return Drawing("".join([*parts, "</svg>"]))


def extras() -> str:
    """Style and script of interactive drawings, for a page that holds several: once, at its end."""
    # the comments hide the marks of CDATA from HTML, and CDATA hides "<" from XML
    return f"<style>{STYLE}</style><script>//<![CDATA[{SCRIPT}//]]></script>"


def own_names(drawing: str, key: str) -> str:
    """A drawing whose names begin with `key`, so that those of several drawings in a page stay apart."""
    found = set(re.findall(r'\bid="([^"]+)"', drawing))

    def renamed(match: "re.Match[str]") -> str:
        return f"{match[1]}{key}-{match[2]}{match[3]}" if match[2] in found else match[0]

    return re.sub(r'(\bid="|href="#|url\(#)([^")]+)("|\))', renamed, drawing)


def overlay(marks: list[Mark], key: str) -> list[str]:
    """The marks as unseen shapes over the drawing, those of a panel together and within it."""
    parts: list[str] = []
    frames = list(dict.fromkeys(mark.frame for mark in marks))
    for k, frame in enumerate(frames):
        left, top, width, height = (round(value, 1) for value in frame)
        inside = [mark for mark in marks if mark.frame == frame]
        lines = any(len(mark.outline) > 1 for mark in inside)
        clip = f' clip-path="url(#{key}-panel{k})"' if lines else ""
        if lines:
            area = f'<rect x="{left}" y="{top}" width="{width}" height="{height}"/>'
            parts.append(f'<clipPath id="{key}-panel{k}">{area}</clipPath>')
        # hidden by attributes too: not every reader of SVG knows styles
        parts.append(f'<g class="marks" fill="none" stroke="none"{clip}>')
        parts.extend(shape(mark) for mark in inside)
        parts.append("</g>")
    return parts


def shape(mark: Mark) -> str:
    """One mark with its words."""
    title = f"<title>{clean(mark.label)}</title>"
    places = np.round(mark.outline, 1)
    if len(places) == 1:
        x, y = places[0]
        return f'<circle cx="{x:g}" cy="{y:g}" r="{max(mark.radius, 2.0) + 1.0:.1f}">{title}</circle>'
    kind = "polygon" if mark.closed else "polyline"
    return f'<{kind} points="{" ".join(f"{x:g},{y:g}" for x, y in places)}">{title}</{kind}>'


def clean(text: str) -> str:
    """Text that XML can hold."""
    return escape(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "", text))
