"""What would change if ...?

Changes are applied to a copy, in order, and the account is judged before and after. A fill counts at its own price and
against the position that results, not at the mark and not alone. After each change every line that the venue draws is
measured (:mod:`crossmargin.engine.rooms`): the change is refused where it leaves a line crossed and more so than
before. What reduces risk is always admitted, and what is refused is shown all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Literal, NamedTuple

from crossmargin.analytics.threshold import Convention, thresholds_of
from crossmargin.engine.changes import Booked, Books, book, wallet
from crossmargin.engine.pool import Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import PoolState, measure
from crossmargin.engine.reporting import report
from crossmargin.engine.rooms import bracket_rooms, removable_rooms, rooms
from crossmargin.model.account import Account
from crossmargin.model.change import Change, ChangeRules, Deposit, MovePrice, Transfer, Withdraw
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT, plain
from crossmargin.model.profile import Rules
from crossmargin.model.report import Crossing, Report, Thresholds

Verdict = Literal["accepted", "refused", "unknown"]
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change and what the venue would say to it.

    ``realized_pnl`` and ``fee`` are in ``asset``; a fee is None where no rate is known, and then it is left out of
    every figure. ``reasons``: each line that forbids the change, or what keeps the verdict unknown.
    """

    change: str
    verdict: Verdict
    reasons: tuple[str, ...]
    asset: str | None
    realized_pnl: Decimal
    fee: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """After minus before, in the report's currency; None where one of them is unknown or the currency changed."""

    equity: Decimal | None
    initial_margin: Decimal | None
    maintenance_margin: Decimal | None
    headroom: Decimal | None
    free_collateral: Decimal | None
    withdrawable: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdChange:
    """One side of one threshold before and after; None where that pool or price is not there.

    ``moved`` is the new price less the old one, None unless both are prices.
    """

    symbol: str
    pool: str
    side: Literal["below", "above"]
    before: Crossing | None
    after: Crossing | None
    moved: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The account before and after, the differences, and what the venue would refuse.

    ``verdict`` is refused where any step is, else unknown where any is. ``refused`` names each reason with its step.
    """

    verdict: Verdict
    refused: tuple[str, ...]
    steps: tuple[Step, ...]
    difference: Difference
    threshold_changes: tuple[ThresholdChange, ...]
    before: Report
    after: Report
    thresholds_before: Thresholds
    thresholds_after: Thresholds
    notes: tuple[str, ...]


# public questions -----------------------------------------------------------------------------------------------------


def whatif(
    account: Account,
    market: Market,
    rules: Rules,
    changes: Sequence[Change],
    *,
    convention: Convention = "coin",
) -> WhatIf:
    """What a list of changes, applied in order, does to equity, margins, headroom and every threshold.

    ``convention`` is that of the thresholds. Raises :class:`AccountError` for a change that names what is not there or
    would turn a position round, :class:`MarketDataError` for a price that is missing, and what
    :func:`crossmargin.evaluate` raises before or after.
    """
    start = books = Books(account, market, rules)
    steps: list[Step] = []
    with localcontext(CONTEXT):
        standing = first = Standing.of(books)
        for change in changes:
            done = book(books, change)
            following = Standing.of(done.books)
            steps.append(_step(change, done, standing, following, books))
            books, standing = done.books, following
    before, after = report(first.prepared, explain=False), report(standing.prepared, explain=False)
    found, then = (thresholds_of(s.prepared, convention=convention) for s in (first, standing))
    refused = tuple(f"{step.change}: {why}" for step in steps if step.verdict == "refused" for why in step.reasons)
    return WhatIf(
        verdict=_overall([step.verdict for step in steps]),
        refused=refused,
        steps=tuple(steps),
        difference=_difference(before, after),
        threshold_changes=tuple(_threshold_changes(found, then)),
        before=before,
        after=after,
        thresholds_before=found,
        thresholds_after=then,
        notes=tuple(_notes(steps, start.rules, before, after)),
    )


def apply_changes(
    account: Account, market: Market, rules: Rules, changes: Sequence[Change]
) -> tuple[Account, Market, Rules]:
    """The account, market and rules after a list of changes, to ask any other question of them.

    Nothing is refused here. Raises as :func:`whatif` does.
    """
    books = Books(account, market, rules)
    with localcontext(CONTEXT):
        for change in changes:
            books = book(books, change).books
    return books


# what the venue would say ---------------------------------------------------------------------------------------------


class Standing(NamedTuple):
    """An account prepared and measured at one step."""

    prepared: Prepared
    states: Mapping[str, PoolState]

    @classmethod
    def of(cls, books: Books) -> Standing:
        """Prepare and measure the books, under the context of :mod:`crossmargin.model.number`."""
        prepared = prepare(*books)
        return cls(prepared, {pool.name: measure(pool) for pool in prepared.pools})

    def lines(self, *, leaving: bool) -> dict[tuple[str, str], Decimal | None]:
        """(line, pool) -> room: every line of every pool, with ``leaving`` that of withdrawals, and every bracket."""
        found: dict[tuple[str, str], Decimal | None] = {}
        for name, state in self.states.items():
            own = {**rooms(state), **(removable_rooms(state) if leaving else {})}
            found |= {(line, name): room for line, room in own.items()}
        return found | {(_CAP, leg): room for leg, room in bracket_rooms(self.prepared).items()}


def shortfalls(before: Standing, after: Standing, *, leaving: bool = False) -> dict[str, Decimal | None]:
    """By line: room after, less what was short already before; below 0 = the change crosses it, None = unknown.

    Pools and positions that the change does not touch are left out.
    """
    was = before.lines(leaving=leaving)
    still = {name for name, state in after.states.items() if _figures(state) == _figures(before.states.get(name))}
    found: dict[str, Decimal | None] = {}
    for (line, pool), room in after.lines(leaving=leaving).items():
        earlier = was.get((line, pool), _ZERO)
        if pool in still or (line == _CAP and room == earlier):
            continue
        if line == _CAP:  # a size that its leverage does not allow is not excused by one that was not allowed before
            earlier = _ZERO
        if room is None or (earlier is None and room < 0):
            found[f"{line} of {pool}"] = None
        else:
            left = room - min(_ZERO, earlier or _ZERO)
            found[f"{line} of {pool}"] = _ZERO if abs(left) < _NOISE else left
    return found


def _figures(state: PoolState | None) -> tuple[Decimal | None, ...] | None:
    return None if state is None else (state.equity, state.maintenance, state.initial)


_NOISE = Decimal("1e-30")
"""What quotients leave behind at fifty digits, and far below one unit of any input."""
_CAP = "bracket_cap"
_MARKET = (MovePrice, ChangeRules, Deposit)
_LEAVING = (Withdraw, Transfer)


def _step(change: Change, done: Booked, before: Standing, after: Standing, books: Books) -> Step:
    reasons: list[str] = []
    verdict: Verdict = "accepted"
    if not isinstance(change, _MARKET) and not done.reducing:
        short = shortfalls(before, after, leaving=isinstance(change, _LEAVING))
        reasons = [f"{name} would be short of {plain(-left)}" for name, left in short.items() if left and left < 0]
        reasons += _beyond_wallet(change, books)
        unknown = [f"{name} is unknown" for name, left in short.items() if left is None]
        verdict = "refused" if reasons else "unknown" if unknown else "accepted"
        reasons = reasons or unknown
    return Step(
        change=describe(change),
        verdict=verdict,
        reasons=tuple(reasons),
        asset=done.asset,
        realized_pnl=done.realized_pnl,
        fee=done.fee,
    )


def _beyond_wallet(change: Change, books: Books) -> list[str]:
    """What leaves the wallet but is not in it; where the rule looks at equity alone, PnL may leave too."""
    if not isinstance(change, _LEAVING):
        return []
    asset = change.asset if isinstance(change, Withdraw) else parse_symbol(change.symbol).settle
    most = removable_wallet(books.account, books.rules, asset)
    if most is None or change.amount <= most:
        return []
    return [f"the wallet has {plain(most)} {asset} that may leave"]


def removable_wallet(account: Account, rules: Rules, asset: str) -> Decimal | None:
    """Own money in the wallet that is not locked, in units of the asset; None where the rule sets no such limit."""
    rule = rules.slots.withdrawal
    if rule is None or rule.kind != "available":
        return None
    balance = account.balances.get(asset)
    return max(_ZERO, wallet(account, asset) - (balance.locked if balance else _ZERO))


def _overall(verdicts: Sequence[Verdict]) -> Verdict:
    ranked: tuple[Verdict, ...] = ("refused", "unknown", "accepted")
    return next((verdict for verdict in ranked if verdict in verdicts), "accepted")


def describe(change: Change) -> str:
    """A change in words, ``order symbol BTC/USDT:USDT, quantity 0.5``: its kind and what it states."""
    if isinstance(change, ChangeRules):
        return f"{change.kind} {change.rules.profile} of {change.rules.since}"
    stated = change.model_dump(exclude_defaults=True)
    words = [f"{key} {plain(value) if isinstance(value, Decimal) else value}" for key, value in stated.items()]
    return f"{change.kind} {', '.join(words)}"


# differences ----------------------------------------------------------------------------------------------------------


def _difference(before: Report, after: Report) -> Difference:
    def less(name: str) -> Decimal | None:
        was, now = getattr(before, name), getattr(after, name)
        return None if was is None or now is None or before.currency != after.currency else now - was

    with localcontext(CONTEXT):
        return Difference(**{name: less(name) for name in Difference.__dataclass_fields__})


def _threshold_changes(before: Thresholds, after: Thresholds) -> Iterator[ThresholdChange]:
    was = {(row.symbol, row.pool): row for row in before.thresholds}
    now = {(row.symbol, row.pool): row for row in after.thresholds}
    sides: tuple[Literal["below", "above"], ...] = ("below", "above")
    for symbol, pool in dict.fromkeys([*was, *now]):
        pair = was.get((symbol, pool)), now.get((symbol, pool))
        for side in sides:
            one, two = (None if row is None else getattr(row, side) for row in pair)
            yield ThresholdChange(
                symbol=symbol, pool=pool, side=side, before=one, after=two, moved=_moved(one, two, "price")
            )
    for side in sides:
        one, two = getattr(before.common_shock, side), getattr(after.common_shock, side)
        yield ThresholdChange(
            symbol=before.common_shock.direction,
            pool="",
            side=side,
            before=one,
            after=two,
            moved=_moved(one, two, "distance"),
        )


def _moved(before: Crossing | None, after: Crossing | None, figure: str) -> Decimal | None:
    one, two = (None if side is None else getattr(side, figure) for side in (before, after))
    with localcontext(CONTEXT):
        return None if one is None or two is None else two - one


def _notes(steps: Sequence[Step], rules: Rules, before: Report, after: Report) -> Iterator[str]:
    if any(step.fee is None for step in steps):
        yield f"no taker fee is known under {rules.profile}: fees are left out; state fee_rate"
    if before.currency != after.currency:
        yield f"no differences: the figures are in {before.currency} before and in {after.currency} after"
