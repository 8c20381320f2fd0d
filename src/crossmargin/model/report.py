"""What comes back: figures with their lines, and thresholds. Plain frozen data, no arithmetic."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
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


def _fields(kind: type[Any]) -> _Fields | None:
    """How values of a type are read; None where it is no dataclass."""
    if not is_dataclass(kind):
        return None
    names = tuple(field.name for field in fields(kind))
    # attrgetter gives the value itself, not a tuple, where it is asked for one name
    values = attrgetter(*names) if len(names) > 1 else lambda value: tuple(getattr(value, name) for name in names)
    return _Fields(names, values, tuple(_key(name) for name in names), kind is Crossing)


class _Forms(dict[type[Any], _Fields | None]):
    """How values of each type are read, found once."""

    def __missing__(self, kind: type[Any]) -> _Fields | None:
        found = self[kind] = _fields(kind)
        return found


_FORMS = _Forms()


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
    if (form := _FORMS[type(value)]) is not None:
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


_LEAVES: dict[type[Any], Callable[[Any], str]] = {
    str: encode_basestring,
    Decimal: lambda value: f'"{plain(value)}"',
    type(None): lambda _: "null",
}
"""How the types that nearly every figure has are written, without a look at anything else."""


def _text(value: Any, line: str) -> str:
    """A value as text; ``line``: a new line with the indent of what holds it."""
    kind = type(value)
    if (leaf := _LEAVES.get(kind)) is not None:
        return leaf(value)
    within = line + "  "
    if (form := _FORMS[kind]) is not None:
        keys: Iterable[str] = form.keys
        values: Iterable[Any] = form.values(value)
        if form.sparse:
            keys, values = zip(*((k, v) for k, v in zip(keys, values, strict=True) if v is not None), strict=True)
    elif isinstance(value, tuple | list):
        return f"[{within}{f',{within}'.join([_text(item, within) for item in value])}{line}]" if value else "[]"
    elif isinstance(value, dict):
        keys, values = map(_key, value), value.values()
    else:
        text = _leaf(value)
        return json.dumps(value, ensure_ascii=False) if text is None else f'"{text}"'
    # the leaves once more, here: a call for each of them would take as long as the rest
    rows = [
        key + (leaf(item) if (leaf := _LEAVES.get(type(item))) is not None else _text(item, within))
        for key, item in zip(keys, values, strict=True)
    ]
    return f"{{{within}{f',{within}'.join(rows)}{line}}}" if rows else "{}"


def _key(key: Any) -> str:
    return encode_basestring(key if isinstance(key, str) else json.dumps(key)) + ": "
