"""What moves it?

Every input of an account (a price, a balance, a quantity, a ratio, a funding rate) can be a line like any price: the
judge, fed with ``now + s``, returns headroom as a formula of ``s``, and its slope is the sensitivity, exactly. At a
kink the two sides differ, and both are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Literal, NamedTuple

from crossmargin.analytics.funding import Purse, after_payments, funding_notional, purse_of
from crossmargin.analytics.safe_leverage import SafeLeverage, safe_leverage
from crossmargin.analytics.threshold import thresholds_of
from crossmargin.engine import formulas
from crossmargin.engine.moves import coins_moved
from crossmargin.engine.path import Case, headroom_along
from crossmargin.engine.pool import Asset, Exposure, Leg, Pool
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import Ray
from crossmargin.engine.reference import PoolState, measure
from crossmargin.errors import AccountError, Fault, UnsupportedRule
from crossmargin.model.account import Account, Balance, Pocket
from crossmargin.model.brackets import AssetRule, CollateralTier
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.slots import Collateral

_ZERO, _ONE = Decimal(0), Decimal(1)
_PER_CENT = Decimal("0.01")
_POINT = Decimal("0.0001")
_NOISE = Decimal("1e-40")

InputKind = Literal[
    "coin",
    "mark_price",
    "index_price",
    "bid_rate",
    "ask_rate",
    "wallet_balance",
    "isolated_margin",
    "quantity",
    "collateral_ratio",
    "funding_rate",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """How the headroom of one pool moves with one input, all other inputs standing still.

    ``up`` and ``down``: the change of headroom (in ``currency``) for one unit more of the input, on the side above and
    below ``now``; equal except at a kink. A ``coin`` is all its contracts and its collateral together, a unit of its
    ``now``. ``step`` is 1 % of ``now`` (of a ratio one percentage point, of a funding rate 0.0001), and ``adverse`` the
    change of headroom when the input moves a step the wrong way; ``per_volatility`` the same for a move of the
    volatility given. Slopes, not scenarios: a kink inside the step is not seen.
    """

    pool: str
    currency: str
    kind: InputKind
    name: str
    now: Decimal
    up: Decimal
    down: Decimal
    step: Decimal
    adverse: Decimal
    per_volatility: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdSlope:
    """How one threshold price (``symbol``, ``side``) moves with one unit more of an input; two sides as in Slope."""

    pool: str
    symbol: str
    side: Literal["below", "above"]
    price: Decimal
    kind: InputKind
    name: str
    up: Decimal | None
    down: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Every slope of every pool, the worst step first; ``account_pool`` is the weakest, whose slopes the account has.

    Inputs that are not listed for a pool do not move it. ``notes`` say what is unknown.
    """

    account_pool: str | None
    slopes: tuple[Slope, ...]
    thresholds: tuple[ThresholdSlope, ...]
    safe_leverage: tuple[SafeLeverage, ...]
    notes: tuple[str, ...]


# public questions -----------------------------------------------------------------------------------------------------


def sensitivity(
    account: Account,
    market: Market,
    rules: Rules,
    *,
    thresholds: Sequence[str] | None = None,
    move: Decimal = Decimal("0.1"),
    volatility: Mapping[str, Decimal] | None = None,
) -> Sensitivity:
    """The exact slope of headroom, and of every threshold price, in every input of the account.

    Inputs: every coin (all its contracts and its collateral together), every single mark price, index price, bid and
    ask rate, balance (of a pocket of borrowed coins too: ``LTC of LTC/USDT``), isolated margin, quantity (at its entry
    price), collateral ratio (all tiers of an asset together) and funding rate (through the next payment).
    ``thresholds`` names the symbols whose threshold slopes are wanted
    (None = all): dT/dx = -(dH/dx) / (dH/dT) at the root, the coin convention of :func:`crossmargin.threshold`. ``move``
    is the adverse move of :class:`SafeLeverage`, a fraction between 0 and 1; ``volatility`` maps coins to a fraction
    (0.03 a day) for a ranking by it. Raises as :func:`crossmargin.evaluate` does.
    """
    if not 0 < move < 1:
        raise AccountError("sensitivity", (Fault("move", str(move), "must be between 0 and 1 (10 % is 0.1)"),))
    with localcontext(CONTEXT):
        question = _Question(account, market, rules)
        slopes = tuple(question.slopes(volatility or {}))
        return Sensitivity(
            account_pool=question.weakest(),
            slopes=slopes,
            thresholds=tuple(question.threshold_slopes(thresholds)),
            safe_leverage=tuple(
                safe_leverage(question.case, state, asset, exposure, leg, move)
                for state in question.states
                for asset in state.pool.assets
                for exposure in asset.exposures
                for leg in exposure.legs
            ),
            notes=tuple(question.notes),
        )


# inputs ---------------------------------------------------------------------------------------------------------------


class _Input(NamedTuple):
    """One input: its value now, and the case in which it is another value (a number or a ray)."""

    kind: InputKind
    name: str
    now: Decimal
    pools: frozenset[str]
    case: Callable[[Ray], Case]

    def at(self, s: Ray) -> Case:
        """The case in which the input is ``now + s``."""
        return self.case(self.now + s)


class _Question:
    """One account: its pools measured and its inputs listed, once."""

    def __init__(self, account: Account, market: Market, rules: Rules) -> None:
        self.case: Case = (account, market, rules)
        self.prepared = prepare(account, market, rules)
        self.states = [measure(pool) for pool in self.prepared.pools]
        self.notes: list[str] = []
        self.inputs = list(self._inputs())

    def weakest(self) -> str | None:
        """The pool with the least headroom, in the reference currency where there are several currencies."""
        _, market, rules = self.case
        rooms: list[tuple[Decimal, str]] = []
        several = len({state.pool.currency for state in self.states}) > 1
        for state in self.states:
            currency = state.pool.currency
            rate = market.index_price.get(currency) if several and currency != rules.reference_currency else _ONE
            if rate is None:
                self.notes.append(f"the weakest pool is unknown: market.index_price.{currency} is missing")
                return None
            rooms.append((state.headroom * rate, state.pool.name))
        return min(rooms)[1] if rooms else None

    def _inputs(self) -> Iterator[_Input]:
        account, market, _ = self.case
        holders: dict[str, list[tuple[Pool, Asset]]] = {}
        rows: list[tuple[Pool, Exposure, Leg]] = []
        for pool in self.prepared.pools:
            for asset in pool.assets:
                holders.setdefault(asset.name, []).append((pool, asset))
                rows += [(pool, exposure, leg) for exposure in asset.exposures for leg in exposure.legs]
        yield from self._coins(holders, rows)
        for symbol in dict.fromkeys(exposure.symbol.name for _, exposure, _ in rows):
            pools = frozenset(pool.name for pool, exposure, _ in rows if exposure.symbol.name == symbol)
            yield _Input("mark_price", symbol, market.mark_price[symbol], pools, self._priced("mark_price", symbol))
        tables: tuple[Literal["index_price", "bid_rate", "ask_rate"], ...] = ("index_price", "bid_rate", "ask_rate")
        for table in tables:
            for name, price in getattr(market, table).items():
                pools = frozenset(pool.name for pool, _ in holders.get(name, ()) if not pool.isolated)
                if pools:
                    yield _Input(table, name, price, pools, self._priced(table, name))
        for name, held in holders.items():
            shared = [(pool, asset) for pool, asset in held if not pool.isolated]
            if shared:
                pools = frozenset(pool.name for pool, _ in shared)
                wallet = account.balances.get(name, Balance()).wallet_balance
                yield _Input("wallet_balance", name, wallet, pools, self._held(Purse(name), wallet))
                yield from self._ratio(*shared[0])
        yield from self._of_pockets()
        for index, position in enumerate(account.positions):
            pool = next(pool for pool, _, leg in rows if leg.position is position)
            side = "" if position.position_side == "net" else f" {position.position_side}"
            name, pools = position.symbol + side, frozenset([pool.name])
            if position.isolated_margin is not None:
                purse = Purse("", position.symbol, position.position_side)
                margin = position.isolated_margin
                yield _Input("isolated_margin", name, margin, pools, self._held(purse, margin))
            yield _Input("quantity", name, position.quantity, pools, self._counted(index))
        for pool, exposure, leg in rows:
            if exposure.symbol.expiry is None:
                yield from self._funded(pool, exposure, leg)

    def _coins(
        self, holders: Mapping[str, list[tuple[Pool, Asset]]], rows: Sequence[tuple[Pool, Exposure, Leg]]
    ) -> Iterator[_Input]:
        """Bases of contracts and assets with a price of their own; a coin's price now is its index, else a mark."""
        account, market, rules = self.case
        priced = [name for name in (*market.index_price, *market.ask_rate) if name in holders]
        marked = [(exposure.symbol.base, exposure.mark, pool.name) for pool, exposure, _ in rows]
        for pocket in account.pockets:
            base = parse_symbol(pocket.symbol).base
            marked.append((base, market.mark_price[pocket.symbol], f"{pocket.symbol} isolated"))
        for coin in dict.fromkeys([*(base for base, _, _ in marked), *priced]):
            marks = [mark for base, mark, _ in marked if base == coin]
            now = market.index_price.get(coin) or (marks[0] if marks else market.ask_rate[coin])
            pools = frozenset(
                [name for base, _, name in marked if base == coin]
                + [pool.name for pool, _ in holders.get(coin, ()) if not pool.isolated]
            )

            def case(value: Ray, coin: str = coin, now: Decimal = now) -> Case:
                return account, coins_moved(market, {coin: value / now}), rules

            yield _Input("coin", coin, now, pools, case)

    def _priced(self, table: str, name: str) -> Callable[[Ray], Case]:
        account, market, rules = self.case

        def case(value: Ray) -> Case:
            return account, market.model_copy(update={table: {**getattr(market, table), name: value}}), rules

        return case

    def _of_pockets(self) -> Iterator[_Input]:
        """The mark of each pocket of borrowed coins, and what it holds or owes of each (``LTC of LTC/USDT``)."""
        account, market, rules = self.case
        for pocket in account.pockets:
            pools, mark = frozenset([f"{pocket.symbol} isolated"]), market.mark_price[pocket.symbol]
            yield _Input("mark_price", pocket.symbol, mark, pools, self._priced("mark_price", pocket.symbol))
            for coin, held in pocket.balances.items():

                def case(value: Ray, pocket: Pocket = pocket, coin: str = coin, held: Balance = held) -> Case:
                    changed = {**pocket.balances, coin: held.model_copy(update={"wallet_balance": value})}
                    own = pocket.model_copy(update={"balances": changed})
                    others = tuple(own if one is pocket else one for one in account.pockets)
                    return account.model_copy(update={"pockets": others}), market, rules

                yield _Input("wallet_balance", f"{coin} of {pocket.symbol}", held.wallet_balance, pools, case)

    def _held(self, purse: Purse, now: Decimal) -> Callable[[Ray], Case]:
        account, market, rules = self.case
        return lambda value: (after_payments(account, {purse: now - value}), market, rules)

    def _counted(self, index: int) -> Callable[[Ray], Case]:
        account, market, rules = self.case

        def case(value: Ray) -> Case:
            positions = list(account.positions)
            positions[index] = positions[index].model_copy(update={"quantity": value})
            return account.model_copy(update={"positions": tuple(positions)}), market, rules

        return case

    def _ratio(self, pool: Pool, asset: Asset) -> Iterator[_Input]:
        """The collateral ratio of a holding: what it counts for over what it is worth; all its tiers move together."""
        account, market, rules = self.case
        worth = asset.cash * asset.price
        rule = rules.assets.get(asset.name)
        if worth <= 0 or not asset.counts or pool.slots.pooling.kind != "unified":
            return
        now = asset.worth(asset.cash, asset.price, asset.bid, asset.ask) / worth

        def case(value: Ray) -> Case:
            changed = _with_ratio(rule or AssetRule(asset=asset.name), value - now, pool.slots.collateral)
            return account, market, rules.with_overrides((), (changed,))

        yield _Input("collateral_ratio", asset.name, now, frozenset([pool.name]), case)

    def _funded(self, pool: Pool, exposure: Exposure, leg: Leg) -> Iterator[_Input]:
        account, market, rules = self.case
        name = exposure.symbol.name
        side = "" if leg.position.position_side == "net" else f" {leg.position.position_side}"
        notional, reason = funding_notional(self.prepared, exposure, leg)
        if notional is None:
            self.notes.append(f"funding_rate of {name}: {reason}")
            return
        per_rate = formulas.funding_payment(leg.size, notional, _ONE)
        now = market.funding_rate.get(name, _ZERO)
        purse = purse_of(pool, exposure, leg)
        yield _Input(
            "funding_rate",
            name + side,
            now,
            frozenset([pool.name]),
            lambda value: (after_payments(account, {purse: (value - now) * per_rate}), market, rules),
        )

    # slopes of headroom --------------------------------------------------------------------------------------------

    def slopes(self, volatility: Mapping[str, Decimal]) -> Iterator[Slope]:
        """The slopes of each pool, the worst step first."""
        for state in self.states:
            rows = [row for given in self.inputs if (row := self._slope(state, given, volatility)) is not None]
            yield from sorted(rows, key=lambda row: row.adverse)

    def _slope(self, state: PoolState, given: _Input, volatility: Mapping[str, Decimal]) -> Slope | None:
        if state.pool.name not in given.pools:
            return None
        try:
            up, down = (headroom_along(given.at, state.pool.name, _ZERO, way).slope(_ZERO) for way in (1, -1))
        except UnsupportedRule as rule:
            self.notes.append(f"{given.kind} {given.name}: {rule}")
            return None
        # inverse figures are rounded to 50 digits: what is left of a slope that cancels is no slope
        noise = (abs(state.equity) + abs(state.maintenance)) * _NOISE
        up, down = (_ZERO if abs(slope * (given.now or _ONE)) <= noise else slope for slope in (up, down))
        if not up and not down:
            return None
        steps = {"collateral_ratio": _PER_CENT, "funding_rate": _POINT}
        step = steps.get(given.kind, abs(given.now) * _PER_CENT)
        daily = volatility.get(given.name) if given.kind == "coin" else None
        worst = min(up, -down)
        return Slope(
            pool=state.pool.name,
            currency=state.pool.currency,
            kind=given.kind,
            name=given.name,
            now=given.now,
            up=up,
            down=down,
            step=step,
            adverse=worst * step,
            per_volatility=None if daily is None else worst * given.now * daily,
        )

    # slopes of thresholds ------------------------------------------------------------------------------------------

    def threshold_slopes(self, wanted: Sequence[str] | None) -> Iterator[ThresholdSlope]:
        """The slopes of each threshold that is a price; an input that does not move it is left out."""
        if wanted is not None and not wanted:
            return
        found = thresholds_of(self.prepared, explain=False).thresholds
        unknown = [symbol for symbol in wanted or () if symbol not in {row.symbol for row in found}]
        if unknown:
            known = ", ".join(row.symbol for row in found)
            raise AccountError(
                "sensitivity", [Fault("thresholds", name, f"has no threshold; known are {known}") for name in unknown]
            )
        sides: tuple[Literal["below", "above"], ...] = ("below", "above")
        for row in found:
            if wanted is None or row.symbol in wanted:
                for side in sides:
                    crossing = getattr(row, side)
                    if crossing.kind == "price":
                        coin = parse_symbol(row.symbol).base if "/" in row.symbol else row.symbol
                        line = _Threshold(self, row.pool, row.symbol, coin, side, row.price_now, crossing.distance)
                        yield from line.slopes()


class _Threshold(NamedTuple):
    """One threshold: the root of headroom on the line on which its coin moves."""

    question: _Question
    pool: str
    symbol: str
    coin: str
    side: Literal["below", "above"]
    price_now: Decimal
    distance: Decimal

    def slopes(self) -> Iterator[ThresholdSlope]:
        """dT/dx for every input x of the pool; T = price x (1 + s) with H(x, s) = 0."""
        outward = 1 if self.side == "above" else -1
        account, market, rules = self.question.case

        def along(s: Ray) -> Case:
            return account, coins_moved(market, {self.coin: 1 + self.distance + s}), rules

        # the root moves outward where headroom gains from the input, inward where it loses
        out, inn = (headroom_along(along, self.pool, _ZERO, way).slope(_ZERO) for way in (outward, -outward))
        for given in self.question.inputs:
            if self.pool not in given.pools or (given.kind == "coin" and given.name == self.coin):
                continue

            def at_root(s: Ray, given: _Input = given) -> Case:
                changed, prices, law = given.at(s)
                return changed, coins_moved(prices, {self.coin: 1 + self.distance}), law

            sides: list[Decimal | None] = []
            for way in (1, -1):
                try:
                    gain = headroom_along(at_root, self.pool, _ZERO, way).slope(_ZERO)
                except UnsupportedRule:
                    sides.append(None)
                    continue
                across = out if gain * way > 0 else inn
                # the line of a pocket of borrowed coins is named by its coin, and its price is the pair's mark
                own_marks = (self.symbol, self.pool.removesuffix(" isolated"))
                own = 1 + self.distance if given.kind == "mark_price" and given.name in own_marks else _ZERO
                sides.append(own - self.price_now * gain / across if across else None)
            if any(slope is None or slope for slope in sides):
                yield ThresholdSlope(
                    pool=self.pool,
                    symbol=self.symbol,
                    side=self.side,
                    price=self.price_now * (1 + self.distance),
                    kind=given.kind,
                    name=given.name,
                    up=sides[0],
                    down=sides[1],
                )


def _with_ratio(rule: AssetRule, shift: Ray, slot: Collateral) -> AssetRule:
    """The rule of an asset with every ratio shifted; a bid buffer is 1 - ratio."""
    if slot.kind == "bid_ask":
        return rule.model_copy(update={"bid_buffer": None if rule.bid_buffer is None else rule.bid_buffer - shift})
    tiers = rule.tiers or (CollateralTier(floor=_ZERO, collateral_ratio=_ONE),)
    shifted = tuple(tier.model_copy(update={"collateral_ratio": tier.collateral_ratio + shift}) for tier in tiers)
    return rule.model_copy(update={"collateral_ratio": None, "collateral_tiers": shifted})
