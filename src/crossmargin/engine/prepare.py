"""From nouns to numbers: every look-up, default and missing price is settled here, once.

The result is pools of assets and exposures in one number type: exact decimals, or floats for back-tests. What follows
(:mod:`crossmargin.engine.reference`, thresholds) only computes.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

from crossmargin.engine import formulas, kinds
from crossmargin.engine.opening import charged_sizes, taken, values_at_entry
from crossmargin.engine.pool import Asset, Exposure, Leg, Num, Order, Pool, Prepared
from crossmargin.engine.units import Unit
from crossmargin.errors import AccountError, Fault, MarketDataError
from crossmargin.model.account import Account, Balance, OpenOrder, Pocket, Position
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import AssetRule, Borrowing, MaintenanceMargin, Rules, Scenarios, Slots


def _to_float(value: Decimal) -> float:
    return float(value)


def _same(value: Decimal) -> Decimal:
    return value


def prepare(account: Account, market: Market, rules: Rules, *, number: type = Decimal) -> Prepared:
    """Resolve an account against its rules and market.

    ``number`` is :class:`~decimal.Decimal` (exact) or :class:`float`. Raises :class:`AccountError` with every fault
    of the account under these rules, :class:`MarketDataError` with every missing price.
    """
    with localcontext(CONTEXT):
        return _Preparation(account, market, rules, number).run()


_OPENED_BY_TABLE = ("linear_in_size", "marginal_brackets", "leverage_or_bracket")
"""Kinds of initial margin that need an instrument's table besides the leverage."""


class _Preparation:
    """The work of :func:`prepare`, with the faults and the missing prices found so far."""

    def __init__(self, account: Account, market: Market, rules: Rules, number: type) -> None:
        self.account = account
        self.market = market
        self.rules = rules
        self.number = number
        self.convert: kinds.Convert = _same if number is Decimal else _to_float
        self.zero = self.convert(Decimal(0))
        self.faults: list[Fault] = []
        self.missing: dict[str, Fault] = {}

    def run(self) -> Prepared:
        shared = [(i, p) for i, p in enumerate(self.account.positions) if p.margin_mode == "cross"]
        pockets = [(i, p) for i, p in enumerate(self.account.positions) if p.margin_mode == "isolated"]
        pools = self._shared_pools(shared) + [self._pocket(i, p) for i, p in pockets]
        pools += [self._pocket_of_pair(i, pocket) for i, pocket in enumerate(self.account.pockets)]
        if self.faults:
            raise AccountError(f"account {self.account.id} under {self.rules.profile}", self.faults)
        if self.missing:
            raise MarketDataError(f"account {self.account.id}", self.missing.values())
        return Prepared(self.account, self.market, self.rules, self.number, pools)

    # pools -----------------------------------------------------------------------------------------------------------

    def _shared_pools(self, positions: list[tuple[int, Position]]) -> list[Pool]:
        slots = self.rules.slots
        groups: dict[str, list[tuple[int, Position]]] = {}
        for index, position in positions:
            groups.setdefault(position.symbol, []).append((index, position))
        orders = self._orders()
        settles = dict.fromkeys(parse_symbol(symbol).settle for symbol in [*groups, *orders])
        names = list(dict.fromkeys([*self.account.balances, *settles]))
        unified = slots.pooling.kind == "unified"
        assets = [self._asset(name, slots, par=not unified) for name in names]
        by_name = {asset.name: asset for asset in assets}
        for symbol in dict.fromkeys([*groups, *orders]):
            exposure = self._exposure(symbol, groups.get(symbol, []), orders.get(symbol, []), slots, isolated=False)
            asset = by_name[parse_symbol(symbol).settle]
            asset.exposures.append(exposure)
            asset.taken = asset.taken + taken(exposure, slots)
        for asset in assets:
            asset.cash = asset.cash - asset.taken
        if unified:
            if not assets:
                return []
            return [self._pool("account", self.rules.reference_currency, slots, assets, isolated=False)]
        return [self._pool(asset.name, asset.name, slots, [asset], isolated=False) for asset in assets]

    def _pocket(self, index: int, position: Position) -> Pool:
        if not self.rules.slots.pooling.isolated:
            self._fault(f"positions[{index}].margin_mode", "isolated", f"{self.rules.profile} has cross margin only")
        slots = self.rules.slots_for(isolated=True)
        symbol = parse_symbol(position.symbol)
        margin = position.isolated_margin or Decimal(0)
        asset = Asset(
            name=symbol.settle,
            balance=Balance.model_construct(wallet_balance=margin),  # checked as isolated_margin; may be a ray
            cash=self.convert(margin),
            price=self.convert(Decimal(1)),
            bid=self.convert(Decimal(1)),
            ask=self.convert(Decimal(1)),
            counts=True,
            value=kinds.settle_asset(None, slots.collateral, self.convert),
        )
        asset.exposures.append(self._exposure(position.symbol, [(index, position)], [], slots, isolated=True))
        side = "" if position.position_side == "net" else f" {position.position_side}"
        return self._pool(f"{position.symbol}{side} isolated", symbol.settle, slots, [asset], isolated=True)

    def _pocket_of_pair(self, index: int, pocket: Pocket) -> Pool:
        """A pocket of two coins, counted in the quote at the pair's mark."""
        pair, where = parse_symbol(pocket.symbol), f"pockets[{index}]"
        slots = self.rules.slots_for(isolated=True)
        rule = self.rules.slots.borrowing
        if rule is None:
            self._fault(f"{where}.symbol", pair.name, f"{self.rules.profile} has no rule for isolated borrowing")
        mark = self.market.mark_price.get(pair.name)
        if mark is None:
            self._missing(f"market.mark_price.{pair.name}", f"the mark price of {where}")
        one = Decimal(1)
        assets = []
        for name, price in ((pair.base, one if mark is None else mark), (pair.quote, one)):
            balance = pocket.balances.get(name, Balance())
            cash = balance.wallet_balance - balance.accrued_interest
            kept = Decimal(0) if rule is None else self._debt_rate(pair.name, cash, rule)
            opened = None if pocket.leverage is None else self.convert(max(kept, one / pocket.leverage))
            at = self.convert(price)
            assets.append(
                Asset(
                    name=name,
                    balance=balance,
                    cash=self.convert(cash),
                    price=at,
                    bid=at,
                    ask=at,
                    counts=True,
                    value=kinds.at_price,
                    liability_rate=self.convert(kept),
                    liability_initial_rate=opened if cash < 0 else self.zero,
                    taken=self.zero,
                )
            )
        return self._pool(f"{pair.name} isolated", pair.quote, slots, assets, isolated=True)

    def _debt_rate(self, symbol: str, cash: Decimal, rule: Borrowing) -> Decimal:
        """What a debt in a pocket holds of its value; a table of the account file is looked up by the amount owed."""
        table = self.rules.brackets.get(symbol)
        rate: Num = rule.maintenance_rate
        if table:
            steps = kinds.maintenance_steps(symbol, table, self.rules.slots.maintenance_margin, _same)
            # the amount owed is the same at every price, so the rate is too
            rate = steps.rates[steps.find(max(-cash, cash * 0))]
        found: Decimal = formulas.debt_rate(rate, self.rules.taker_fees.get(symbol, rule.fee))
        return found

    def _pool(self, name: str, currency: str, slots: Slots, assets: list[Asset], *, isolated: bool) -> Pool:
        exposures = [exposure for asset in assets for exposure in asset.exposures]
        if slots.maintenance_margin.kind == "highest_rate":
            self._share_highest_rate(exposures)
        at_stake = any(exposure.legs for exposure in exposures) or any(asset.cash < 0 for asset in assets)
        return Pool(
            name=name,
            currency=currency,
            slots=slots,
            isolated=isolated,
            assets=assets,
            weighted=slots.equity.weighted,
            counted=slots.equity.unrealized_pnl,
            at_ask=slots.collateral.kind == "bid_ask" and not isolated,
            concave=(
                kinds.is_concave(slots)
                and all(_whole(e) for asset in assets for e in asset.exposures)
                and not any(asset.liability_steps for asset in assets)
                and not any(rule.known_to for asset in assets if (rule := self.rules.assets.get(asset.name)))
            ),
            counted_initial=slots.equity.unrealized_pnl_initial or slots.equity.unrealized_pnl,
            fixed=self.convert(slots.maintenance_margin.fixed_amount) if at_stake else self.zero,
            units=() if slots.scenarios is None else self._units(slots.scenarios, assets),
            initial_multiple=(
                None if slots.initial_margin.multiple is None else self.convert(slots.initial_margin.multiple)
            ),
            ladder=tuple((level, self.convert(level.multiple)) for level in slots.levels.ladder),
            strict=slots.levels.trigger == "below",
        )

    # assets ----------------------------------------------------------------------------------------------------------

    def _asset(self, name: str, slots: Slots, *, par: bool) -> Asset:
        balance = self.account.balances.get(name, Balance())
        rule = self.rules.assets.get(name)
        if balance.bonus_credit and balance.expired(self.market.as_of):
            balance = balance.model_copy(update={"bonus_credit": Decimal(0)})
        cash = balance.wallet_balance - balance.accrued_interest
        if slots.equity.bonus_credit:
            cash += balance.bonus_credit
        one = self.convert(Decimal(1))
        price = bid = ask = one
        counts = balance.use_as_collateral
        if not par:
            price, bid, ask = self._rates(name, rule, slots)
            if slots.collateral.kind != "bid_ask" and (rule is None or rule.tiers is None):
                if slots.collateral.unlisted == "nothing":
                    counts = False
                elif (
                    slots.collateral.unlisted == "refuse"
                    and name != self.rules.reference_currency
                    and (cash > 0 or slots.equity.weighted)
                ):
                    self._fault(
                        f"balances.{name}",
                        str(cash),
                        f"{self.rules.profile} has no collateral ratio for it; add [[assets]] asset = '{name}' "
                        "with collateral_ratio, or set use_as_collateral = false",
                        unless=not counts,
                    )
        valuation = kinds.settle_asset if par else kinds.COLLATERAL[slots.collateral.kind]
        kept, opened = self.rules.liability_rates(name)
        stay, enter = (kinds.liability_steps(rule, self.convert, opening=opening) for opening in (False, True))
        return Asset(
            name=name,
            balance=balance,
            cash=self.convert(cash),
            price=price,
            bid=bid,
            ask=ask,
            counts=counts,
            value=valuation(rule, slots.collateral, self.convert),
            initial_value=None if par else kinds.initial_valuation(rule, slots.collateral, self.convert),
            liability_rate=self.convert(kept),
            liability_initial_rate=self.convert(kept if opened is None else opened),
            liability_steps=None if stay is None or enter is None else (stay, enter),
            taken=self.zero,
        )

    def _rates(self, name: str, rule: AssetRule | None, slots: Slots) -> tuple[Num, Num, Num]:
        """Index, bid and ask of an asset in the reference currency, which is 1 by definition and nothing else is."""
        one = Decimal(1)
        index = one if name == self.rules.reference_currency else self.market.index_price.get(name)
        if slots.collateral.kind != "bid_ask":
            if index is None:
                self._missing(f"market.index_price.{name}", f"the value of {name} in {self.rules.reference_currency}")
                index = one
            price = self.convert(index)
            return price, price, price
        bid, ask = self.market.bid_rate.get(name), self.market.ask_rate.get(name)
        if bid is None and index is not None and rule is not None and rule.bid_buffer is not None:
            bid = index * (1 - rule.bid_buffer)
        if ask is None and index is not None and rule is not None and rule.ask_buffer is not None:
            ask = index * (1 + rule.ask_buffer)
        if bid is None or ask is None:
            self._missing(
                f"market.bid_rate.{name}, market.ask_rate.{name}",
                f"the bid and ask rate of {name} (or its index_price where the profile has its buffers)",
            )
            bid = ask = one
        if bid > ask:
            self._fault(f"market.bid_rate.{name}", str(bid), f"is above the ask rate {ask}")
        return self.convert(index if index is not None else ask), self.convert(bid), self.convert(ask)

    # exposures -------------------------------------------------------------------------------------------------------

    def _orders(self) -> dict[str, list[tuple[int, OpenOrder]]]:
        found: dict[str, list[tuple[int, OpenOrder]]] = {}
        if self.rules.slots.initial_margin.orders is None:
            return found
        for index, order in enumerate(self.account.open_orders):
            if parse_symbol(order.symbol).kind == "spot":
                self._fault(
                    f"open_orders[{index}].symbol",
                    order.symbol,
                    f"{self.rules.profile} has no rule for spot orders; give what they hold as the balance's `locked`",
                )
            elif not order.reduce_only:
                found.setdefault(order.symbol, []).append((index, order))
        return found

    def _exposure(
        self,
        name: str,
        positions: list[tuple[int, Position]],
        orders: list[tuple[int, OpenOrder]],
        slots: Slots,
        *,
        isolated: bool,
    ) -> Exposure:
        symbol = parse_symbol(name)
        inverse = symbol.kind == "inverse"
        mark = self.market.mark_price.get(name)
        where = f"positions[{positions[0][0]}]" if positions else f"open_orders[{orders[0][0]}]"
        if mark is None:
            self._missing(f"market.mark_price.{name}", f"the mark price of {where}")
        contract_size = self.rules.contract_size(name)
        if contract_size is None:
            self._fault(
                f"{where}.symbol",
                name,
                f"{self.rules.profile} does not know its contract size; add [[instruments]] with contract_size",
            )
        if mark is None or contract_size is None:
            mark = contract_size = Decimal(1)
        exposure = Exposure(
            symbol=symbol,
            mark=self.convert(mark),
            inverse=inverse,
            contract_size=self.convert(contract_size),
            pnl=formulas.inverse_pnl if inverse else formulas.linear_pnl,
            notional=formulas.inverse_notional if inverse else formulas.linear_notional,
            fixed=self.zero,
        )
        fee = self._taker_fee(name, slots, where)
        if slots.initial_margin.close_fee == "mark":
            exposure.initial_mark_fee = self.convert(fee)
        for index, position in positions:
            exposure.legs.append(
                self._leg(index, position, position.quantity * contract_size, fee, exposure, slots, isolated=isolated)
            )
        leverage = next((p.leverage for _, p in positions if p.leverage is not None), None)
        for _, order in orders:
            exposure.orders.append(self._order(order, contract_size, leverage, fee, exposure, slots))
        if slots.scenarios is None and (exposure.legs or slots.maintenance_margin.orders != "none"):
            self._set_maintenance(exposure, slots, where, fee)
        elif slots.scenarios is None and slots.initial_margin.kind in _OPENED_BY_TABLE:
            exposure.steps = self._table(exposure, slots, where)  # orders alone: what they would open is margined by it
        return exposure

    def _taker_fee(self, symbol: str, slots: Slots, where: str) -> Decimal:
        fee = self.rules.taker_fee(symbol)
        orders = slots.initial_margin.orders
        needed = (
            slots.initial_margin.close_fee != "none"
            or slots.maintenance_margin.close_fee != "none"
            or (orders is not None and (orders.open_fee or orders.close_fee))
        )
        if fee is None and needed:
            self._fault(f"{where}.symbol", symbol, "no taker fee is known; add [[instruments]] with taker_fee")
        return fee if fee is not None else Decimal(0)

    def _leg(
        self,
        index: int,
        position: Position,
        size: Decimal,
        fee: Decimal,
        exposure: Exposure,
        slots: Slots,
        *,
        isolated: bool,
    ) -> Leg:
        kinds_of_fee = slots.maintenance_margin.close_fee, slots.initial_margin.close_fee
        entry_value = exposure.notional(size, position.entry_price)
        long = size > 0
        loss_sign = 1 if long == exposure.inverse else -1
        value = bankruptcy = None
        if isolated:
            value = formulas.isolated_bankruptcy_value(entry_value, loss_sign, position.isolated_margin, fee)
        elif position.leverage is not None:
            value = formulas.cross_bankruptcy_value(entry_value, loss_sign, position.leverage)
        elif "bankruptcy" in kinds_of_fee:
            self._fault(
                f"positions[{index}].leverage",
                "",
                f"is missing; {self.rules.profile} holds the fee to close at the bankruptcy price that leverage sets",
            )
        if value:
            bankruptcy = abs(size) / value if exposure.inverse else value / abs(size)
        # what a fee at the mark comes to is known at each mark only
        charged_on = {"bankruptcy": value or 0, "entry": entry_value}
        kept, opened = (charged_on.get(kind, Decimal(0)) for kind in kinds_of_fee)
        return Leg(
            position=position,
            size=self.convert(size),
            charged=self.convert(size),
            entry=self.convert(position.entry_price),
            leverage=None if position.leverage is None else self.convert(position.leverage),
            close_fee=self.convert(formulas.share_of(kept, _closing_rate(slots, fee))),
            initial_fee=self.convert(formulas.share_of(opened, fee)),
            bankruptcy_price=None if bankruptcy is None else self.convert(bankruptcy),
        )

    def _order(
        self,
        order: OpenOrder,
        contract_size: Decimal,
        leverage: Decimal | None,
        fee: Decimal,
        exposure: Exposure,
        slots: Slots,
    ) -> Order:
        size = order.quantity * contract_size
        rule = slots.initial_margin.orders
        price = order.price
        if rule is not None and rule.price == "assuming" and size < 0:
            last = self.market.last_price.get(order.symbol)
            if last is None:
                self._missing(
                    f"market.last_price.{order.symbol}",
                    f"{self.rules.profile} takes the sell order at {price} at the highest of last price, mark and its "
                    "own; give the last price in [market.last_price], or import the venue's ticker beside the orders",
                )
                last = price
            mark = self.market.mark_price.get(order.symbol, price)
            price = formulas.assuming_price(price, mark, last, rule.assuming_markup)
        value = exposure.notional(size, price)
        fees = Decimal(0)
        stated = order.leverage if order.leverage is not None else leverage
        if rule is not None and rule.open_fee:
            fees += formulas.share_of(value, fee)
        if rule is not None and rule.close_fee and stated is not None:
            loss_sign = 1 if (size > 0) == exposure.inverse else -1
            fees += formulas.share_of(formulas.cross_bankruptcy_value(value, loss_sign, stated), fee)
        return Order(
            size=self.convert(size),
            price=self.convert(price),
            leverage=None if stated is None else self.convert(stated),
            fees=self.convert(fees),
        )

    # maintenance -----------------------------------------------------------------------------------------------------

    def _set_maintenance(self, exposure: Exposure, slots: Slots, where: str, fee: Decimal) -> None:
        """Bind the maintenance rule: what of it is fixed, and which sizes are charged at the mark."""
        slot = slots.maintenance_margin
        exposure.fixed = sum((leg.close_fee for leg in exposure.legs), self.zero)
        with_orders = None if slot.orders == "none" else _with_orders(exposure, slot)
        if slot.close_fee == "mark":
            exposure.mark_fee = self.convert(_closing_rate(slots, fee))
            exposure.fee_sizes = tuple(abs(leg.size) for leg in exposure.legs) if with_orders is None else with_orders
        if slot.kind == "fraction_of_initial":
            self._share_of_initial(exposure, slot, where)
        else:
            exposure.steps = steps = self._table(exposure, slots, where)
            if steps is not None and slot.kind != "highest_rate":
                by_value = slot.key == "notional" and slot.kind in kinds.BY_NOTIONAL
                exposure.requirement = (
                    kinds.BY_NOTIONAL[slot.kind](steps) if by_value else self._by_count(exposure, slot, steps)
                )
        if slots.valuation.maintenance == "mark":
            exposure.sizes = charged_sizes(slot.scope, exposure) if with_orders is None else with_orders
        elif exposure.requirement is not None:
            at_entry = values_at_entry(slot.scope, exposure)
            exposure.fixed = exposure.fixed + sum((exposure.requirement(v) for v in at_entry), self.zero)

    def _table(self, exposure: Exposure, slots: Slots, where: str) -> kinds.Steps | None:
        name = exposure.symbol.name
        table = self.rules.brackets.get(name)
        if table is None:
            self._fault(
                f"{where}.symbol",
                name,
                f"{self.rules.profile} has no maintenance table for it; add [[instruments]] with brackets",
            )
            return None
        slot = slots.maintenance_margin
        if any(kinds.maintenance_rate(bracket, slot) is None for bracket in table):
            self._fault(f"instruments {name}.brackets", "", "a bracket has no maintenance_rate")
            return None
        if table[0].notional_floor > 0 and table[0].maintenance_deduction is None and slot.kind == "marginal_brackets":
            self._fault(
                f"instruments {name}.brackets[0]",
                str(table[0].notional_floor),
                "a table that starts above 0 needs its maintenance_deduction",
            )
            return None
        exposure.initial_rates = tuple(
            None if bracket.initial_rate is None else self.convert(bracket.initial_rate) for bracket in table
        )
        exposure.size_slope = self.convert(table[0].size_slope or Decimal(0))
        if slots.initial_margin.kind == "marginal_brackets":
            exposure.initial_steps = kinds.initial_steps(name, table, self.convert)
        if exposure.initial_rates[0] is None and slots.initial_margin.kind in ("marginal_brackets", "linear_in_size"):
            self._fault(f"instruments {name}.brackets", "", "a bracket has no initial_rate, which this profile needs")
        steps = kinds.maintenance_steps(name, table, slot, self.convert)
        for row in range(1, len(table)):
            if slot.kind != "marginal_brackets" or table[row].maintenance_deduction is None:
                continue
            exact = kinds.maintenance_steps(name, table, slot, _same)
            due = formulas.bracket_deduction(
                table[row].notional_floor, exact.rates[row], exact.rates[row - 1], exact.offsets[row - 1]
            )
            if abs(due - exact.offsets[row]) > Decimal("0.01"):
                self._fault(
                    f"instruments {name}.brackets[{row}].maintenance_deduction",
                    str(exact.offsets[row]),
                    f"makes the requirement jump at {table[row].notional_floor}; continuity asks for {due}",
                )
        return steps

    def _by_count(self, exposure: Exposure, slot: MaintenanceMargin, steps: kinds.Steps) -> kinds.Requirement:
        """A rule that looks at contracts or coins has one rate whatever the price: one a leg, or one for all."""
        slope = exposure.size_slope

        def rate(size: Num) -> Num:
            count = abs(size) / exposure.contract_size if slot.key == "contracts" else exposure.coins(size)
            return kinds.BY_COUNT[slot.kind](count, steps, slope)

        if slot.scope == "per_leg":
            for leg in exposure.legs:
                leg.charged = leg.size * rate(leg.size)
            return kinds.flat_rate(self.convert(Decimal(1)))
        sizes = charged_sizes(slot.scope, exposure)
        return kinds.flat_rate(rate(sizes[0]) if sizes else self.zero)

    def _share_of_initial(self, exposure: Exposure, slot: MaintenanceMargin, where: str) -> None:
        fraction = self.convert(slot.fraction or Decimal(0))
        for leg in exposure.legs:
            if leg.leverage is None:
                self._fault(f"{where}.leverage", "", "is missing; the maintenance margin is a share of the initial one")
                return
            leg.charged = formulas.leverage_requirement(leg.size * fraction, leg.leverage)
        exposure.requirement = kinds.flat_rate(self.convert(Decimal(1)))

    def _share_highest_rate(self, exposures: list[Exposure]) -> None:
        """One rate for the whole pool: the highest of its positions."""
        rates = [max(exposure.steps.rates) for exposure in exposures if exposure.steps is not None and exposure.legs]
        for exposure in exposures:
            if exposure.legs:
                exposure.requirement = kinds.flat_rate(max(rates, default=self.zero))

    # portfolio margin ------------------------------------------------------------------------------------------------

    def _units(self, slot: Scenarios, assets: list[Asset]) -> tuple[Unit, ...]:
        """What everything on one coin requires together: one unit for each coin that has contracts."""
        on_coin: dict[str, list[tuple[Exposure, Asset]]] = {}
        for asset in assets:
            for exposure in asset.exposures:
                if exposure.legs:
                    on_coin.setdefault(exposure.symbol.base, []).append((exposure, asset))
        rules = {coin: entry for entry in slot.coins for coin in entry.coins}
        others = next(entry for entry in slot.coins if not entry.coins)
        found = []
        for coin, exposures in on_coin.items():
            rule = rules.get(coin, others)
            worst = max(rule.price_move, formulas.share_of(rule.extreme_move, rule.extreme_share))
            found.append(
                Unit(
                    coin=coin,
                    exposures=tuple(exposures),
                    holding=next((a for a in assets if slot.spot and a.name == coin), None),
                    worst_move=self.convert(worst),
                    basis_rate=self.convert(rule.basis_rate),
                    minimum_rate=self.convert(rule.minimum_rate),
                    minimum_tiers=kinds.minimum_steps(slot, self.convert),
                )
            )
        return tuple(found)

    # faults ----------------------------------------------------------------------------------------------------------

    def _fault(self, path: str, value: str, why: str, *, unless: bool = False) -> None:
        if not unless:
            self.faults.append(Fault(path, value, why))

    def _missing(self, path: str, what: str) -> None:
        self.missing[path] = Fault(path, "", f"is missing: {what}")


def _whole(exposure: Exposure) -> bool:
    """Whether the maintenance table covers every value, and not only the part above some floor or below some end."""
    return exposure.steps is None or (not exposure.steps.floors[0] and exposure.steps.end is None)


def _closing_rate(slots: Slots, taker_fee: Decimal) -> Decimal:
    """The rate of the fee to close that the maintenance margin holds."""
    stated = slots.maintenance_margin.close_fee_rate
    return taker_fee if stated is None else stated


def _with_orders(exposure: Exposure, slot: MaintenanceMargin) -> tuple[Num, ...]:
    """The sizes that fills of the resting orders could leave: longs and buys, shorts and sells; both or the larger.

    Where legs are charged net, fills of one side move the net size, and the larger of the two it could be is charged.
    """
    held = [leg.size for leg in exposure.legs]
    sizes = held + [order.size for order in exposure.orders]
    longs, shorts = sum(size for size in sizes if size > 0), -sum(size for size in sizes if size < 0)
    if slot.scope == "net":
        bought = sum(order.size for order in exposure.orders if order.size > 0)
        sold = sum(order.size for order in exposure.orders if order.size < 0)
        longs, shorts = abs(sum(held) + bought), abs(sum(held) + sold)
    return (max(longs, shorts),) if slot.orders == "worse_side" else tuple(size for size in (longs, shorts) if size)
