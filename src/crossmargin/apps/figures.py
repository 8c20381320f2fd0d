"""Every figure, built once: Plotly specifications that notebook, HTML report and dashboard show alike.

A figure is a plain dictionary ``{"data": [...], "layout": {...}}``, so that building one imports nothing;
:func:`to_plotly` makes the Plotly object. Colours are the Okabe-Ito set, told apart by people who do not see red and
green; text and grid colours are left to the page, light or dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from crossmargin.analytics.curve import Curve
from crossmargin.model.report import Line, PoolReport

Spec = dict[str, Any]

BLUE, ORANGE, GREEN, RED, SKY, PINK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"


def to_plotly(spec: Spec) -> Any:
    """The figure as a ``plotly.graph_objects.Figure`` (needs the ``plot`` extra)."""
    from plotly.graph_objects import Figure

    return Figure(spec)


def layout(title: str, x: str = "", y: str = "", **more: Any) -> Spec:
    """The common layout: a title that says what is seen, quiet axes, room for the legend."""
    base: Spec = {
        "title": {"text": title, "x": 0, "xanchor": "left", "font": {"size": 15}},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 64, "r": 16, "t": 48, "b": 48},
        "height": 340,
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.12},
        "xaxis": {"title": {"text": x}, "zeroline": False, "automargin": True},
        "yaxis": {"title": {"text": y}, "zeroline": False, "automargin": True},
    }
    for key, value in more.items():
        base[key] = {**base[key], **value} if isinstance(base.get(key), dict) and isinstance(value, dict) else value
    return base


def number(value: Decimal | None) -> float | None:
    """A figure as a coordinate; what is unknown stays a gap."""
    return None if value is None else float(value)


def equity_curve(found: Curve) -> Spec:
    """Equity against maintenance margin along one coin, with the thresholds marked."""
    shapes, notes = [], []
    for side in (found.below, found.above):
        if side.kind == "price" and side.distance is not None and found.move[0] <= side.distance <= found.move[-1]:
            at = float(side.distance)
            shapes.append(
                {
                    "type": "line",
                    "x0": at,
                    "x1": at,
                    "yref": "paper",
                    "y0": 0,
                    "y1": 1,
                    "line": {"color": RED, "dash": "dot"},
                }
            )
            notes.append(
                {"x": at, "yref": "paper", "y": 1, "text": f"{at:+.1%}", "showarrow": False, "yanchor": "bottom"}
            )
    shapes.append(
        {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": "#888", "width": 1}}
    )
    return {
        "data": [
            _line("equity", found.move, found.equity, BLUE),
            _line("maintenance margin", found.move, found.maintenance_margin, ORANGE),
        ],
        "layout": layout(
            f"{found.coin}: equity and maintenance margin of {found.pool}",
            f"move of {found.coin}",
            found.currency,
            xaxis={"tickformat": "+.0%"},
            shapes=shapes,
            annotations=notes,
        ),
    }


def _line(name: str, x: Sequence[float], y: Sequence[float], colour: str) -> Spec:
    return {"type": "scatter", "mode": "lines", "name": name, "x": list(x), "y": list(y), "line": {"color": colour}}


def waterfall(line: Line, pool: PoolReport) -> Spec:
    """From each asset's equity, less each position's maintenance margin, down to headroom."""
    parts = {part.name: part for part in line.parts}
    names, values, measures = [], [], []
    for part in parts["equity"].parts:
        names.append(part.name)
        values.append(float(part.value))
        measures.append("relative")
    names.append("equity")
    values.append(0.0)
    measures.append("total")
    kept = -float(pool.equity - pool.headroom)
    names.append("maintenance margin")
    values.append(kept)
    measures.append("relative")
    names.append("headroom")
    values.append(0.0)
    measures.append("total")
    return {
        "data": [
            {
                "type": "waterfall",
                "x": names,
                "y": values,
                "measure": measures,
                "increasing": {"marker": {"color": GREEN}},
                "decreasing": {"marker": {"color": RED}},
                "totals": {"marker": {"color": BLUE}},
                "connector": {"line": {"width": 1, "color": "#888"}},
            }
        ],
        "layout": layout(f"From balances to headroom: {pool.name}", "", pool.currency, showlegend=False),
    }


def bars(title: str, names: Sequence[str], values: Sequence[float | None], unit: str, *, percent: bool = False) -> Spec:
    """Signed horizontal bars, the first name on top; gains green, losses red."""
    colours = [GREEN if value is not None and value >= 0 else RED for value in values]
    return {
        "data": [
            {"type": "bar", "orientation": "h", "x": list(values), "y": list(names), "marker": {"color": colours}}
        ],
        "layout": layout(
            title,
            unit,
            "",
            showlegend=False,
            yaxis={"autorange": "reversed"},
            xaxis={"tickformat": "+.1%"} if percent else {},
            height=max(200, 90 + 24 * len(names)),
        ),
    }


def grid(
    title: str,
    x: tuple[str, Sequence[float]],
    y: tuple[str, Sequence[float]],
    values: Sequence[Sequence[float | None]],
    unit: str,
) -> Spec:
    """A heat map of headroom over two coins' moves; the line is where it is zero."""
    flat = [abs(value) for row in values for value in row if value is not None] or [1.0]
    limit = max(flat)
    axis: Spec = {"tickformat": "+.0%"}
    common: Spec = {"x": list(x[1]), "y": list(y[1]), "z": [list(row) for row in values]}
    return {
        "data": [
            {
                "type": "heatmap",
                **common,
                "zmin": -limit,
                "zmax": limit,
                "colorscale": [[0, RED], [0.5, "#f2f2f2"], [1, BLUE]],
                "colorbar": {"title": {"text": unit}},
            },
            {
                "type": "contour",
                **common,
                "contours": {"start": 0, "end": 0, "coloring": "lines"},
                "colorscale": [[0, "#222"], [1, "#222"]],
                "line": {"width": 2},
                "showscale": False,
                "hoverinfo": "skip",
            },
        ],
        "layout": layout(title, f"move of {x[0]}", f"move of {y[0]}", xaxis=axis, yaxis=axis, height=420),
    }
