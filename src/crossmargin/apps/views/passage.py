"""What becomes of accounts: through a history, and through the liquidations of others, as sections."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from crossmargin.analytics.replay import Liquidation, Run
from crossmargin.analytics.systemic import Round, Systemic
from crossmargin.apps import figures
from crossmargin.apps.page import Section, Table
from crossmargin.apps.tables import percent, shown
from crossmargin.apps.views.columns import Column, table

_COINS = 6
"""Coins that are named in a row and drawn: those of which most was traded."""


def named(run: Run) -> str:
    """What tells one run from the others."""
    return f"{run.profile}, {run.mode.replace('_', ' ')}"


def replay(runs: Sequence[Run]) -> Section:
    """What became of it in this history."""
    broken = [run for run in runs if run.liquidated is not None]
    unknown = [run for run in runs if run.reasons]
    words = [f"{named(run)}: the venue stepped in first at {run.liquidated:%Y-%m-%d %H:%M} UTC." for run in broken]
    words += [f"{named(run)}: not known. {' '.join(run.reasons)}" for run in unknown]
    return Section(
        title="Through the history",
        text=" ".join(words) or "Never liquidated at these prices.",
        figures=figures.through_time([run for run in runs if run.points]),
        tables=[_runs(runs), *([_events(runs)] if any(run.liquidations for run in runs) else [])],
        notes=[f"{named(run)}: {note}" for run in runs for note in run.notes],
    )


def _runs(runs: Sequence[Run]) -> Table:
    def rounded(value: float | None) -> str:
        return "unknown" if value is None else f"{value:,.2f}"

    return table(
        runs,
        ("rules and mode", named),
        "in:currency",
        ("equity at start", lambda run: rounded(run.equity_start)),
        ("at end", lambda run: rounded(run.equity_end)),
        ("lowest headroom", lambda run: rounded(run.lowest_headroom)),
        ("most initial margin", lambda run: rounded(run.capital_used)),
        ("funding paid", lambda run: ", ".join(f"{shown(v)} {k}" for k, v in run.funding_paid.items()) or "none"),
        ("liquidated", lambda run: run.liquidated or ("unknown" if run.reasons else "never")),
        words="in",
    )


def _events(runs: Sequence[Run]) -> Table:
    rows = [(named(run), event) for run in runs for event in run.liquidations]

    def of(name: str) -> Column:
        return name, lambda row: getattr(row[1], name)

    def marks(row: tuple[str, Liquidation]) -> str:
        return ", ".join(f"{symbol} {shown(price)}" for symbol, price in row[1].marks.items())

    return table(
        rows,
        ("rules and mode", lambda row: row[0]),
        ("when", lambda row: row[1].time),
        *(of(name) for name in ("moment", "pool")),
        ("at", marks),
        ("steps", lambda row: ", ".join(dict.fromkeys(step.step for step in row[1].steps))),
        *(of(name) for name in ("equity_before", "equity_after", "currency")),
        words="moment pool at steps currency",
    )


def systemic(found: Systemic) -> Section:
    """Who falls when the liquidations of some move the prices of all."""
    end = "" if found.settled else " The rounds ran out before the market came to rest."
    coins = traded_most(found)
    return Section(
        title="Through the liquidations of others",
        text=f"{found.by_shock} of {found.accounts} accounts break by the shock, {found.by_others} more by the "
        f"liquidations of others, in {len(found.rounds)} rounds.{end}",
        figures=figures.rounds(found, coins[:_COINS]),
        tables=[_prices(found, coins), _rounds(found.rounds, coins[:_COINS]),
                table(found.bills, "in:currency", "realized_pnl", "fee", "insurance_fund", "deleveraged",
                      "socialized_loss", title="What it cost, by currency")],
        notes=[*(f"left out: {name}: {why}" for name, why in found.left_out), *found.notes],
    )  # fmt: skip


def traded_most(found: Systemic) -> list[str]:
    """The coins that moved or were traded, those first of which most was."""
    zero = Decimal(0)
    traded = {coin: found.bought.get(coin, zero) - found.sold.get(coin, zero) for coin in found.moves}
    return sorted((coin for coin in traded if traded[coin] or found.shock.get(coin)), key=lambda coin: -traded[coin])


def _prices(found: Systemic, coins: Sequence[str]) -> Table:
    zero = Decimal(0)
    return table(
        coins,
        ("coin", str),
        ("shock", lambda coin: percent(found.shock.get(coin, zero))),
        ("in the end", lambda coin: percent(found.moves[coin])),
        ("amplified", lambda coin: "-" if (more := found.amplification[coin]) is None else f"{more:.2f} x"),
        ("sold", lambda coin: shown(-found.sold.get(coin, zero))),
        ("bought", lambda coin: shown(found.bought.get(coin, zero))),
    )


def _rounds(rows: Sequence[Round], coins: Sequence[str]) -> Table:
    return table(
        rows,
        ("round", lambda row: str(row.number)),
        ("prices", lambda row: ", ".join(f"{coin} {percent(row.moves[coin])}" for coin in coins)),
        ("broken", lambda row: str(row.broken)),
        ("new", lambda row: str(row.new)),
        (
            "net bought (sold)",
            lambda row: ", ".join(f"{coin} {shown(row.forced[coin])}" for coin in coins if coin in row.forced),
        ),
    )
