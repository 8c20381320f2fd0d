"""From nouns to numbers: every look-up, default and missing price is settled here, once.

The result is pools of assets and exposures in one number type: exact decimals, or floats for back-tests. What follows
(:mod:`crossmargin.engine.reference`, thresholds) only computes.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

from crossmargin.engine import formulas, kinds
from crossmargin.engine.exposures import exposure_of, share_highest_rate
from crossmargin.engine.lookup import Lookup, exact
from crossmargin.engine.opening import taken
from crossmargin.engine.pool import Asset, Exposure, Num, Pool, Prepared
from crossmargin.engine.units import Unit
from crossmargin.model.account import Account, Balance, OpenOrder, Pocket, Position
from crossmargin.model.brackets import AssetRule
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.slots import Borrowing, Scenarios, Slots


def prepare(account: Account, market: Market, rules: Rules, *, number: type = Decimal) -> Prepared:
    """Resolve an account against its rules and market.

    ``number`` is :class:`~decimal.Decimal` (exact) or :class:`float`. Raises :class:`AccountError` with every fault
    of the account under these rules, :class:`MarketDataError` with every missing price.
    """
    with localcontext(CONTEXT):
        return _Preparation(account, market, rules, number).run()


class _Preparation(Lookup):
    """The work of :func:`prepare`, pool by pool."""

    def run(self) -> Prepared:
        shared = [(i, p) for i, p in enumerate(self.account.positions) if p.margin_mode == "cross"]
        pockets = [(i, p) for i, p in enumerate(self.account.positions) if p.margin_mode == "isolated"]
        pools = self._shared_pools(shared) + [self._pocket(i, p) for i, p in pockets]
        pools += [self._pocket_of_pair(i, pocket) for i, pocket in enumerate(self.account.pockets)]
        self.refuse()
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
            exposure = exposure_of(self, symbol, groups.get(symbol, []), orders.get(symbol, []), slots, isolated=False)
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
            self.fault(f"positions[{index}].margin_mode", "isolated", f"{self.rules.profile} has cross margin only")
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
        asset.exposures.append(exposure_of(self, position.symbol, [(index, position)], [], slots, isolated=True))
        side = "" if position.position_side == "net" else f" {position.position_side}"
        return self._pool(f"{position.symbol}{side} isolated", symbol.settle, slots, [asset], isolated=True)

    def _pocket_of_pair(self, index: int, pocket: Pocket) -> Pool:
        """A pocket of two coins, counted in the quote at the pair's mark."""
        pair, where = parse_symbol(pocket.symbol), f"pockets[{index}]"
        slots = self.rules.slots_for(isolated=True)
        rule = self.rules.slots.borrowing
        if rule is None:
            self.fault(f"{where}.symbol", pair.name, f"{self.rules.profile} has no rule for isolated borrowing")
        mark = self.market.mark_price.get(pair.name)
        if mark is None:
            self.miss(f"market.mark_price.{pair.name}", f"the mark price of {where}")
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
            steps = kinds.maintenance_steps(symbol, table, self.rules.slots.maintenance_margin, exact)
            # the amount owed is the same at every price, so the rate is too
            rate = steps.rates[steps.find(max(-cash, cash * 0))]
        found: Decimal = formulas.debt_rate(rate, self.rules.taker_fees.get(symbol, rule.fee))
        return found

    def _pool(self, name: str, currency: str, slots: Slots, assets: list[Asset], *, isolated: bool) -> Pool:
        exposures = [exposure for asset in assets for exposure in asset.exposures]
        if slots.maintenance_margin.kind == "highest_rate":
            share_highest_rate(self, exposures)
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
                    and counts
                ):
                    self.fault(
                        f"balances.{name}",
                        str(cash),
                        f"{self.rules.profile} has no collateral ratio for it; add [[assets]] asset = '{name}' "
                        "with collateral_ratio, or set use_as_collateral = false",
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
                self.miss(f"market.index_price.{name}", f"the value of {name} in {self.rules.reference_currency}")
                index = one
            price = self.convert(index)
            return price, price, price
        bid, ask = self.market.bid_rate.get(name), self.market.ask_rate.get(name)
        if bid is None and index is not None and rule is not None and rule.bid_buffer is not None:
            bid = index * (1 - rule.bid_buffer)
        if ask is None and index is not None and rule is not None and rule.ask_buffer is not None:
            ask = index * (1 + rule.ask_buffer)
        if bid is None or ask is None:
            self.miss(
                f"market.bid_rate.{name}, market.ask_rate.{name}",
                f"the bid and ask rate of {name} (or its index_price where the profile has its buffers)",
            )
            bid = ask = one
        if bid > ask:
            self.fault(f"market.bid_rate.{name}", str(bid), f"is above the ask rate {ask}")
        return self.convert(index if index is not None else ask), self.convert(bid), self.convert(ask)

    # exposures -------------------------------------------------------------------------------------------------------

    def _orders(self) -> dict[str, list[tuple[int, OpenOrder]]]:
        found: dict[str, list[tuple[int, OpenOrder]]] = {}
        if self.rules.slots.initial_margin.orders is None:
            return found
        for index, order in enumerate(self.account.open_orders):
            if parse_symbol(order.symbol).kind == "spot":
                self.fault(
                    f"open_orders[{index}].symbol",
                    order.symbol,
                    f"{self.rules.profile} has no rule for spot orders; give what they hold as the balance's `locked`",
                )
            elif not order.reduce_only:
                found.setdefault(order.symbol, []).append((index, order))
        return found

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


def _whole(exposure: Exposure) -> bool:
    """Whether the maintenance table covers every value, and not only the part above some floor or below some end."""
    return exposure.steps is None or (not exposure.steps.floors[0] and exposure.steps.end is None)
