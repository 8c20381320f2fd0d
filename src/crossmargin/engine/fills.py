"""What a fill does to a position: average entry, realized PnL, fee. Shared by what-if, liquidation and clearing.

Sources: average entry by value for linear contracts (Binance FAQ 25edcd7f…), by coin value for inverse ones (Bybit,
average entry price of inverse contracts).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from crossmargin.engine import formulas
from crossmargin.errors import AccountError, Fault
from crossmargin.model.account import Balance, Position
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.number import CONTEXT
from crossmargin.model.slots import Bonus, Burn

Num = Any
_DIGITS = Decimal(1).scaleb(-18)


class Fill(NamedTuple):
    """The position after a fill (None = flat), the PnL it realized and the fee it cost, in the settle asset."""

    position: Position | None
    realized_pnl: Decimal
    fee: Decimal


def average_entry(size: Decimal, entry: Decimal, added: Decimal, price: Decimal, *, inverse: bool) -> Decimal:
    """Entry price after adding to a position: by value, for inverse contracts by value in the coin.

    >>> average_entry(Decimal(1), Decimal(100), Decimal(1), Decimal(110), inverse=False)
    Decimal('105')
    """
    if inverse:
        return (size + added) / (size / entry + added / price)
    return (size * entry + added * price) / (size + added)


def pay(balance: Balance, costs: Mapping[Burn, Num], bonus: Bonus | None) -> Balance:
    """A balance after costs by kind (below 0: received): bonus credit bears what its rule says, the wallet the rest.

    Amounts may be rays. Sources: :func:`~crossmargin.engine.formulas.burnt_bonus`.
    """
    wallet, lent = balance.wallet_balance, balance.bonus_credit
    for kind, cost in costs.items():
        if lent and bonus is not None and kind in bonus.pays:
            part = formulas.burnt_bonus(cost, lent, wallet, bonus.share, bonus.first)
            wallet, lent = wallet + part, lent - part
        wallet = wallet - cost
    return balance.model_copy(update={"wallet_balance": wallet, "bonus_credit": lent})


def fill(
    position: Position | None,
    *,
    symbol: str,
    quantity: Decimal,
    price: Decimal,
    contract_size: Decimal,
    fee_rate: Decimal,
    leverage: Decimal | None = None,
    exact: bool = False,
) -> Fill:
    """Apply one fill to a position in its symbol and side.

    Same direction adds at the average entry; the opposite direction reduces and realizes PnL. A fill that would turn
    the position round is refused: close it and open the rest as two fills, so that each has its own entry price.
    ``quantity`` may be a :class:`~crossmargin.engine.ray.Ray`, to solve for it. ``exact`` keeps every digit of the
    average entry price, so that a hypothetical fill creates and destroys no money; else it has 18 decimals.
    """
    with localcontext(CONTEXT):
        inverse = parse_symbol(symbol).kind == "inverse"
        pnl = formulas.inverse_pnl if inverse else formulas.linear_pnl
        notional = formulas.inverse_notional if inverse else formulas.linear_notional
        size = quantity * contract_size
        fee = formulas.share_of(notional(size, price), fee_rate)
        if position is None:
            # a price on a moved market has more digits than an input may have: it is set, not read
            opened = Position(symbol=symbol, quantity=Decimal(1), entry_price=Decimal(1), leverage=leverage)
            return Fill(opened.model_copy(update={"quantity": quantity, "entry_price": price}), Decimal(0), fee)
        held = position.quantity
        if (held > 0) == (quantity > 0):
            entry = average_entry(held * contract_size, position.entry_price, size, price, inverse=inverse)
            # a quantity that is a ray (a size being solved for) has no digits to cut
            rounded = entry.quantize(_DIGITS) if isinstance(entry, Decimal) and not exact else entry
            grown = {"quantity": held + quantity, "entry_price": rounded}
            if leverage is not None:
                grown["leverage"] = leverage
            return Fill(position.model_copy(update=grown), Decimal(0), fee)
        if abs(quantity) > abs(held):
            raise AccountError(
                f"fill of {symbol}",
                (
                    Fault(
                        "quantity",
                        str(quantity),
                        f"would turn the position of {held} round; close it with {-held} and open the rest separately",
                    ),
                ),
            )
        realized = pnl(-size, position.entry_price, price)
        left = held + quantity
        rest = position.model_copy(update={"quantity": left}) if left else None
        return Fill(rest, realized, fee)
