"""Events: what has happened, as it is written to the journal, one JSON object each, decimals as strings.

The books are a fold of events (:func:`crossmargin.clearing.state.evolve`), live and on replay from the same text, so
the two cannot differ. An event states what is, not how it came about: evolving adds and sets and decides nothing.

| event | keys |
|---|---|
| ``started`` | the settings |
| ``rules_changed`` | ``profile``, ``rules`` whole |
| ``account_opened`` | ``account``, ``profile`` |
| ``posted`` | ``why``, ``entries``: [owner, place, asset, amount], adding up to zero in each asset |
| ``position`` | the position of a symbol and side as it is now; ``quantity`` 0 = flat |
| ``order_resting``, ``order_gone`` | an order as it rests now; an order filled or cancelled, with ``why`` |
| ``leverage``, ``margin_mode`` | a setting of the account |
| ``mark``, ``index`` | a price and its time |
| ``funding_settled``, ``interest_accrued`` | the interval that is done, and its rate |
| ``level`` | the level of the ladder that a pool has reached; null = none |
| ``liquidation`` | a step of the programme that was taken, and where the programme goes on |
| ``sent``, ``transfer_closed`` | a transfer to another partition that is under way; one that is done |
| ``halted``, ``resumed`` | |
| ``rejected`` | ``code``, ``why``, ``accepted``; nothing else has changed |
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from crossmargin.clearing.ledger import Entry
from crossmargin.model.account import MarginMode, OpenOrder, Position, PositionSide

Event = dict[str, Any]


def text(value: Decimal) -> str:
    """A number of at most 18 decimals as its one plain text.

    >>> text(Decimal("-0.500"))
    '-0.5'
    """
    found = format(value, "f")
    if found[-1] == "0" and "." in found:
        found = found.rstrip("0").rstrip(".")
    return "0" if found == "-0" else found


def stamp(when: datetime) -> str:
    """A time as its one text, in UTC."""
    said = (when if when.tzinfo is UTC else when.astimezone(UTC)).isoformat()
    return said[:-6] + "Z"


def posted(why: str, entries: Iterable[Entry]) -> Event:
    """Money moved."""
    rows = [[owner, place, asset, text(amount)] for owner, place, asset, amount in entries]
    return {"event": "posted", "why": why, "entries": rows}


def position(account: str, held: Position, mode: MarginMode | None = None, side: PositionSide | None = None) -> Event:
    """A position as it is now; ``mode`` and ``side`` where a fill that opens it does not know them."""
    return {
        "event": "position",
        "account": account,
        "symbol": held.symbol,
        "position_side": side or held.position_side,
        "margin_mode": mode or held.margin_mode,
        "quantity": text(held.quantity),
        "entry_price": text(held.entry_price),
        "leverage": None if held.leverage is None else text(held.leverage),
    }


def flat(account: str, symbol: str, side: str) -> Event:
    """A position that is gone."""
    return {"event": "position", "account": account, "symbol": symbol, "position_side": side, "quantity": "0"}


def resting(account: str, order_id: str, order: OpenOrder) -> Event:
    """An order as it rests now."""
    return {
        "event": "order_resting",
        "account": account,
        "order_id": order_id,
        "symbol": order.symbol,
        "quantity": text(order.quantity),
        "price": text(order.price),
        "reduce_only": order.reduce_only,
        "position_side": order.position_side,
        "leverage": None if order.leverage is None else text(order.leverage),
    }


def gone(account: str, order_id: str, why: str) -> Event:
    """An order that rests no more."""
    return {"event": "order_gone", "account": account, "order_id": order_id, "why": why}


def level(account: str, pool: str, name: str | None) -> Event:
    """A level reached, or none any more."""
    return {"event": "level", "account": account, "pool": pool, "level": name}


def rejected(code: str, why: str, accepted: dict[str, str]) -> Event:
    """A refusal."""
    return {"event": "rejected", "code": code, "why": why, "accepted": accepted}
