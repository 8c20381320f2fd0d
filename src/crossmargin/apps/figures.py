"""Every figure, built once: Plotly specifications that notebook, HTML report and dashboard show alike.

A figure is a plain dictionary ``{"data": [...], "layout": {...}}``, so that building one imports nothing;
:func:`to_plotly` makes the Plotly object. Colours are the Okabe-Ito set, told apart by people who do not see red and
green; text and grid colours are left to the page, light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from crossmargin.analytics.allocation import FrontierPoint
from crossmargin.analytics.cascade import Cascade
from crossmargin.analytics.comparison import Comparison
from crossmargin.analytics.curve import Curve
from crossmargin.analytics.hedge import Requirement
from crossmargin.analytics.replay import Run
from crossmargin.analytics.reverse_stress import ReverseStress
from crossmargin.analytics.sensitivity import Sensitivity
from crossmargin.analytics.systemic import Systemic
from crossmargin.model.report import Crossing, Line, PoolReport, Report, Thresholds

Spec = dict[str, Any]

BLUE, ORANGE, GREEN, RED, SKY, PINK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
GREY = "#888888"
MOST_BARS = 20
"""Rows of a bar chart at most; the table beside it has them all."""
MOST_TIMES = 5
"""A bar is not drawn beside one that it would make invisible."""
MOST_WALKS = 4
"""Pools whose liquidation is drawn."""


def to_plotly(spec: Spec) -> Any:
    """The figure as a ``plotly.graph_objects.Figure`` (needs the ``plot`` extra)."""
    from plotly.graph_objects import Figure

    return Figure(spec)


_AXIS: Spec = {"zeroline": False, "automargin": True, "separatethousands": True}


def layout(title: str, x: str = "", y: str = "", **more: Any) -> Spec:
    """The common layout: a title that says what is seen, quiet axes, room for the legend."""
    base: Spec = {
        "title": {"text": title, "x": 0, "xanchor": "left", "font": {"size": 15}},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 64, "r": 16, "t": 48, "b": 48},
        "height": 340,
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"title": {"text": x}, **_AXIS},
        "yaxis": {"title": {"text": y}, **_AXIS},
    }
    for key, value in more.items():
        base[key] = {**base[key], **value} if isinstance(base.get(key), dict) and isinstance(value, dict) else value
    return base


def number(value: Decimal | None) -> float | None:
    """A figure as a coordinate; what is unknown stays a gap."""
    return None if value is None else float(value)


# where it is liquidated -----------------------------------------------------------------------------------------------


def equity_curve(found: Curve) -> Spec:
    """Equity against maintenance margin along one coin, with the thresholds marked."""
    inside = [
        float(side.distance)
        for side in (found.below, found.above)
        if side.kind == "price" and side.distance is not None and found.move[0] <= side.distance <= found.move[-1]
    ]
    return {
        "data": [
            _line("equity", found.move, found.equity, BLUE),
            _line("maintenance margin", found.move, found.maintenance_margin, ORANGE),
        ],
        "layout": layout(
            f"{found.coin}: equity and maintenance margin of {found.pool}",
            f"move of {found.coin}",
            found.currency,
            xaxis={"tickformat": "+.2~%"},
            legend={"y": 1.1},  # above the moves that are written at the thresholds
            shapes=[_upright(at, {"color": RED, "dash": "dot"}) for at in inside]
            + [_upright(0.0, {"color": GREY, "width": 1})],
            annotations=[
                {"x": at, "yref": "paper", "y": 1, "text": f"{at:+.1%}", "showarrow": False, "yanchor": "bottom"}
                for at in inside
            ],
        ),
    }


def _upright(at: float, line: Spec) -> Spec:
    return {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def distances(found: Thresholds) -> Spec:
    """How far each price may fall and rise before its pool is liquidated, the nearest on top; no bar is never.

    Prices of which no move liquidates are left to the table.
    """
    shock = found.common_shock
    rows: list[tuple[str, Crossing, Crossing]] = [(shock.direction, shock.below, shock.above)]
    several = len({row.pool for row in found.thresholds}) > 1
    rows += [(row.symbol + (f" ({row.pool})" if several else ""), row.below, row.above) for row in found.thresholds]

    def near(row: tuple[str, Crossing, Crossing]) -> float:
        return min((abs(float(side.distance)) for side in row[1:] if side.distance is not None), default=math.inf)

    rows = sorted((row for row in rows if near(row) < math.inf), key=near)[:MOST_BARS]
    names = [name for name, _, _ in rows]
    far = max((number(up.distance) or 0.0 for _, _, up in rows), default=0.0)
    reach = 1.05 * max((abs(number(end.distance) or 0.0) for _, *ends in rows for end in ends), default=1.0)
    return {
        "data": [
            _bar("falls", names, [number(down.distance) for _, down, _ in rows], RED),
            _bar("rises", names, [number(up.distance) for _, _, up in rows], SKY),
        ],
        "layout": _lying(
            # a rise has no end: what lies beyond the edge runs out of the picture and is in the table
            "How far until liquidation", "move of the price" + (", cut at +300 %" if far > 3 else ""), names,
            barmode="overlay", xaxis={"tickformat": "+.2~%", "range": [-min(reach, 1.02), min(reach, 3.0)]},
        ),
    }  # fmt: skip


def _line(name: str, x: Sequence[float], y: Sequence[float], colour: str) -> Spec:
    return {"type": "scatter", "mode": "lines", "name": name, "x": list(x), "y": list(y), "line": {"color": colour}}


def trade_off(points: Sequence[FrontierPoint]) -> Spec:
    """Cost and capital brought in against the safety asked for; levels that no plan reaches are left out."""
    reached = [point for point in points if point.objective is not None]
    levels = [float(point.level) for point in reached]
    names = {"cost": BLUE, "collateral": ORANGE}
    return {
        "data": [
            {**_line(name, levels, [number(getattr(point, name)) or 0.0 for point in reached], colour),
             "mode": "lines+markers"}
            for name, colour in names.items()
        ],
        "layout": layout("Cost and capital against safety", "buffers, times as stated", "fund's currency"),
    }  # fmt: skip


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
                "connector": {"line": {"width": 1, "color": GREY}},
                "texttemplate": "%{delta:,.2f}",
                "textposition": "outside",
                "cliponaxis": False,
            }
        ],
        "layout": layout(
            f"From balances to headroom: {pool.name}", "", pool.currency, showlegend=False, xaxis={"showgrid": False}
        ),
    }


def bars(
    title: str,
    names: Sequence[str],
    values: Sequence[float | None],
    unit: str,
    *,
    percent: bool = False,
    costs: bool = False,
) -> Spec:
    """Signed horizontal bars, the first name on top; gains green, losses red (``costs``: what is above 0 is lost)."""
    up, down = (RED, GREEN) if costs else (GREEN, RED)
    colours = [up if value is not None and value >= 0 else down for value in values]
    shape = {"tickformat": "+.1%"} if percent else {}
    return {
        "data": [_bar("", names, values, colours)],
        "layout": _lying(title, unit, names, showlegend=False, xaxis=shape),
    }


def _bar(name: str, names: Sequence[str], values: Sequence[float | None], colour: str | list[str]) -> Spec:
    marker = {"color": colour}
    return {"type": "bar", "orientation": "h", "name": name, "x": list(values), "y": list(names), "marker": marker}


def _lying(title: str, unit: str, names: Sequence[str], *, traces: int = 1, **more: Any) -> Spec:
    """The layout of horizontal bars: read from the top, as high as its rows."""
    height = max(200, 110 + (8 + 16 * traces) * len(names))
    # a category even where it reads like a number: "-5 %" is a name here
    return layout(title, unit, "", yaxis={"autorange": "reversed", "type": "category"}, height=height, **more)


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
    axis: Spec = {"tickformat": "+.2~%"}
    common: Spec = {"x": list(x[1]), "y": list(y[1]), "z": [list(row) for row in values]}
    return {
        "data": [
            {
                "type": "heatmap",
                **common,
                "zmin": -limit,
                "zmax": limit,
                "colorscale": [[0, RED], [0.5, "#f2f2f2"], [1, BLUE]],
                "colorbar": {"title": {"text": unit}, "thickness": 14},
            },
            {
                "type": "contour",
                **common,
                "contours": {"start": 0, "end": 0, "coloring": "none"},
                "line": {"width": 2, "color": "#222"},
                "name": "headroom 0",
                "showlegend": True,
                "showscale": False,
                "hoverinfo": "skip",
            },
        ],
        "layout": layout(title, f"move of {x[0]}", f"move of {y[0]}", xaxis=axis, yaxis=axis, height=420),
    }


# what moves it --------------------------------------------------------------------------------------------------------


def killing_move(found: ReverseStress, shock: Crossing | None = None) -> Spec:
    """The nearest liquidating move coin by coin, and beside it the common fall (or rise) that would be needed.

    A common move that is out of all proportion is left to the words.
    """
    rows = sorted(found.moves.items(), key=lambda pair: abs(pair[1]), reverse=True)[:MOST_BARS]
    names = [coin for coin, _ in rows]
    data = [_bar("the most plausible move", names, [float(move) for _, move in rows], RED)]
    common = None if shock is None else number(shock.distance)
    if common is not None and abs(common) <= MOST_TIMES * max((abs(float(move)) for _, move in rows), default=0.0):
        data.append(_bar("all coins alike", names, [common] * len(names), GREY))
    return {
        "data": data,
        "layout": _lying(
            f"The nearest liquidating move: {float(found.distance or 0):.3g} standard deviations of a day",
            "move of the price",
            names,
            traces=len(data),
            barmode="group",
            xaxis={"tickformat": "+.2~%"},
        ),
    }


def chances(days: Sequence[float], chance: Sequence[float]) -> Spec:
    """The chance of liquidation by horizon, as far as the nearest liquidating move alone makes it."""
    return {
        "data": [_line("chance", days, chance, RED)],
        "layout": layout(
            "The chance of touching the nearest boundary",
            "days",
            "",
            yaxis={"tickformat": ".2%", "rangemode": "tozero"},
            showlegend=False,
        ),
    }


def tornado(found: Sensitivity, move: Decimal = Decimal("0.1")) -> Sequence[Spec]:
    """For each pool the change of headroom as each coin falls or rises by ``move``, by its exact slope here."""
    drawn = []
    for pool in dict.fromkeys(row.pool for row in found.slopes):
        rows = [row for row in found.slopes if row.pool == pool and row.kind == "coin"]
        rows = sorted(rows, key=lambda row: max(abs(row.up), abs(row.down)) * row.now, reverse=True)[:MOST_BARS]
        if not rows:
            continue
        names = [row.name for row in rows]
        falls, rises = ([float(sign * move * row.now * slope) for row, slope in pairs] for sign, pairs in (
            (-1, [(row, row.down) for row in rows]), (1, [(row, row.up) for row in rows])
        ))  # fmt: skip
        data = [_bar(f"falls {move:.0%}", names, falls, RED), _bar(f"rises {move:.0%}", names, rises, SKY)]
        title = f"Headroom of {pool} as one coin moves, by its slope"
        drawn.append({"data": data, "layout": _lying(title, rows[0].currency, names, barmode="relative")})
    return drawn


# before and after -----------------------------------------------------------------------------------------------------

FIGURES = ("equity", "initial_margin", "maintenance_margin", "headroom", "free_collateral")
"""What is drawn of an account before and after a change, and of modes side by side."""


def before_after(title: str, before: Report | PoolReport | None, after: Report | PoolReport | None) -> Spec:
    """The figures of an account or a pool before and after a change; what is unknown is a gap."""
    names = [name.replace("_", " ") for name in FIGURES]
    sides = (("before", before, GREY), ("after", after, BLUE))
    data = [
        _bar(side, names, [number(getattr(report, name)) for name in FIGURES], colour)
        for side, report, colour in sides
        if report is not None
    ]
    unit = next((report.currency for _, report, _ in sides if report is not None), "")
    return {"data": data, "layout": _lying(title, unit, names, traces=len(data), barmode="group")}


def modes(found: Comparison) -> Spec:
    """The same positions under each mode: what they hold free, and what stands above liquidation."""
    rows = [row for row in found.rows if row.headroom is not None]
    several = len({(row.profile, row.rules_since) for row in rows}) > 1
    names = [row.mode.replace("_", " ") + (f", {row.profile} {row.rules_since}" if several else "") for row in rows]
    data = [
        _bar("headroom", names, [number(row.headroom) for row in rows], BLUE),
        _bar("free collateral", names, [number(row.free_collateral) for row in rows], GREEN),
    ]
    unit = next((row.currency for row in rows if row.currency), "")
    return {"data": data, "layout": _lying("The same positions, pooled differently", unit, names, traces=2)}


def needs(rows: Sequence[Requirement]) -> Spec:
    """What each position needs alone, and what it adds to the pool as the others stand; the gap is the offset."""
    chosen = sorted(rows, key=lambda row: row.stand_alone_maintenance, reverse=True)[:MOST_BARS]
    names = [row.symbol + ("" if row.position_side == "net" else f" {row.position_side}") for row in chosen]
    data = [
        _bar("alone", names, [float(row.stand_alone_maintenance) for row in chosen], GREY),
        _bar("beside the others", names, [float(row.marginal_maintenance) for row in chosen], BLUE),
        _bar("offset", names, [float(row.offset_maintenance) for row in chosen], GREEN),
    ]
    unit = ", ".join(dict.fromkeys(row.currency for row in chosen))
    return {"data": data, "layout": _lying("Maintenance margin of each position", unit, names, traces=3)}


def walk(found: Cascade) -> Sequence[Spec]:
    """Each pool that is closed, after each step: its equity, and what it has to stand above to be left alone."""
    drawn = []
    for pool in list(dict.fromkeys(step.pool for step in found.steps))[:MOST_WALKS]:
        steps = [(index, step) for index, step in enumerate(found.steps, 1) if step.pool == pool]
        names = [f"{index}. {step.step.replace('_', ' ')}" for index, step in steps]
        heights = (
            ("equity", BLUE, [float(step.equity_after) for _, step in steps]),
            ("maintenance margin", ORANGE, [float(step.equity_after - step.headroom_after) for _, step in steps]),
        )
        data = [
            {"type": "bar", "name": name, "x": names, "y": values, "marker": {"color": colour}}
            for name, colour, values in heights
        ]
        title = f"After each step of the liquidation of {pool}"
        drawn.append({"data": data, "layout": layout(
            title, "", steps[0][1].currency, barmode="group", bargap=max(0.2, 0.8 - 0.1 * len(steps)),
            xaxis={"showgrid": False},
        )})  # fmt: skip
    return drawn


def through_time(found: Sequence[Run]) -> Sequence[Spec]:
    """Equity and headroom of the first six runs at the closes of a history; a cross where the venue stepped in."""
    drawn = []
    for name in ("equity", "headroom"):
        data: list[Spec] = []
        for run, colour in zip(found, (BLUE, ORANGE, GREEN, RED, SKY, PINK), strict=False):
            times = [point.time.isoformat() for point in run.points]
            values = [getattr(point, name) for point in run.points]
            label = f"{run.profile}, {run.mode.replace('_', ' ')}"
            data.append(
                {"type": "scatter", "mode": "lines", "name": label, "x": times, "y": values, "line": {"color": colour}}
            )
            at = {event.time.isoformat() for event in run.liquidations}
            broken = [(time, value) for time, value in zip(times, values, strict=True) if time in at]
            if broken:
                marker = {"symbol": "x", "size": 9, "color": colour}
                x, y = zip(*broken, strict=True)
                named = f"{label}: liquidation"
                data.append({"type": "scatter", "mode": "markers", "name": named, "x": x, "y": y, "marker": marker})
        title = f"{name.capitalize()} through the history"
        unit = ", ".join(dict.fromkeys(run.currency for run in found))
        drawn.append({"data": data, "layout": layout(title, "", unit)})
    return drawn


def rounds(found: Systemic, coins: Sequence[str]) -> Sequence[Spec]:
    """Prices and broken accounts round by round, as liquidations push prices on to the next."""
    numbers = [row.number for row in found.rounds]
    lines = [
        _line(coin, numbers, [float(row.moves[coin]) for row in found.rounds], colour)
        for coin, colour in zip(coins, (BLUE, ORANGE, GREEN, RED, SKY, PINK), strict=False)
    ]
    counts = [
        {"type": "bar", "name": name, "x": numbers, "y": [getattr(row, field) for row in found.rounds],
         "marker": {"color": colour}}
        for name, field, colour in (("for the first time", "new", RED), ("all", "broken", SKY))
    ]  # fmt: skip
    return [
        {"data": lines, "layout": layout("Prices by round", "round", "", yaxis={"tickformat": "+.2~%"})},
        {"data": counts, "layout": layout("Accounts that break by round", "round", "accounts", barmode="group")},
    ]


def days_left(names: Sequence[str], days: Sequence[float | None]) -> Spec:
    """How many days each pool can pay, in powers of ten where they are far apart; no bar is no end."""
    known = [day for day in days if day]
    far = bool(known) and max(known) > 50 * min(known)
    axis: Spec = {"type": "log", "dtick": 1} if far else {"rangemode": "tozero"}
    data = [_bar("", names, days, BLUE)]
    return {"data": data, "layout": _lying("Days until funding ends it", "days", names, showlegend=False, xaxis=axis)}
