"""The ledger: double entry in exact units, each asset by itself; every asset adds up to zero after every entry.

An entry is ``(owner, place, asset, amount)``. The owners are the accounts, with the places ``wallet``, ``bonus`` and
one for each pocket (``BTC/USDT:USDT net``), and the venue (``@venue``) with the places below. What lies outside has the
owner ``@outside``. A negative balance is owed, or, on the venue's side, has been paid out.

| place of ``@venue`` | what it holds |
|---|---|
| ``market`` | the other side of every realized PnL |
| ``fees`` | fees of trading and of liquidation |
| ``funding``, ``interest`` | what one side paid and no account received |
| ``exchange`` | the other side of every conversion between assets |
| ``bonus`` | what was lent as bonus credit, negative |
| ``insurance_fund`` | the insurance fund |
| ``bad_debt`` | losses that nobody was left to bear, negative |
| ``rounding`` | what lies below the quantum of an account |
| ``in_transit`` | what was sent to other partitions less what came from them; over all partitions: what is under way |
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_FLOOR, Decimal
from typing import NamedTuple

VENUE, OUTSIDE = "@venue", "@outside"
WALLET, BONUS = "wallet", "bonus"
_ZERO = Decimal(0)
_UNIT = Decimal(1).scaleb(-18)


class Entry(NamedTuple):
    """One side of a booking."""

    owner: str
    place: str
    asset: str
    amount: Decimal


Row = tuple[str, str, str, Decimal]
"""An :class:`Entry`, or the same four without names."""

Balances = dict[tuple[str, str], Decimal]
"""(place, asset) -> amount, without zeros."""


class Ledger:
    """What everybody holds. Changed by :meth:`post` alone."""

    __slots__ = ("owners",)

    def __init__(self, owners: dict[str, Balances] | None = None) -> None:
        self.owners: dict[str, Balances] = owners if owners is not None else {}

    def balance(self, owner: str, place: str, asset: str) -> Decimal:
        """What lies there, 0 where nothing does."""
        held = self.owners.get(owner)
        return _ZERO if held is None else held.get((place, asset), _ZERO)

    def of(self, owner: str) -> Balances:
        """Everything of one owner."""
        return self.owners.get(owner, {})

    def post(self, entries: Iterable[Row]) -> None:
        """Book entries that add up to zero in every asset; an assertion, for nothing else may ever arrive here."""
        entries = tuple(entries)
        unbalanced = sums(entries)
        if unbalanced:
            raise AssertionError(f"entries do not add up to zero: {unbalanced}")
        for owner, place, asset, amount in entries:
            held = self.owners.setdefault(owner, {})
            key = (place, asset)
            now = held.get(key, _ZERO) + amount
            if now:
                held[key] = now
            else:
                held.pop(key, None)

    def totals(self) -> dict[str, Decimal]:
        """The sum of everything by asset: empty as long as the books are right."""
        return sums(
            (owner, place, asset, amount)
            for owner, held in self.owners.items()
            for (place, asset), amount in held.items()
        )


def sums(entries: Iterable[Row]) -> dict[str, Decimal]:
    """What entries add up to by asset, zeros left out."""
    found: dict[str, Decimal] = {}
    for _, _, asset, amount in entries:
        found[asset] = found.get(asset, _ZERO) + amount
    return {asset: total for asset, total in found.items() if total}


def exact(amount: Decimal) -> Decimal:
    """An amount in 18 decimals, the finest the ledger has, rounded half-even."""
    return amount.quantize(_UNIT)


def cut(amount: Decimal, quantum: Decimal, rounding: str = ROUND_FLOOR) -> Decimal:
    """An amount in whole quanta, rounded down: what is credited is never more, what is debited never less.

    >>> cut(Decimal("-0.123"), Decimal("0.01"))
    Decimal('-0.13')
    """
    return amount.quantize(quantum, rounding)


def booked(
    entries: Iterable[Entry], quantum: dict[str, Decimal], default: Decimal, rounding: str = ROUND_FLOOR
) -> tuple[Entry, ...]:
    """Entries with every amount of an account cut to its quantum and the residue booked as the venue's rounding.

    The accounts' side comes cut, the others stay exact; whatever the entries then lack of zero is rounding. In a
    liquidation accounts are rounded up (``ROUND_CEILING``): what the engine found to be enough must be enough.
    """
    found = []
    for entry in entries:
        owner, place, asset, amount = entry
        account = owner[0] != "@"
        whole = Entry(owner, place, asset, cut(amount, quantum.get(asset, default), rounding)) if account else entry
        if whole.amount:
            found.append(whole)
    found += [Entry(VENUE, "rounding", asset, -rest) for asset, rest in sums(found).items()]
    return tuple(found)
