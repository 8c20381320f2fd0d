"""What happens when it breaks?

Prices move along a line to the account's threshold, exactly; there, or a gap beyond it, the venue's liquidation
programme runs step by step (:mod:`crossmargin.engine.liquidation`), each step filled at the prices of that moment and
judged again after. What is left is the owner's, whatever else went is named: loss to the market, fees, insurance fund,
other traders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Literal

from crossmargin.analytics.stress import Applied, moved
from crossmargin.analytics.threshold import coins_of, threshold_along
from crossmargin.engine.liquidation import Liquidated, Step, liquidate
from crossmargin.engine.pool import Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.engine.reporting import evaluate
from crossmargin.errors import AccountError, Fault
from crossmargin.model.account import Account
from crossmargin.model.instrument import CASH
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.report import ThresholdKind, Verdict

_ZERO, _ONE = Decimal(0), Decimal(1)
_BEYOND = tuple(Decimal(1).scaleb(power) for power in (-15, -12, -9, -6))
"""How far past the threshold prices stand where equality is not yet a liquidation: the first that is one counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceMove:
    """One mark price: now, at the threshold, and where the programme's orders are filled."""

    symbol: str
    now: Decimal
    at_threshold: Decimal
    filled: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Who was paid what, summed over all steps, in one currency.

    ``realized_pnl`` is at market prices; ``insurance_fund`` what the fund received (negative: paid); ``deleveraged``
    what other traders gave up at the bankruptcy price; ``socialized_loss`` what nobody was left to bear.
    """

    currency: str
    realized_pnl: Decimal
    fee: Decimal
    insurance_fund: Decimal
    deleveraged: Decimal
    socialized_loss: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """A position that is still open after the last step, in contracts."""

    symbol: str
    position_side: str
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """What happens under one set of rules. Equities are the account's totals in ``currency``, None where unknown.

    ``kind`` is the threshold's: ``price`` (broken at ``distance``, the move of weight 1), ``already`` (broken now),
    ``never`` or ``unknown`` (nothing is walked; ``reason``). ``equity_now`` is at present prices,
    ``equity_at_fill`` at those of the programme before its first step, ``equity_after`` what the owner keeps.
    ``positions`` and ``pockets`` (of borrowed coins, by their pair) are what is left after the last step.
    """

    profile: str
    direction: str
    kind: ThresholdKind
    reason: str | None
    distance: Decimal | None
    gap: Decimal
    currency: str
    equity_now: Decimal | None
    equity_at_fill: Decimal | None
    equity_after: Decimal | None
    status: Verdict
    prices: tuple[PriceMove, ...]
    steps: tuple[Step, ...]
    bills: tuple[Bill, ...]
    positions: tuple[Remaining, ...]
    pockets: tuple[str, ...]
    notes: tuple[str, ...]


def cascade(
    account: Account,
    market: Market,
    rules: Rules,
    *,
    direction: Mapping[str, Decimal] | None = None,
    side: Literal["down", "up"] = "down",
    gap: Decimal = _ZERO,
    at: Market | None = None,
    insurance_fund: Mapping[str, Decimal] | None = None,
) -> Cascade:
    """How the account breaks, what the venue then does step by step, and what the owner keeps.

    ``direction`` maps coins to multiples of the move (default: every coin alike, currencies and stablecoins still);
    ``side`` is the way it goes. ``gap`` is a further move from the threshold's prices, below 0 when falling: orders
    are filled there, not at the threshold. ``at`` asks in a given market instead, without looking for a threshold.
    ``insurance_fund`` is what the venue's fund holds by currency; a fund not named is taken to hold enough, and the
    step says so. Raises as :func:`crossmargin.threshold` and :func:`crossmargin.liquidate` do. Formulas: the profile's
    liquidation slot; docs/cascade.md.
    """
    with localcontext(CONTEXT):
        prepared = prepare(account, market, rules)
        weights = direction if direction is not None else {c: _ONE for c in coins_of(prepared) if c not in CASH}
        words = "the market given" if at is not None else _words(direction, side)
        _check(gap, side, weights, at)
        reached = _Reached("price", None, None, at, at)
        if at is None:
            reached = _reached(prepared, weights, side, gap)
        there = reached.filled or market
        done = Liquidated((), account, insurance_fund or {})
        if reached.kind in ("price", "already"):
            done = liquidate(account, there, rules, insurance_fund=insurance_fund)
        now = evaluate(account, market, rules, explain=False)
        before = evaluate(account, there, rules, explain=False)
        after = evaluate(done.account, there, rules, explain=False)
        return Cascade(
            profile=rules.profile,
            direction=words,
            kind="already" if now.status == "liquidation" and at is None else reached.kind,
            reason=reached.reason,
            distance=reached.distance,
            gap=gap,
            currency=before.currency,
            equity_now=now.equity,
            equity_at_fill=before.equity,
            # the totals of nothing at all come in the reference currency, and are nothing in any
            equity_after=after.equity if after.pools else _ZERO,
            status=after.status,
            prices=_prices(prepared, reached),
            steps=done.steps,
            bills=bills_of(done.steps),
            positions=tuple(
                Remaining(symbol=p.symbol, position_side=p.position_side, quantity=p.quantity)
                for p in done.account.positions
            ),
            pockets=tuple(pocket.symbol for pocket in done.account.pockets),
            notes=_notes(account, rules, done, reached),
        )


def cascades(account: Account, market: Market, rules: Sequence[Rules], **asked: Any) -> tuple[Cascade, ...]:
    """The same account under several sets of rules, each from its own threshold on; keywords as :func:`cascade`."""
    return tuple(cascade(account, market, own, **asked) for own in rules)


# the line -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reached:
    """Where the line leads: the threshold, the market there, and the market of the fills; None where there is none."""

    kind: ThresholdKind
    reason: str | None
    distance: Decimal | None
    threshold: Market | None
    filled: Market | None


def _words(direction: Mapping[str, Decimal] | None, side: str) -> str:
    if direction is None:
        return f"all coins together, {side}"
    return ", ".join(f"{coin} x {weight}" for coin, weight in direction.items()) + f", {side}"


def _check(gap: Decimal, side: str, weights: Mapping[str, Decimal], at: Market | None) -> None:
    wrong = None
    if gap and at is not None:
        wrong = "is given beside a market; a gap starts from a threshold"
    elif gap * (-1 if side == "down" else 1) < 0:
        wrong = (
            f"goes back from the threshold; it must be 0 or {'below' if side == 'down' else 'above'} with side {side!r}"
        )
    elif any(1 + weight * gap <= 0 for weight in weights.values()):
        wrong = "leaves a price at 0 or below; it must be above -1 for every coin that moves"
    if wrong:
        raise AccountError("cascade", (Fault("gap", str(gap), wrong),))


def _reached(prepared: Prepared, weights: Mapping[str, Decimal], side: str, gap: Decimal) -> _Reached:
    """The threshold along the line, and the markets at it and beyond the gap."""
    account, market, rules = prepared.account, prepared.market, prepared.rules

    def market_at(distance: Decimal, further: Decimal = _ZERO) -> Market:
        moves = {coin: (1 + weight * distance) * (1 + weight * further) - 1 for coin, weight in weights.items()}
        return moved(prepared, Applied(moves, {}, ()))

    if not weights:
        broken = any(measure(pool).liquidatable for pool in prepared.pools)
        return _Reached("already" if broken else "never", None, None, market, market)
    found = threshold_along(account, market, rules, weights)
    crossing = found.below if side == "down" else found.above
    if crossing.kind == "already":
        return _Reached("already", None, _ZERO, market, market_at(_ZERO, gap))
    if crossing.kind != "price" or crossing.distance is None:
        return _Reached(crossing.kind, crossing.reason, None, None, None)
    distance = crossing.distance
    for beyond in (_ZERO, *_BEYOND):
        there = market_at(distance * (1 + beyond))
        if any(measure(pool).liquidatable for pool in prepare(account, there, rules).pools):
            return _Reached("price", None, distance, there, market_at(distance * (1 + beyond), gap))
    return _Reached("unknown", "the threshold is touched, not crossed", distance, None, None)


# what comes back ------------------------------------------------------------------------------------------------------


def _prices(prepared: Prepared, reached: _Reached) -> tuple[PriceMove, ...]:
    if reached.threshold is None or reached.filled is None:
        return ()
    account = prepared.account
    symbols = dict.fromkeys([p.symbol for p in account.positions] + [p.symbol for p in account.pockets])
    return tuple(
        PriceMove(
            symbol=symbol,
            now=prepared.market.mark_price[symbol],
            at_threshold=reached.threshold.mark_price[symbol],
            filled=reached.filled.mark_price[symbol],
        )
        for symbol in symbols
    )


def bills_of(steps: tuple[Step, ...]) -> tuple[Bill, ...]:
    """Who was paid what over these steps, a bill for each currency."""
    bills = []
    for currency in dict.fromkeys(step.currency for step in steps):
        own = [step for step in steps if step.currency == currency]
        bills.append(
            Bill(
                currency=currency,
                realized_pnl=sum((step.realized_pnl for step in own), _ZERO),
                fee=sum((step.fee for step in own), _ZERO),
                insurance_fund=sum((step.insurance_fund for step in own), _ZERO),
                deleveraged=sum((step.transfer for step in own if step.step == "auto_deleverage"), _ZERO),
                socialized_loss=sum((step.transfer for step in own if step.step == "socialized_loss"), _ZERO),
            )
        )
    return tuple(bills)


def _notes(account: Account, rules: Rules, done: Liquidated, reached: _Reached) -> tuple[str, ...]:
    notes = (
        []
        if reached.filled is None or done.steps
        else ["at the prices of the fill the account stands: no step is taken"]
    )
    bonus = {name: held.bonus_credit for name, held in account.balances.items() if held.bonus_credit}
    if bonus:
        lent = ", ".join(f"{amount} {name}" for name, amount in bonus.items())
        notes.append(f"equity includes bonus credit of {lent}, which is not the owner's to withdraw")
    cited = {name for step in done.steps for name in step.source}
    assumed = [source.title for key, source in rules.sources.items() if key in cited and source.status == "assumed"]
    if assumed:
        notes.append(f"assumed, not documented: {'; '.join(assumed)}")
    return tuple(notes)
