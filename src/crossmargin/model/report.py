"""What comes back: figures with their lines, and thresholds. Plain frozen data, no arithmetic."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from json.encoder import encode_basestring
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from crossmargin.model.number import plain

Verdict = Literal["healthy", "warning", "liquidation"]


@dataclass(frozen=True, slots=True)
class Line:
    """One figure with its formula in words, the rule and sources it follows, and the lines it is made of."""

    name: str
    value: Decimal
    unit: str
    formula: str = ""
    rule: str = ""
    source: tuple[str, ...] = ()
    parts: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionReport:
    """The figures of one position, in its settle asset. ``bracket`` counts from 1; None = has no bracket."""

    symbol: str
    pool: str
    position_side: str
    quantity: Decimal
    mark_price: Decimal
    notional: Decimal
    unrealized_pnl: Decimal
    initial_margin: Decimal | None
    maintenance_margin: Decimal
    close_fee: Decimal
    bracket: int | None
    maintenance_rate: Decimal | None
    maintenance_deduction: Decimal | None
    bankruptcy_price: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceReport:
    """What one asset of a pool counts for. ``equity`` in units of the asset, values in the pool's currency."""

    asset: str
    pool: str
    wallet_balance: Decimal
    bonus_credit: Decimal
    unrealized_pnl: Decimal
    equity: Decimal
    collateral_value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """The figures of one pool, in ``currency``.

    ``initial_equity`` is what counts to open and to withdraw; most count ``equity``. ``bonus_credit`` is the part
    of the holdings that the venue only lent.
    ``margin_ratio`` is maintenance over equity, None where equity is not positive. ``status`` is healthy, warning
    (a level before liquidation is reached: ``level``) or liquidation. A figure that cannot be known is None, with
    the reason in ``notes``.
    """

    name: str
    currency: str
    collateral_value: Decimal
    unrealized_pnl: Decimal
    bonus_credit: Decimal
    equity: Decimal
    initial_equity: Decimal
    initial_margin: Decimal | None
    maintenance_margin: Decimal
    headroom: Decimal
    free_collateral: Decimal | None
    margin_ratio: Decimal | None
    withdrawable: Decimal | None
    status: Verdict
    level: str | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One account judged. The totals are in ``currency``.

    Equity and requirements add up over the pools; ``headroom``, ``margin_ratio`` and ``status`` are those of the
    weakest pool, for one pool that breaks is not saved by another.
    """

    id: str
    profile: str
    rules_since: date
    as_of: datetime
    currency: str
    collateral_value: Decimal | None
    unrealized_pnl: Decimal | None
    bonus_credit: Decimal | None
    equity: Decimal | None
    initial_margin: Decimal | None
    maintenance_margin: Decimal | None
    headroom: Decimal | None
    free_collateral: Decimal | None
    margin_ratio: Decimal | None
    withdrawable: Decimal | None
    status: Verdict
    pools: tuple[PoolReport, ...]
    positions: tuple[PositionReport, ...]
    balances: tuple[BalanceReport, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


ThresholdKind = Literal["price", "never", "already", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One side of a threshold. ``distance`` is the relative move (-0.12 = 12 % down), ``binding`` the rule there."""

    kind: ThresholdKind
    price: Decimal | None = None
    distance: Decimal | None = None
    binding: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Where one pool is liquidated as one price (``symbol``: a contract, or an asset held as collateral) moves."""

    symbol: str
    pool: str
    price_now: Decimal
    below: Crossing
    above: Crossing


@dataclass(frozen=True, slots=True, kw_only=True)
class ShockThreshold:
    """Where the account is liquidated when several prices move together; ``distance`` is the move of weight 1."""

    direction: str
    pool: str | None
    below: Crossing
    above: Crossing


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Every threshold of an account: one for each price in each pool, and the common shock."""

    convention: str
    thresholds: tuple[Threshold, ...]
    common_shock: ShockThreshold


class _Fields(NamedTuple):
    """How a dataclass is read: the names of its fields, all of their values at once, and the names as keys of JSON."""

    names: tuple[str, ...]
    values: Callable[[Any], tuple[Any, ...]]
    keys: tuple[str, ...]
    sparse: bool
    """Whether a field that is None is left out."""


@cache
def _fields(kind: type[Any]) -> _Fields | None:
    """How values of a type are read; None where it is no dataclass."""
    if not is_dataclass(kind):
        return None
    names = tuple(field.name for field in fields(kind))
    # attrgetter gives the value itself, not a tuple, where it is asked for one name
    values = attrgetter(*names) if len(names) > 1 else lambda value: tuple(getattr(value, name) for name in names)
    return _Fields(names, values, tuple(_key(name) for name in names), kind is Crossing)


def _leaf(value: Any) -> str | None:
    """The text of a figure or a date; None for everything else."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else None


def to_plain(value: Any) -> Any:
    """Turn a result into JSON-ready data: decimals as strings, dates as ISO text, None where unknown."""
    if value is None or isinstance(value, str):
        return value  # half of what a report holds
    if (text := _leaf(value)) is not None:
        return text
    if (form := _fields(type(value))) is not None:  # type: ignore[arg-type]
        pairs = zip(form.names, form.values(value), strict=True)
        return {name: to_plain(item) for name, item in pairs if item is not None or not form.sparse}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def to_json(value: Any) -> str:
    """The one JSON text of a result: the same bytes from library, command line and service.

    Indented by two, in Unicode: the text that ``json.dumps(to_plain(value), indent=2, ensure_ascii=False)`` gives,
    in one walk, because that takes several times as long, and longer than judging the account.
    """
    return _text(value, "\n")


def _text(value: Any, line: str) -> str:
    """A value as text; ``line``: a new line with the indent of what holds it. The most frequent types come first."""
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, Decimal):
        return f'"{plain(value)}"'
    if value is None:
        return "null"
    within = line + "  "
    if isinstance(value, tuple | list):
        return f"[{within}{f',{within}'.join([_text(item, within) for item in value])}{line}]" if value else "[]"
    if (form := _fields(type(value))) is not None:  # type: ignore[arg-type]
        pairs = zip(form.keys, form.values(value), strict=True)
        rows = [key + _text(item, within) for key, item in pairs if item is not None or not form.sparse]
    elif isinstance(value, dict):
        rows = [_key(key) + _text(item, within) for key, item in value.items()]
    else:
        text = _leaf(value)
        return json.dumps(value) if text is None else f'"{text}"'
    return f"{{{within}{f',{within}'.join(rows)}{line}}}" if rows else "{}"


def _key(key: Any) -> str:
    return encode_basestring(key if isinstance(key, str) else json.dumps(key)) + ": "
