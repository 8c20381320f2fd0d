"""The market moves: scenarios, maps, worst cases, the nearest liquidating move, slopes, as sections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossmargin.analytics.barrier import LiquidationProbability, NearestChance
from crossmargin.analytics.box import WorstInBox
from crossmargin.analytics.reverse_stress import ReverseStress
from crossmargin.analytics.sensitivity import Sensitivity
from crossmargin.analytics.stress import Depeg, HeatMap, Outcome, SafetyBuffer, WorstCase
from crossmargin.apps import figures
from crossmargin.apps.page import Section, Table
from crossmargin.apps.tables import percent, shown
from crossmargin.apps.views.columns import amount, moved, table
from crossmargin.model.report import Crossing


def outcomes(rows: Sequence[Outcome]) -> Section:
    """If the market moves."""
    names = [row.scenario for row in rows]
    unit = rows[0].currency if rows else ""
    return Section(
        title="If the market moves",
        figures=[figures.bars("Headroom after each scenario", names, [figures.number(r.headroom) for r in rows], unit)],
        tables=[
            table(
                rows, "scenario", "equity", "change:equity_change", "headroom", "status",
                ("breaks_first", lambda row: row.breaks_first or "-"),
                ("breaks_after", lambda row: "-" if row.breaks_at is None else percent(row.breaks_at)),
                words="breaks_first",
            )
        ],
    )  # fmt: skip


def heat_map(found: HeatMap) -> Section:
    """Headroom as two coins move."""
    drawn = figures.grid(
        f"Headroom if {found.coin_x} and {found.coin_y} move",
        (found.coin_x, [float(move) for move in found.moves_x]),
        (found.coin_y, [float(move) for move in found.moves_y]),
        [[figures.number(value) for value in row] for row in found.headroom],
        found.currency,
    )
    twin = Table(
        columns=(f"{found.coin_y} down, {found.coin_x} across", *(f"{move:+.0%}" for move in found.moves_x)),
        rows=[[f"{y:+.0%}", *map(amount, row)] for y, row in zip(found.moves_y, found.headroom, strict=True)],
    )
    return Section(title=f"If {found.coin_x} and {found.coin_y} move", figures=[drawn], tables=[twin], folded=True)


def worst_case(found: WorstCase) -> Section:
    """The market against the most leveraged position."""
    return Section(
        title="The market against the most leveraged position",
        text=" ".join([f"The most leveraged position is {found.symbol}, at {shown(found.leverage)} x.", *found.notes]),
        figures=[
            figures.bars(
                "Headroom as the whole market moves against it",
                [moved(row.move) for row in found.losses],
                [figures.number(row.headroom) for row in found.losses],
                found.currency,
            )
        ],
        tables=[table(found.losses, "move", "equity", "equity_lost", "headroom", "status")],
    )


def safety_buffer(found: SafetyBuffer) -> Section:
    """How far until a pool breaks."""
    rows = [*found.common, *found.single]
    known = [row for row in rows if row.move is not None]
    return Section(
        title="How far until a pool breaks",
        figures=[
            figures.bars(
                "The move that breaks a pool",
                [f"{row.direction} {row.side}" for row in known],
                [figures.number(row.move) for row in known],
                "move of the price",
                percent=True,
            )
        ],
        tables=[
            table(
                rows, "move_of:direction", "side",
                ("by", lambda row: moved(row.move) if row.kind == "price" else row.reason or row.kind),
                ("equity_left", lambda row: "-" if row.equity_left is None else amount(row.equity_left)),
                ("pool", lambda row: row.pool or "-"), words="pool",
            )
        ],
    )  # fmt: skip


def depegs(rows: Sequence[Depeg]) -> Section:
    """If an asset loses its price on this venue alone."""
    return Section(
        title="If an asset loses its price on this venue alone",
        tables=[table(rows, "asset", "pool", "index_price", "value_share", "below", "above", words="pool")],
    )


def worst_in_box(found: WorstInBox) -> Section:
    """The worst within bounds."""

    def where(row: Any) -> str:
        return ", ".join(f"{coin} {percent(move)}" for coin, move in row.moves.items() if move)

    safe = "Safe anywhere within the bounds." if found.safe else "Not safe everywhere within the bounds."
    return Section(
        title="The worst within bounds",
        text=" ".join([safe, *found.notes]),
        tables=[
            table(found.pools, "pool", ("worst_at", where), "headroom", "status", "bound", "gap", words="worst_at")
        ],
    )


def killing_move(
    found: ReverseStress, shock: Crossing | None = None, chance: NearestChance | None = None, basis: str = ""
) -> Section:
    """Which plausible move kills it first; beside it a common shock, and the chance by horizon."""
    title = "Which plausible move kills it first"
    if found.kind != "move":
        stands = {"already": "Liquidatable as it stands.", "never": f"{found.words}."}
        return Section(title=title, text=" ".join([stands.get(found.kind, f"Unknown: {found.words}."), basis]))
    proof = "no nearer move does" if found.proved else f"none nearer than {found.certified_bound:.4g} does"
    words = f"{found.words}: {found.distance:.4g} standard deviations of one day, proved that {proof}."
    common = "" if shock is None or shock.distance is None else f" All coins alike: {shock.distance:+.1%}."
    drawn = [figures.killing_move(found, shock)]
    tables = [
        Table(
            columns=("coin", "the_most_plausible_move", "all_coins_alike"),
            rows=[
                [coin, percent(move), "-" if shock is None or shock.distance is None else percent(shock.distance)]
                for coin, move in found.moves.items()
            ],
        )
    ]
    if chance is not None:
        drawn.append(figures.chances([float(day) for day in chance.days], [float(p) for p in chance.probability]))
        rows = zip(chance.days, chance.probability, strict=True)
        tables.append(
            Table(columns=("days", "chance_of_touching_it"), rows=[[shown(day), percent(p)] for day, p in rows])
        )
    notes = " ".join(f"{note}." for note in found.notes)
    return Section(
        title=title, text=f"{words}{common} {basis} {notes}".strip(), figures=drawn, tables=tables, folded=True
    )


def probability(found: LiquidationProbability) -> Section:
    """How likely liquidation is within a horizon."""
    return Section(
        title="How likely liquidation is within a horizon",
        text=" ".join(found.notes),
        tables=[table([found], "horizon_days", "probability", "low", "high", "nearest", "method")],
    )


def sensitivity(found: Sensitivity) -> Section:
    """What moves it."""
    return Section(
        title="What moves it",
        text=" ".join(found.notes),
        figures=figures.tornado(found),
        tables=[
            table(found.slopes, "input:name", "kind", "pool", "now", "slope_up:up", "slope_down:down", "step",
                  "moves_it_by:adverse", words="kind pool"),
            *([table(found.thresholds, "threshold_of:symbol", "side", "input:name", "kind", "price", "up", "down",
                     words="kind", title="How each threshold moves")] if found.thresholds else []),
        ],
        folded=True,
    )  # fmt: skip
