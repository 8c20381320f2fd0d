"""What does a fund leave to decide?

A fund file states routes, conversions, orders and pockets; here each becomes decisions with what a unit of them does,
and everything that is stated wrongly, unpriced or beyond the rules is found.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise

from crossmargin.analytics.allocation_decisions import (
    QUANTUM,
    RECEIVED,
    REDUCED,
    SENT,
    Carry,
    Decision,
    Effect,
    Limit,
    Problem,
    Setting,
    Trade,
    pocket_name,
)
from crossmargin.engine.changes import Books, mark_price
from crossmargin.engine.fills import fill
from crossmargin.engine.prepare import prepare
from crossmargin.errors import AccountError, Fault, MarketDataError, UnsupportedRule
from crossmargin.model.account import Position
from crossmargin.model.fund import OUTSIDE, Conversion, Fund, FundOrder, LeverageChoice, Member, Pocket, Route
from crossmargin.model.instrument import parse_symbol

_ZERO, _ONE = Decimal(0), Decimal(1)
_DIGITS = Decimal(1).scaleb(-18)


def problem_of(fund: Fund) -> Problem:
    """Every decision of a fund with its effects; under the context of the judge.

    Raises :class:`AccountError` with every fault of the fund (an order without a fee or a leverage, a loop that earns),
    :class:`MarketDataError` with every missing price, :class:`UnsupportedRule` for bonus credit that a move may end,
    and what :func:`crossmargin.evaluate` raises for an account.
    """
    built = _Builder(fund).build()
    _refuse_bonus(built)
    return built


def values_of(fund: Fund) -> dict[str, Decimal]:
    """What a unit of each asset is worth in the fund's currency: as stated, else by the first market that says."""
    known = {fund.currency: _ONE, **fund.prices}
    for _ in range(len(fund.members)):
        for member in fund.members:
            quoted, reference = _quotes(member), member.rules.reference_currency
            if reference not in known:
                pivot = next((asset for asset in quoted if asset in known), None)
                if pivot is None:
                    continue
                known[reference] = known[pivot] / quoted[pivot]
            for asset, price in quoted.items():
                known.setdefault(asset, price * known[reference])
    return known


def _quotes(member: Member) -> dict[str, Decimal]:
    """The index prices of a market in its reference currency; where there are none, the middle of bid and ask."""
    market = member.market
    both = {a: (market.bid_rate[a] + market.ask_rate[a]) / 2 for a in market.bid_rate if a in market.ask_rate}
    return {**both, **market.index_price}


class _Builder:
    """The work of :func:`problem_of`, with the faults and missing prices found so far."""

    def __init__(self, fund: Fund) -> None:
        self.fund = fund
        self.place = {member.account.id: index for index, member in enumerate(fund.members)}
        self.problem = Problem(fund=fund, books=[Books(*member) for member in fund.members], prices=values_of(fund))
        self.faults: list[Fault] = []
        self.missing: dict[str, Fault] = {}

    def build(self) -> Problem:
        problem, fund = self.problem, self.fund
        for books in problem.books:
            pools = prepare(*books).pools
            for pool in pools:
                self._price(pool.currency)
        if not any(prepare(*books).pools for books in problem.books):
            self.faults.append(Fault("accounts", "", "hold nothing: there is no pool to keep safe"))
        problem.size = self._size()
        for index, route in enumerate(fund.routes):
            self._route(f"route {index + 1}, {route.asset} from {route.source} to {route.target}", route)
        for conversion in fund.conversions:
            self._conversion(conversion)
        for order in fund.orders:
            self._order(order)
        for pocket in fund.pockets:
            self._pocket(pocket)
        for choice in fund.leverages:
            self._leverage(choice)
        self._carries()
        for coin in fund.neutral:
            problem.neutral[coin] = self._coins(coin)
        if self.faults:
            raise AccountError(f"fund {fund.id}", self.faults)
        if self.missing:
            raise MarketDataError(f"fund {fund.id}", self.missing.values())
        return problem

    def _price(self, asset: str) -> Decimal:
        price = self.problem.prices.get(asset)
        if price is None:
            why = f"is missing: what a unit is worth in {self.fund.currency}; give it in [prices] of the fund"
            self.missing[asset] = Fault(f"prices.{asset}", "", why)
            return _ONE
        return price

    def _quantum(self, asset: str) -> Decimal:
        return self.fund.quantum.get(asset, QUANTUM)

    def _add(self, decision: Decision) -> int:
        self.problem.decisions.append(decision)
        return len(self.problem.decisions) - 1

    def _limit(
        self,
        name: str | None,
        decisions: Iterable[int],
        value: Decimal,
        least: Decimal | None = None,
        most: Decimal | None = None,
    ) -> None:
        if least is not None or most is not None:
            self.problem.limits.append(Limit(name, tuple(decisions), least, most, value))

    # money -----------------------------------------------------------------------------------------------------------

    def _route(self, name: str, route: Route) -> None:
        price, kept = self._price(route.asset), 1 - route.fee_rate
        leaves, arrives = route.source != OUTSIDE, route.target != OUTSIDE
        effects = []
        if leaves:
            effects.append(Effect(self.place[route.source], route.asset, SENT, -_ONE))
        if arrives:
            effects.append(Effect(self.place[route.target], route.asset, RECEIVED, kept))
        index = self._add(
            Decision(
                words=f"send {route.asset} from {route.source} to {route.target}",
                source=route,
                effects=tuple(effects),
                value=price,
                cost=route.fee_rate * price + route.cost,
                freed=(_ZERO if leaves else -price) + (_ZERO if arrives else kept * price),
                collateral=(_ZERO if leaves else price) - (_ZERO if arrives else price),
                fee=route.fee,
                fee_at=effects[-1]._replace(amount=-route.fee) if arrives and route.fee else None,
                fee_cost=route.fee * price,
                fee_freed=_ZERO if arrives else -route.fee * price,
                minimum=max(route.minimum, route.fee / kept),
                quantum=self._quantum(route.asset),
            )
        )
        self._limit(f"maximum of {name}", [index], price, most=route.maximum)

    def _conversion(self, conversion: Conversion) -> None:
        account = self.place[conversion.account]
        sold, bought = (self._local(account, asset) for asset in (conversion.sell, conversion.buy))
        value, lost = self._price(conversion.sell), conversion.spread + conversion.fee_rate
        got = sold / bought * (1 - lost)
        leaves = any(route.source == conversion.account for route in self.fund.routes)
        found = []
        for stage in (REDUCED, RECEIVED) if leaves else (RECEIVED,):
            found.append(
                self._add(
                    Decision(
                        words=f"convert {conversion.sell} to {conversion.buy} on {conversion.account}",
                        source=conversion,
                        effects=(
                            Effect(account, conversion.sell, stage, -_ONE),
                            Effect(account, conversion.buy, stage, got),
                        ),
                        value=value,
                        cost=lost * value,
                        quantum=self._quantum(conversion.sell),
                        stage=stage,
                    )
                )
            )
        name = f"maximum of the conversion of {conversion.sell} to {conversion.buy} on {conversion.account}"
        self._limit(name, found, value, most=conversion.maximum)

    def _pocket(self, pocket: Pocket) -> None:
        """Margin out of a pocket before anything is sent, and into it when all has arrived."""
        account, asset, name = self.place[pocket.account], parse_symbol(pocket.symbol).settle, pocket_name(pocket)
        held = [p for p in self.problem.books[account].account.positions if p.margin_mode == "isolated"]
        if name not in map(pocket_name, held):
            why = f"is not held isolated on {pocket.account}; held are {', '.join(map(pocket_name, held)) or 'none'}"
            self.faults.append(Fault("pockets.symbol", pocket.symbol, why))
        for way, stage, words in ((_ONE, RECEIVED, "into"), (-_ONE, REDUCED, "out of")):
            move = f"move {asset} {words} {pocket.symbol} on {pocket.account}"
            index = self._add(
                Decision(
                    words=move,
                    source=pocket,
                    effects=(Effect(account, asset, stage, -way), Effect(account, asset, stage, way, name)),
                    value=self._price(asset),
                    quantum=self._quantum(asset),
                    stage=stage,
                )
            )
            self._limit(f"maximum to {move}", [index], self._price(asset), most=pocket.maximum)

    def _local(self, account: int, asset: str) -> Decimal:
        """What an asset is worth at the account's own venue, in its reference currency."""
        member = self.fund.members[account]
        reference = member.rules.reference_currency
        if asset == reference:
            return _ONE
        quoted = _quotes(member).get(asset)
        return quoted if quoted is not None else self._price(asset) / self._price(reference)

    # trades ----------------------------------------------------------------------------------------------------------

    def _order(self, order: FundOrder) -> None:
        account = self.place[order.account]
        books = self.problem.books[account]
        rate = order.fee_rate if order.fee_rate is not None else books.rules.taker_fee(order.symbol)
        size = books.rules.contract_size(order.symbol)
        legs = [p for p in books.account.positions if p.symbol == order.symbol]
        held = next((p for p in legs if p.position_side == order.position_side), None)
        leverage = next((p.leverage for p in legs if p.leverage is not None), order.leverage)
        where = f"orders of {order.symbol} on {order.account}"
        if rate is None:
            self.faults.append(Fault(f"{where}.fee_rate", "", f"is missing: {books.rules.profile} has no taker fee"))
        if size is None:
            self.faults.append(Fault(where, "", "its contract size is not known; add [[instruments]] with it"))
        if held is None and any(p.position_side != "net" for p in legs):
            why = "is missing: the contract is held in hedge mode; say long or short"
            self.faults.append(Fault(f"{where}.position_side", order.position_side, why))
        aims = self.fund.objective
        if held is not None and held.margin_mode == "isolated" and "headroom" in (aims.weights or aims.kind):
            why = (
                "closes an isolated position, which has no headroom once it is gone; leave it out, or take another aim"
            )
            self.faults.append(Fault(where, order.symbol, why))
        if order.symbol not in books.market.mark_price:
            self.missing[order.symbol] = Fault(f"{where}: market.mark_price.{order.symbol}", "", "is missing")
        if self.faults or self.missing or rate is None or size is None:
            return
        for way in (1, -1) if order.side == "both" else (1,) if order.side == "buy" else (-1,):
            opens = held is None or (held.quantity > 0) == (way > 0)
            if opens and {"long": way < 0, "short": way > 0}.get(order.position_side, False):
                continue
            self._levels(order, account, held, way, opens, rate, size, leverage)

    def _levels(
        self,
        order: FundOrder,
        account: int,
        held: Position | None,
        way: int,
        opens: bool,
        rate: Decimal,
        size: Decimal,
        leverage: Decimal | None,
    ) -> None:
        """One decision for each step of impact: the first contracts at the best price."""
        mark = mark_price(self.problem.books[account].market, order.symbol)
        settle = parse_symbol(order.symbol).settle
        steps = [(_ZERO, order.spread), *((step.quantity, step.spread) for step in order.impact), (None, _ZERO)]
        side, price = ("buy" if way > 0 else "sell"), self._price(settle)
        found = []
        value = _ZERO
        for (start, spread), (end, _) in pairwise(steps):
            trade = Trade(
                account=account,
                symbol=order.symbol,
                position_side=order.position_side,
                unit=Decimal(way),
                price=(mark * (1 + way * spread)).quantize(_DIGITS, ROUND_HALF_EVEN),
                fee_rate=rate,
                leverage=leverage,
                entry=None if opens or held is None else held.entry_price,
                held=_ZERO if held is None else abs(held.quantity),
                contract_size=size,
                pocket=pocket_name(held) if held is not None and held.margin_mode == "isolated" else None,
            )
            value = trade.notional(mark) * price
            width = None if end is None or start is None else end - start
            bounds = [bound for bound in (width, None if opens else trade.held) if bound is not None]
            found.append(
                self._add(
                    Decision(
                        words=f"{'open' if opens else 'close'} {order.symbol} on {order.account} ({side})",
                        source=order,
                        effects=_effects(trade, held),
                        trade=trade,
                        value=value,
                        cost=(rate + spread) * value,
                        position=value if opens else _ZERO,
                        most=min(bounds, default=None),
                        lot=order.lot,
                        stage=trade.stage,
                    )
                )
            )
        where = f"of the {side} orders of {order.symbol} on {order.account}"
        self._limit(f"maximum {where}", found, value, most=order.maximum)
        if not opens and held is not None:
            self._limit(None, found, value, most=abs(held.quantity))
        self._limit(f"required quantity {where}", found, value, least=order.required or None)

    def _coins(self, coin: str) -> dict[int, Decimal]:
        """What each trade buys of a coin, at the present marks."""
        found = {}
        for j, decision in enumerate(self.problem.decisions):
            trade = decision.trade
            if trade is None or parse_symbol(trade.symbol).base != coin:
                continue
            size = trade.unit * trade.contract_size
            inverse = parse_symbol(trade.symbol).kind == "inverse"
            found[j] = size / mark_price(self.problem.books[trade.account].market, trade.symbol) if inverse else size
        if not found:
            self.faults.append(Fault("neutral", coin, "has no orders in this fund"))
        return found

    def _leverage(self, choice: LeverageChoice) -> None:
        """One decision for each leverage that may be set: what frees margin first, what takes it when all is there."""
        account = self.place[choice.account]
        books, symbol = self.problem.books[account], choice.symbol
        legs = [p for p in books.account.positions if p.symbol == symbol]
        trade = next((t for _, t in self.problem.trades(account, symbol)), None)
        where, size = f"leverages of {symbol} on {choice.account}", books.rules.contract_size(symbol)
        orders = [o for o in books.account.open_orders if o.symbol == symbol and o.leverage is not None]
        now = {p.leverage for p in legs} | {o.leverage for o in orders}
        if not legs:
            now = {trade.leverage if trade is not None else None}
        if not legs and trade is None:
            self.faults.append(Fault(where, "", "is neither held nor ordered in this fund"))
        elif len(now) > 1 or None in now:
            why = "is missing or not one; state what positions and orders have now"
            self.faults.append(Fault(f"{where}.leverage", ", ".join(map(str, now)), why))
        if symbol not in books.market.mark_price:
            self.missing[symbol] = Fault(f"{where}: market.mark_price.{symbol}", "", "is missing")
        stated = [b.max_leverage for b in books.rules.brackets.get(symbol, ()) if b.max_leverage is not None]
        choices = sorted(set(choice.choices or stated))
        if not choices:
            self.faults.append(Fault(f"{where}.choices", "", "is missing: its brackets state no leverage"))
        if self.faults or self.missing or size is None:
            return
        (present,) = now
        mark = mark_price(books.market, symbol)
        held = legs[0] if legs else None
        more = Trade(
            account=account,
            symbol=symbol,
            position_side="net" if held is None else held.position_side,
            unit=_ONE if held is None or held.quantity > 0 else -_ONE,
            price=mark,
            fee_rate=books.rules.taker_fee(symbol) or _ZERO,
            leverage=present,
            entry=None,
            held=_ZERO if held is None else abs(held.quantity),
            contract_size=size,
        )
        found = [
            self._add(
                Decision(
                    words=f"set the leverage of {symbol} on {choice.account} to {leverage}",
                    source=choice,
                    setting=Setting(more, leverage),
                    value=self.problem.size,
                    most=_ONE,
                    lot=_ONE,
                    stage=REDUCED if leverage > (present or _ZERO) else RECEIVED,
                )
            )
            for leverage in choices
            if leverage != present
        ]
        self._limit(None, found, self.problem.size, most=_ONE)

    # carry -----------------------------------------------------------------------------------------------------------

    def _carries(self) -> None:
        share = self.fund.objective.horizon_days / 365
        owed = {(self.place[b.account], b.asset): b.rate for b in self.fund.borrows}
        for account, books in enumerate(self.problem.books):
            earned = {y.asset: y.rate for y in self.fund.yields if y.account is None}
            earned |= {y.asset: y.rate for y in self.fund.yields if y.account == books.account.id}
            for asset in dict.fromkeys([*books.account.balances, *self.problem.assets(account)]):
                gain, cost = earned.get(asset, _ZERO), owed.get((account, asset), _ZERO)
                if not (gain or cost):
                    continue
                if (account, asset) in owed and gain > cost:
                    why = f"is below the yield of {gain}: borrowing it to hold it would earn without end"
                    self.faults.append(
                        Fault(f"borrows of {asset} on {books.account.id}.rate", f"{owed[account, asset]}", why)
                    )
                price = self._price(asset)
                self.problem.carries.append(Carry(account, asset, gain * share * price, cost * share * price))

    def _size(self) -> Decimal:
        total = _ZERO
        for books in self.problem.books:
            for asset, balance in books.account.balances.items():
                total += abs(balance.wallet_balance) * self.problem.prices.get(asset, _ZERO)
            for pool in prepare(*books).pools:
                for own in pool.assets:
                    price = self.problem.prices.get(own.name, _ZERO)
                    total += sum((e.notional(leg.size, e.mark) * price for e in own.exposures for leg in e.legs), _ZERO)
        return max(total, _ONE)


def _effects(trade: Trade, held: Position | None) -> tuple[Effect, ...]:
    """What a unit does: it pays into the wallet; one that closes a pocket frees its share of the pocket's margin."""
    paid = Effect(trade.account, parse_symbol(trade.symbol).settle, trade.stage, _cash(trade, held))
    if trade.pocket is None or held is None:
        return (paid,)
    freed = (held.isolated_margin or _ZERO) / trade.held
    return paid._replace(amount=paid.amount + freed), paid._replace(amount=-freed, pocket=trade.pocket)


def _cash(trade: Trade, held: Position | None) -> Decimal:
    """What a unit pays into the wallet: the PnL it realizes less its fee; linear, so read off one fill."""
    quantity = trade.unit if trade.entry is None else trade.unit * trade.held
    done = fill(
        None if trade.entry is None else held,
        symbol=trade.symbol,
        quantity=quantity,
        price=trade.price,
        contract_size=trade.contract_size,
        fee_rate=trade.fee_rate,
        exact=True,
    )
    return (done.realized_pnl - done.fee) / abs(quantity)


def _is_taken(problem: Problem, account: int, asset: str) -> bool:
    """Whether some decision may take an asset out of a wallet by a transfer or a conversion."""
    own = [(d, e) for d in problem.decisions for e in d.effects if (e.account, e.asset) == (account, asset)]
    return any(e.amount < 0 and isinstance(d.source, Route | Conversion) for d, e in own)


def _refuse_bonus(problem: Problem) -> None:
    """What arrives leaves bonus credit as it is, and what leaves ends it or not as the rule says; a fill burns it."""
    for account, books in enumerate(problem.books):
        where = f"bonus of {problem.id(account)}"
        trades = [*problem.trades(account), *problem.closes(account)]
        traded = {parse_symbol(trade.symbol).settle for _, trade in trades}
        for asset in problem.assets(account):
            balance = books.account.balances.get(asset)
            if balance is None or not balance.bonus_credit:
                continue
            if asset in traded:
                why = f"a fill burns bonus credit of {asset} by its size; leave out the orders that settle in {asset}"
                raise UnsupportedRule(where, why)
            if books.rules.slots.bonus is None and _is_taken(problem, account, asset):
                why = f"no rule says whether a transfer ends that of {asset}; leave out what takes {asset} from here"
                raise UnsupportedRule(where, why)
