"""One self-contained HTML page of words, tables and figures; light and dark; nothing fetched from anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from importlib.util import find_spec
from typing import Any

from crossmargin.apps.figures import Spec
from crossmargin.errors import MissingExtra

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --dim: #5c5c5c; --page: #ffffff; --line: #dddddd; --card: #f7f7f5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececec; --dim: #a8a8a8; --page: #16181b; --line: #34383d; --card: #1e2125; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto;
       max-width: 68rem; padding: 1rem 1.25rem 4rem; }
h1 { font-size: 1.5rem; margin-bottom: .25rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p.lead { font-size: 1.15rem; background: var(--card); border-left: 4px solid #0072B2; padding: .75rem 1rem; }
p.lead.warning { border-color: #E69F00; } p.lead.liquidation { border-color: #D55E00; }
p.dim, footer { color: var(--dim); } nav a { margin-right: 1rem; white-space: nowrap; }
.scroll { overflow-x: auto; margin: .5rem 0 1.25rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; white-space: nowrap;
         border-bottom: 1px solid var(--line); }
caption { text-align: left; font-weight: 600; padding-bottom: .25rem; }
th { color: var(--dim); font-weight: 500; vertical-align: bottom; } th:first-child, td:first-child { text-align: left; }
td.words, th.words { text-align: left; white-space: normal; } summary { cursor: pointer; color: var(--dim); }
a { color: inherit; } .figure { width: 100%; }
"""

_SCRIPT = """
const dark = window.matchMedia('(prefers-color-scheme: dark)');
function colours() {
  const ink = getComputedStyle(document.body).color, grid = dark.matches ? '#34383d' : '#e3e3e3';
  const axes = {};
  for (const a of ['xaxis', 'yaxis']) { axes[a + '.gridcolor'] = grid; axes[a + '.linecolor'] = grid; }
  return {...axes, 'font.color': ink};
}
for (const place of document.querySelectorAll('.figure')) {
  const spec = JSON.parse(document.getElementById(place.dataset.spec).textContent);
  Plotly.newPlot(place, spec.data, spec.layout, {responsive: true, displayModeBar: false})
    .then(() => Plotly.relayout(place, colours()));
}
dark.addEventListener('change', () => {
  for (const place of document.querySelectorAll('.figure')) Plotly.relayout(place, colours());
});
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of ready texts; columns named in ``words`` are left-aligned and may wrap."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[str] = frozenset()
    title: str = ""
    """What tells it from the other tables of its section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question: its title, an answer in words, figures, and tables."""

    title: str
    text: str = ""
    figures: Sequence[Spec] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    folded: bool = field(default=False)
    """Whether the tables start folded: the twin of a figure."""


def plotly_script() -> str:
    """The charting library as text, from the installed ``plotly``; raises :class:`MissingExtra` without it."""
    if find_spec("plotly") is None:
        raise MissingExtra("plotly", "is not installed; the page embeds its charts: pip install 'crossmargin[plot]'")
    return resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text("utf-8")


def render(*, title: str, status: str, lead: str, sub: str, sections: Sequence[Section], foot: str, script: str) -> str:
    """The page as text. Every text is escaped; figures are data in the page, drawn by the embedded ``script``."""
    names = [f"s{index}" for index in range(len(sections))]
    menu = " ".join(f'<a href="#{n}">{escape(s.title)}</a>' for n, s in zip(names, sections, strict=True))
    body = "\n".join(_section(name, section) for name, section in zip(names, sections, strict=True))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f'<p class="dim">{escape(sub)}</p>\n<p class="lead {escape(status)}">{escape(lead)}</p>\n<nav>{menu}</nav>\n'
        f"{body}\n<footer><p>{escape(foot)}</p></footer>\n<script>{script}</script>\n<script>{_SCRIPT}</script>\n"
        "</body></html>\n"
    )


def _section(name: str, section: Section) -> str:
    parts = [f'<section id="{name}"><h2>{escape(section.title)}</h2>']
    if section.text:
        parts.append(f"<p>{escape(section.text)}</p>")
    for index, spec in enumerate(section.figures):
        data = f"{name}-{index}"
        # a closing tag inside the data would end the element
        text = json.dumps(spec, allow_nan=False).replace("</", "<\\/")
        parts.append(f'<script type="application/json" id="{data}">{text}</script>')
        parts.append(f'<div class="figure" data-spec="{data}"></div>')
    tables = "\n".join(table_html(table) for table in section.tables)
    if tables and section.folded:
        tables = f"<details><summary>as a table</summary>{tables}</details>"
    notes = "".join(f'<p class="dim">{escape(note)}</p>' for note in section.notes)
    return "\n".join([*parts, tables, notes, "</section>"])


def table_html(table: Table) -> str:
    """A table as HTML, every text escaped."""

    def row(tag: str, cells: Sequence[Any]) -> str:
        marks = [' class="words"' if column in table.words else "" for column in table.columns]
        return (
            "<tr>" + "".join(f"<{tag}{m}>{escape(str(c))}</{tag}>" for m, c in zip(marks, cells, strict=True)) + "</tr>"
        )

    head = row("th", [column.replace("_", " ") for column in table.columns])
    name = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    return f'<div class="scroll"><table>{name}{head}{"".join(row("td", cells) for cells in table.rows)}</table></div>'
