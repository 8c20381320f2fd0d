"""What differs between two sets of rules?

Slots are compared field by field; tables row by row, at every floor where either has one. What a change does to an
account is :func:`crossmargin.whatif` with :class:`~crossmargin.model.change.ChangeRules`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from crossmargin.model.brackets import AssetRule, Bracket, CollateralTier
from crossmargin.model.number import plain
from crossmargin.model.profile import Rules

_PROSE = {"source", "note", "tables"}
_ZERO = Decimal(0)
_RATES = ("initial_ratio", "bid_buffer", "ask_buffer", "liability_maintenance_rate", "liability_initial_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """One field of one slot; None = the rule is not there."""

    rule: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """One figure of a table, for values above ``floor``; None = no row, or the figure is not stated."""

    table: Literal["brackets", "collateral", "contract_sizes"]
    name: str
    floor: Decimal
    figure: str
    old: Decimal | None
    new: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleDifference:
    """Two sets of rules beside each other: ``old`` and ``new`` name profile and date.

    ``slots`` and ``rows`` hold what both know and state otherwise; ``added`` and ``removed`` the instruments and assets
    that only one of them has in a table.
    """

    old: str
    new: str
    slots: tuple[RuleChange, ...]
    rows: tuple[RowChange, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]


def rule_difference(old: Rules, new: Rules) -> RuleDifference:
    """Every rule and every table row in which two sets of rules differ; sources and notes are not compared."""
    flat_old, flat_new = dict(_fields(old)), dict(_fields(new))
    slots = tuple(
        RuleChange(rule=rule, old=flat_old.get(rule), new=flat_new.get(rule))
        for rule in dict.fromkeys([*flat_old, *flat_new])
        if flat_old.get(rule) != flat_new.get(rule)
    )
    rows: list[RowChange] = []
    added: list[str] = []
    removed: list[str] = []
    for table, read in _TABLES.items():
        left, right = read(old), read(new)
        added += [name for name in right if name not in left]
        removed += [name for name in left if name not in right]
        for name in left:
            if name in right:
                rows += [RowChange(table=table, name=name, **row) for row in _row_changes(left[name], right[name])]
    return RuleDifference(
        old=f"{old.profile} of {old.since}",
        new=f"{new.profile} of {new.since}",
        slots=slots,
        rows=tuple(rows),
        added=tuple(dict.fromkeys(added)),
        removed=tuple(dict.fromkeys(removed)),
    )


def _fields(rules: Rules) -> Iterator[tuple[str, str]]:
    yield from _flat("", rules.slots.model_dump(exclude_none=True))


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """The leaves of nested rules by path; what is a list of plain words is one leaf."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in _PROSE:
                yield from _flat(f"{path}.{key}" if path else str(key), item)
    elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(v, Mapping) for v in value):
        for index, item in enumerate(value):
            yield from _flat(f"{path}[{index}]", item)
    elif isinstance(value, Decimal):
        yield path, plain(value)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield path, ", ".join(map(str, value))
    else:
        yield path, str(value).lower() if isinstance(value, bool) else str(value)


Rows = Mapping[Decimal, Mapping[str, Decimal | None]]
"""floor -> figure -> value"""


def _bracket_rows(table: Sequence[Bracket]) -> Rows:
    names = ("maintenance_rate", "initial_rate", "max_leverage", "size_slope")
    return {bracket.notional_floor: {name: getattr(bracket, name) for name in names} for bracket in table}


def _asset_rows(rule: AssetRule) -> Rows:
    tiers: Sequence[CollateralTier] = rule.tiers or ()
    rows: dict[Decimal, dict[str, Decimal | None]] = {
        tier.floor: {"collateral_ratio": tier.collateral_ratio} for tier in tiers
    }
    rows.setdefault(_ZERO, {}).update({name: getattr(rule, name) for name in _RATES})
    return rows


_TABLES: dict[Literal["brackets", "collateral", "contract_sizes"], Callable[[Rules], dict[str, Rows]]] = {
    "brackets": lambda rules: {name: _bracket_rows(table) for name, table in rules.brackets.items()},
    "collateral": lambda rules: {name: _asset_rows(rule) for name, rule in rules.assets.items()},
    "contract_sizes": lambda rules: {
        name: {_ZERO: {"contract_size": size}} for name, size in rules.contract_sizes.items()
    },
}


def _row_changes(old: Rows, new: Rows) -> Iterator[dict[str, Any]]:
    """What holds above each floor of either table, where the two differ."""
    for floor in sorted({*old, *new}):
        left, right = _in_force(old, floor), _in_force(new, floor)
        for figure in dict.fromkeys([*left, *right]):
            if left.get(figure) != right.get(figure):
                yield {"floor": floor, "figure": figure, "old": left.get(figure), "new": right.get(figure)}


def _in_force(rows: Rows, floor: Decimal) -> Mapping[str, Decimal | None]:
    below = [at for at in rows if at <= floor]
    return rows[max(below)] if below else {}
