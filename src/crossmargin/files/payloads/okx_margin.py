"""OKX: positions on borrowed coins (``instType`` MARGIN), which are holdings and a debt and no contracts.

Field meanings: isolated margin mode (okx.com help-center 6997123251341), quick margin mode (10665080281997) and the
API's positions page. ``pos`` counts the coin that is held (``posCcy``), ``liab`` the one that is owed. An isolated
one is a pocket of its own; in cross margin both are part of the account's balances.
"""

from __future__ import annotations

from decimal import Decimal

from crossmargin.files.payloads.reading import Parts, Row, divided, plain_figure
from crossmargin.model.instrument import Symbol, parse_symbol

_ZERO = Decimal(0)
Coins = dict[str, Decimal]
"""Amounts by coin, 0 or more."""


def margin_position(row: Row, parts: Parts) -> None:
    """One row of ``GET /api/v5/account/positions`` whose ``instType`` is MARGIN."""
    parts.lists.add("positions")
    pair = _pair(row, parts)
    row.skip("avgPx")
    if pair is None:
        return
    parts.seen(row.number("uTime"))
    mark = row.number("markPx")
    held, owed, interest = _both_coins(row, pair) or _one_coin_each(row, pair)
    if not any(owed.values()):
        row.skip_all()
        return
    if row.text("mgnMode") == "isolated":
        _pocket(row, parts, pair, mark, (held, owed, interest))
    else:
        _shared(row, parts, pair, mark, (held, owed, interest))


def _pair(row: Row, parts: Parts) -> Symbol | None:
    name = row.need_text("instId")
    try:
        found = parse_symbol(name.replace("-", "/", 1))
    except ValueError:
        found = None
    if found is None or found.kind != "spot":
        parts.fault(f"{row.path}.instId", name, "must be a pair of two coins such as BTC-USDT")
        return None
    return found


def _both_coins(row: Row, pair: Symbol) -> tuple[Coins, Coins, Coins] | None:
    """Quick margin mode states both coins of the pair; None where none of its fields holds an amount."""
    held, owed, interest = (
        {pair.base: row.number(f"base{kind}") or _ZERO, pair.quote: row.number(f"quote{kind}") or _ZERO}
        for kind in ("Bal", "Borrowed", "Interest")
    )
    if not any((*held.values(), *owed.values())):
        return None
    row.skip("pos posCcy liab liabCcy ccy margin interest")
    for coin in (pair.base, pair.quote):
        if held[coin] and owed[coin]:
            why = f"is held and owed at once in {coin}; a debt beside holdings of the same coin is not known here"
            row.parts.fault(f"{row.path}.instId", pair.name, why)
    return held, owed, interest


def _one_coin_each(row: Row, pair: Symbol) -> tuple[Coins, Coins, Coins]:
    """One coin is held and the other owed; which, says either of ``posCcy`` and ``liabCcy``."""
    other = {pair.base: pair.quote, pair.quote: pair.base}
    holds, owes = row.text("posCcy"), row.text("liabCcy")
    holds = holds or other.get(owes or "")
    owes = owes or other.get(holds or "")
    amount, debt = abs(row.number("pos") or _ZERO), abs(row.number("liab") or _ZERO)
    interest = abs(row.number("interest") or _ZERO)
    margin, put_in = row.number("margin") or _ZERO, row.text("ccy") or holds
    if not debt:
        return {}, {}, {}
    if holds not in other or owes != other[holds]:
        row.parts.fault(f"{row.path}.posCcy", holds or owes, "must be the one coin of the pair, liabCcy the other")
        return {}, {}, {}
    held = {holds: amount}
    if margin and (
        put_in != holds or not _holds_margin(row, pair, amount, margin, debt if owes == pair.base else None)
    ):
        held[str(put_in)] = held.get(str(put_in), _ZERO) + margin
    return held, {owes: debt}, {owes: interest}


def _holds_margin(row: Row, pair: Symbol, amount: Decimal, margin: Decimal, sold: Decimal | None) -> bool:
    """Whether ``pos`` counts the margin in: what the debt bought at the open price says, with the margin or without.

    Older accounts count it in, newer ones do not (OKX, isolated mode, updated 2025-02-17).
    """
    price, debt = row.number("avgPx"), abs(row.number("liab") or _ZERO)
    if not price:
        row.parts.fault(
            f"{row.path}.avgPx", None, f"is missing, so whether pos of {pair.name} holds the margin is open"
        )
        return True
    bought = sold * price if sold is not None else divided(debt, price)
    return abs(amount - margin - bought) < abs(amount - bought)


# isolated -------------------------------------------------------------------------------------------------------------


def _pocket(row: Row, parts: Parts, pair: Symbol, mark: Decimal | None, coins: tuple[Coins, Coins, Coins]) -> None:
    held, owed, interest = coins
    amounts = {coin: held.get(coin, _ZERO) - owed.get(coin, _ZERO) for coin in (pair.base, pair.quote)}
    balances = {
        coin: {
            "wallet_balance": plain_figure(amount),
            **({"accrued_interest": plain_figure(interest[coin])} if interest.get(coin) else {}),
        }
        for coin, amount in amounts.items()
        if amount or interest.get(coin)
    }
    at = ("pockets", pair.name)
    if (*at, "symbol") in parts.stated:
        parts.fault(f"pockets.{pair.name}", "", "stands twice in one payload; a venue keeps one, add them up")
    parts.put(*at, "symbol", value=pair.name)
    parts.put(*at, "balances", value=balances)
    parts.put(*at, "leverage", value=row.number("lever") or None)
    parts.put("market", "mark_price", pair.name, value=mark or None)
    parts.profile("okx-futures", "position")
    row.skip("imr notionalUsd posSide")
    # the venue counts margins in the coin that is margin: the base of a long, the quote of a short
    unit = row.text("ccy") or row.text("posCcy") or next(iter(held))
    suffix = "" if unit == pair.quote else f" in {unit}"
    pool = f"pools.{pair.name} isolated"
    kept, coverage = row.number("mmr"), row.number("mgnRatio")
    parts.report(f"{pool}.maintenance_margin_before_fee{suffix}", kept, "mmr")
    parts.report(f"{pool}.maintenance_coverage", coverage, "mgnRatio")
    gain, margin = row.number("upl"), row.number("margin")
    if gain is not None and margin is not None:
        parts.report(f"{pool}.unrealized_pnl{suffix}", gain, "upl")
        parts.report(f"{pool}.isolated_margin{suffix}", margin, "margin")
    told, price = row.price_or_never("liqPx")
    if told:
        parts.report_price(f"{pool}.liquidation_price", price, "liqPx")
    if mark and kept:
        price_of = {pair.base: mark, pair.quote: Decimal(1)}
        debt = sum((price_of[coin] * (owed[coin] + interest.get(coin, _ZERO)) for coin in owed), _ZERO)
        equity = sum((price_of[coin] * (amounts[coin] - interest.get(coin, _ZERO)) for coin in amounts), _ZERO)
        _rates(parts, pair.name, debt, equity, kept * price_of.get(unit, Decimal(1)), coverage)


def _rates(parts: Parts, pair: str, debt: Decimal, equity: Decimal, kept: Decimal, coverage: Decimal | None) -> None:
    """The rates that the printed margins come to: tiers by pair and the user's own fee stand in no public table."""
    rate = divided(kept, debt).quantize(Decimal("0.0001"))
    if rate > 0:
        bracket = {"notional_floor": "0", "maintenance_rate": plain_figure(rate)}
        words = f"maintenance rate of what is borrowed in {pair}: mmr / debt"
        parts.derive("instruments", pair, "brackets", value=[bracket], words=f"{words}, {plain_figure(rate)}")
    if coverage:
        fee = divided(divided(equity, coverage) - kept, debt + kept).quantize(Decimal("0.00001"))
        if 0 <= fee < 1:
            words = f"taker_fee of {pair}: what mgnRatio holds besides mmr"
            parts.derive("instruments", pair, "taker_fee", value=Decimal(plain_figure(fee)), words=words)


# cross ----------------------------------------------------------------------------------------------------------------


def _shared(row: Row, parts: Parts, pair: Symbol, mark: Decimal | None, coins: tuple[Coins, Coins, Coins]) -> None:
    """Part of the account's balances: they count where no balances are listed, and add up over the rows."""
    held, owed, interest = coins
    words = f"from the margin position in {pair.name}; the account's own balances go before it"
    parts.profile("okx-multi-currency", "borrowing")
    for coin, amount in held.items():
        parts.add_up("balances", coin, "wallet_balance", amount=amount, words=f"{coin} {words}")
    for coin, amount in owed.items():
        parts.add_up("balances", coin, "wallet_balance", amount=-amount, words=f"{coin} {words}")
        if interest.get(coin):
            parts.add_up(
                "balances", coin, "accrued_interest", amount=interest[coin], words=f"interest of {coin} {words}"
            )
    leverage = row.number("lever")
    price_of = {pair.base: mark or _ZERO, pair.quote: Decimal(1)}
    for name, field in (("maintenance_margin", "mmr"), ("initial_margin", "imr")):
        figure = row.number(field)
        for coin in owed if figure is not None and len(owed) == 1 else ():
            parts.report(f"balances.{coin}.{name} in {pair.quote}", figure, field)
    if leverage and len(owed) == 1:
        (coin,) = owed
        rate = plain_figure(divided(Decimal(1), leverage))
        note = f"margin to open of what is owed in {coin}: 1 / the leverage of {pair.name}"
        parts.derive("assets", coin, "liability_initial_rate", value=rate, words=note)
        kept, debt = row.number("mmr"), price_of[coin] * (owed[coin] + interest.get(coin, _ZERO))
        if kept and debt:
            rate = plain_figure(divided(kept, debt).quantize(Decimal("0.0001")))
            note = f"margin to stay of what is owed in {coin}: mmr / debt of {pair.name}"
            parts.derive("assets", coin, "liability_maintenance_rate", value=rate, words=note)
    worth = row.number("notionalUsd")
    for coin, amount in held.items():
        if worth and amount and mark and len(held) == 1:
            parts.index_from(coin, worth, amount, "notionalUsd / pos")
            (other,) = {pair.base, pair.quote} - {coin}
            value = worth / mark if coin == pair.base else worth * mark
            parts.index_from(other, value, amount, "notionalUsd / pos at the mark")
    row.skip("liqPx mgnRatio margin upl ccy posSide")
