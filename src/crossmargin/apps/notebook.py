"""Results in a notebook: tables and Plotly figures as a cell shows them, and rows as data frames.

``%load_ext crossmargin`` lets every result that ends a cell show itself; :func:`show` does it for one. Nothing here is
needed by a result: the floors below know of no notebook.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from html import escape
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from crossmargin.apps.figures import GREY, Spec, to_plotly
from crossmargin.apps.page import Section, Table, table_html
from crossmargin.apps.views import RESULTS, ROWS, view
from crossmargin.errors import MissingExtra
from crossmargin.model.report import to_plain

_STYLE = (
    "<style>.crossmargin table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    ".crossmargin th,.crossmargin td{text-align:right;white-space:nowrap;padding:.15rem .75rem .15rem 0}"
    ".crossmargin th:first-child,.crossmargin td:first-child{text-align:left}"
    ".crossmargin td.words,.crossmargin th.words{text-align:left;white-space:normal}</style>"
)
_GRID = {"gridcolor": "rgba(128,128,128,0.25)", "linecolor": "rgba(128,128,128,0.25)"}
PLOTLY = "application/vnd.plotly.v1+json"
"""The type under which Jupyter, VS Code and Colab draw a Plotly figure."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure. A notebook draws it, in colours that can be read on light and dark; ``spec`` is plain data."""

    spec: Spec

    @property
    def title(self) -> str:
        """What the figure says it shows."""
        return str(self.spec["layout"]["title"]["text"])

    def to_plotly(self) -> Any:
        """The figure as a ``plotly.graph_objects.Figure`` (needs the ``plot`` extra)."""
        return to_plotly(self.spec)

    def __repr__(self) -> str:
        return f"Plot({self.title!r})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        layout = {**self.spec["layout"], "font": {"color": GREY}}
        layout |= {axis: {**layout[axis], **_GRID} for axis in ("xaxis", "yaxis")}
        return {PLOTLY: {"data": self.spec["data"], "layout": layout}, "text/plain": repr(self)}


@dataclass(frozen=True, slots=True)
class Shown:
    """A result as a notebook shows it: its words, its figures, its tables. ``print`` gives the tables as text."""

    section: Section

    @property
    def figures(self) -> tuple[Plot, ...]:
        """The figures, to be shown or kept one by one."""
        return tuple(Plot(spec) for spec in self.section.figures)

    def __repr__(self) -> str:
        return "\n\n".join([self.section.title, *filter(None, [self.section.text]), *map(_text, self.section.tables)])

    def _repr_html_(self) -> str:
        return self._html(self._words(), *map(table_html, self.section.tables), *self._notes())

    def _ipython_display_(self) -> None:
        """What IPython calls for the last value of a cell: words, figures and tables in the order of the page."""
        display = import_module("IPython.display").display
        words = "\n\n".join(filter(None, [self.section.title, self.section.text]))
        display({"text/html": self._html(self._words()), "text/plain": words}, raw=True)
        for plot in self.figures:
            display(plot)
        tables = [table_html(table) for table in self.section.tables]
        if tables:
            text = "\n\n".join(map(_text, self.section.tables))
            display({"text/html": self._html(*tables, *self._notes()), "text/plain": text}, raw=True)

    def _words(self) -> str:
        return f"<h4>{escape(self.section.title)}</h4><p>{escape(self.section.text)}</p>"

    def _notes(self) -> Iterator[str]:
        return (f"<p>{escape(note)}</p>" for note in self.section.notes)

    def _html(self, *parts: str) -> str:
        return f'<div class="crossmargin">{_STYLE}{"".join(parts)}</div>'


def _text(table: Table) -> str:
    """A table as plain text: the first column and words to the left, figures to the right."""
    rows = [[column.replace("_", " ") for column in table.columns], *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    pads = [str.ljust if i == 0 or name in table.words else str.rjust for i, name in enumerate(table.columns)]
    lines = ["  ".join(pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def show(result: Any) -> Shown:
    """A result of any question, or a tuple of rows, as a notebook shows it.

    In a notebook it displays words, figures and tables; elsewhere ``print`` gives the tables as text, ``.figures`` the
    figures. Raises :class:`TypeError` for what is no result.
    """
    return Shown(view(result))


# rows as data frames --------------------------------------------------------------------------------------------------

Figures = Literal["text", "float", "decimal"]


def frame(rows: Iterable[Any], *, library: Literal["pandas", "polars"] = "pandas", figures: Figures = "text") -> Any:
    """Rows of a result as a pandas or polars data frame (the ``frames`` extra), one column a field.

    ``rows``: dataclasses of one kind, such as ``report.positions`` or the outcomes of a stress. A field that is itself
    a row or a mapping becomes columns with a dot (``below.price``, ``moves.BTC``); one that is a list stays as JSON.
    ``figures``: ``text`` keeps every digit as a decimal string, ``float`` is for calculating and drawing, ``decimal``
    keeps the exact objects. What is unknown is null. Raises :class:`MissingExtra` without the library,
    :class:`TypeError` for what has no rows.
    """
    table = [dict(_flat("", row, figures)) for row in rows]
    if find_spec(library) is None:
        raise MissingExtra(library, "is not installed; install it: pip install 'crossmargin[frames]'")
    columns = dict.fromkeys(key for row in table for key in row)
    # a part that one row lacks is null in the columns that the others take it apart into
    parts = {key.rpartition(".")[0] for key in columns}
    columns = {key: None for key in columns if key not in parts}
    return import_module(library).DataFrame({key: [row.get(key) for row in table] for key in columns})


def _flat(prefix: str, value: Any, figures: Figures) -> Iterator[tuple[str, Any]]:
    """The columns of one value: a row or a mapping is taken apart, everything else is one column."""
    if is_dataclass(value) and not isinstance(value, type):
        parts: Sequence[tuple[str, Any]] = [(field.name, getattr(value, field.name)) for field in fields(value)]
    elif isinstance(value, dict):
        parts = list(value.items())
    elif not prefix:
        raise TypeError(f"{type(value).__name__} is no row of a result; give a tuple such as report.positions")
    else:
        yield prefix, _cell(value, figures)
        return
    for name, part in parts:
        yield from _flat(f"{prefix}.{name}" if prefix else name, part, figures)


def _cell(value: Any, figures: Figures) -> Any:
    if isinstance(value, Decimal):
        return value if figures == "decimal" else float(value) if figures == "float" else to_plain(value)
    return json.dumps(to_plain(value), ensure_ascii=False) if isinstance(value, tuple | list) else value


# the extension --------------------------------------------------------------------------------------------------------


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext crossmargin``: every result that ends a cell shows itself as :func:`show` does."""
    for kind in (*RESULTS, *ROWS):
        shell.display_formatter.ipython_display_formatter.for_type(
            kind, lambda result: show(result)._ipython_display_()
        )
        shell.display_formatter.formatters["text/html"].for_type(kind, lambda result: show(result)._repr_html_())


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext crossmargin``: results are printed as Python prints them."""
    for kind in (*RESULTS, *ROWS):
        shell.display_formatter.ipython_display_formatter.pop(kind, None)
        shell.display_formatter.formatters["text/html"].pop(kind, None)
