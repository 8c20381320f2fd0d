"""A profile's rules as flat arrays: what the compiled runner looks up instead of nouns and closures.

One row an instrument, one row an asset, one row a bracket or tier; the numbers come from
:mod:`crossmargin.engine.kinds`,
which the judge uses too. A rule that no table can hold raises :class:`UnsupportedRule` that names its slot and kind:
every
field of every slot is either known here or at its default, so a rule added tomorrow is refused and not overlooked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine import kinds
from crossmargin.engine.columns import Bytes, Codes, Floats, Reason, frozen, number
from crossmargin.errors import UnsupportedRule
from crossmargin.model.brackets import Bracket
from crossmargin.model.instrument import CASH, Symbol, parse_symbol
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.slots import Slots

SHARED, ISOLATED = 0, 1
"""The two laws of a profile: that of shared pools and that of isolated pockets."""


class Worth(IntEnum):
    """How an asset's amount is valued: at par, by one ratio, by tiers of amount or of value, at bid or ask."""

    PAR = 0
    FLAT = 1
    TIERED_BY_AMOUNT = 2
    TIERED_BY_VALUE = 3
    BID_ASK = 4


class Counted(IntEnum):
    """Which unrealized PnL counts."""

    ALL = 0
    LOSSES = 1
    NONE = 2


class Opening(IntEnum):
    """How the initial margin of a position is formed."""

    LEVERAGE = 0
    LEVERAGE_OR_BRACKET = 1
    MARGINAL = 2
    MULTIPLE = 3


_COUNTED = {"all": Counted.ALL, "losses": Counted.LOSSES, "none": Counted.NONE}
_OPENING = {
    "leverage": Opening.LEVERAGE,
    "leverage_or_bracket": Opening.LEVERAGE_OR_BRACKET,
    "marginal_brackets": Opening.MARGINAL,
    "multiple_of_maintenance": Opening.MULTIPLE,
}
_WORTH = {
    "settle_asset": Worth.PAR,
    "flat": Worth.FLAT,
    "tiered_by_amount": Worth.TIERED_BY_AMOUNT,
    "tiered_by_value": Worth.TIERED_BY_VALUE,
    "bid_ask": Worth.BID_ASK,
}

_ANY = None  # every value of the field is compiled, or changes no figure of a book
_KNOWN: Mapping[str, Mapping[str, Iterable[str] | None]] = {
    "pooling": {"kind": _ANY, "isolated": _ANY},
    "valuation": {"initial": _ANY, "maintenance": _ANY},
    "collateral": {
        "kind": _ANY,
        "unlisted": _ANY,
        "liability_ratio": _ANY,
        "liability_maintenance_rate": _ANY,
        "liability_initial_rate": _ANY,
        "liability_close_fee": _ANY,
        "debt_limit": _ANY,  # a note of the report
    },
    "equity": {"unrealized_pnl": _ANY, "weighted": _ANY, "bonus_credit": _ANY},
    # what rule for orders a book can follow is said by crossmargin.engine.orders; others give their pools a reason
    "initial_margin": {"kind": tuple(_OPENING), "scope": _ANY, "close_fee": _ANY, "orders": _ANY, "multiple": _ANY},
    "maintenance_margin": {
        "kind": ("marginal_brackets", "step_brackets", "linear_in_size", "highest_rate", "fraction_of_initial"),
        "key": _ANY,
        "scope": _ANY,
        "rate": _ANY,
        "close_fee": _ANY,
        "close_fee_rate": _ANY,
        "fraction": _ANY,
        "orders": _ANY,
    },
    "levels": {"trigger": _ANY, "ladder": _ANY},
}
"""Slot -> field -> the values that can be compiled; any other field must stand at its default."""
_SILENT = ("source", "note")
_KNOWN_ROWS = {
    "asset", "collateral_ratio", "collateral_tiers", "bid_buffer", "ask_buffer", "liability_maintenance_rate",
    "liability_initial_rate", "notional_floor", "maintenance_rate", "max_leverage", "initial_rate",
    "maintenance_deduction", "size_slope",
}  # fmt: skip
"""The same for the rows of tables: what is compiled of an asset's and a bracket's row."""


def fee_in_table(slots: Slots) -> bool:
    """Whether the fee to close at the mark is charged on what the table is applied to, and not on each position."""
    return slots.maintenance_margin.orders == "worse_side" and slots.maintenance_margin.close_fee == "mark"


_TOGETHER: tuple[tuple[str, Callable[[Slots], bool]], ...] = (
    (
        "maintenance_margin: highest_rate at entry prices",
        lambda s: s.valuation.maintenance == "entry" and s.maintenance_margin.kind == "highest_rate",
    ),
    (
        "maintenance_margin: orders = 'worse_side' with a fee to close at the mark, but not by value at the mark",
        lambda s: (
            fee_in_table(s)
            and not (
                s.maintenance_margin.key == "notional"
                and s.maintenance_margin.kind in kinds.BY_NOTIONAL
                and s.valuation.maintenance == "mark"
            )
        ),
    ),
    (
        # an inverse contract's coins, and with them its rate, are those of the present mark
        "maintenance_margin: key = 'coin'",
        lambda s: s.maintenance_margin.key == "coin",
    ),
    (
        "initial_margin: brackets where they do not count value",
        lambda s: (
            s.initial_margin.kind in ("leverage_or_bracket", "marginal_brackets")
            and (s.maintenance_margin.key != "notional" or s.maintenance_margin.kind not in kinds.BY_NOTIONAL)
        ),
    ),
)
"""Rules that are compiled alone, but not together."""


def require_compilable(rules: Rules) -> None:
    """Raise :class:`UnsupportedRule` for the first rule of a profile that no table can hold, naming slot and kind."""
    for isolated in (False, True):
        slots = rules.slots_for(isolated=isolated)
        if slots.scenarios is not None:
            raise UnsupportedRule(
                rules.profile, "scenarios: portfolio margin is not compiled for books; judge accounts"
            )
        for words, holds in _TOGETHER:
            if holds(slots):
                raise UnsupportedRule(rules.profile, f"{words} is not compiled for books; judge accounts one by one")
        for slot, known in _KNOWN.items():
            noun = getattr(slots, slot)
            for name, field in type(noun).model_fields.items():
                value = getattr(noun, name)
                allowed = known.get(name, ())
                if name in _SILENT or (name in known and (allowed is None or value in allowed)):
                    continue
                if name in known or value != field.default:
                    raise UnsupportedRule(
                        rules.profile,
                        f"{slot}: {name} = {value!r} is not compiled for books; judge accounts one by one",
                    )
    rows = [*rules.assets.values(), *(row for table in rules.brackets.values() for row in table)]
    for row in rows:
        for name, field in type(row).model_fields.items():
            if name not in _KNOWN_ROWS and getattr(row, name) != field.default:
                where = getattr(row, "asset", "brackets")
                raise UnsupportedRule(
                    rules.profile, f"{where}: {name} is not compiled for books; judge accounts one by one"
                )


class Law(NamedTuple):
    """What holds for every pool of one law; plain numbers for the kernel, ladders from mild to worst."""

    counted: int
    weighted: bool
    at_ask: bool
    multiple: float
    strict: bool
    initial_at_entry: bool
    opening: int
    initial_multiple: float
    initial_scope: int
    level_on_initial: NDArray[np.bool_]
    level_multiple: Floats


class Brackets(NamedTuple):
    """Every maintenance table, one after another: a row holds up to its ``cap``; the last cap of a table is
    infinite."""

    cap: Floats
    rate: Floats
    deduction: Floats
    initial_rate: Floats
    initial_deduction: Floats
    """NaN where none is stated."""


class Tiers(NamedTuple):
    """Every collateral table, in the same way: amount (or value) x ``ratio`` + ``credit``."""

    cap: Floats
    ratio: Floats
    credit: Floats


class Look(NamedTuple):
    """Everything that the threshold kernel looks up: prices, brackets and tiers of one moment."""

    base: Codes
    inverse: NDArray[np.bool_]
    x: Floats
    price: Floats
    bid: Floats
    ask: Floats
    first_row: Codes
    top_rate: Floats
    """Law x instrument -> the rate of the last bracket."""
    cap: Floats
    rate: Floats
    deduction: Floats
    mark_fee: Floats
    worth: Bytes
    first_tier: Codes
    tier_cap: Floats
    ratio: Floats
    credit: Floats
    liability_ratio: float
    liability_rate: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """One profile compiled for a list of instruments and assets; codes are places in those lists.

    ``assets`` holds every asset given, then the settle assets and the coins of the instruments.
    ``first_row``: law x instrument -> row of ``brackets``. ``table_of``: law x instrument -> the judge's table, for
    what is settled when a book is bound. ``bad``: law x instrument -> the :class:`Reason` why no rule holds, else 0.
    """

    rules: Rules
    unified: bool
    reference: int
    instruments: tuple[str, ...]
    assets: tuple[str, ...]
    base: Codes
    settle: Codes
    inverse: NDArray[np.bool_]
    contract_size: Floats
    taker_fee: Floats
    needs_fee: tuple[bool, bool]
    """Whether a law holds fees, so that an instrument without a taker fee has no figure."""
    contracts: tuple[Symbol | None, ...]
    """The instruments taken apart; None for what is no contract."""
    bad: Bytes
    first_row: Codes
    last_row: Codes
    brackets: Brackets
    table_of: tuple[tuple[kinds.Steps | None, ...], ...]
    size_slope: Floats
    cash: NDArray[np.bool_]
    """Whether an asset is a currency or stablecoin, which a common shock leaves where it is."""
    worth: Bytes
    counts: NDArray[np.bool_]
    listed: NDArray[np.bool_]
    first_tier: Codes
    tiers: Tiers
    liability_ratio: float
    liability_rate: Floats
    liability_initial_rate: Floats
    bid_buffer: Floats
    ask_buffer: Floats
    laws: tuple[Law, Law]
    concave: bool
    jumps: bool
    """Whether a maintenance table may jump at a floor: whole-value brackets, or deductions stated by an account
    file."""

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the ladder's levels of shared pools, mild to worst."""
        return tuple(level.name for level in self.rules.slots.levels.ladder)


def compile_rules(rules: Rules, instruments: Sequence[str], assets: Sequence[str]) -> Tables:
    """The tables of one profile for these instruments and assets.

    An instrument or asset that the profile does not know is no error here: pools that hold it get the reason. Raises
    :class:`UnsupportedRule` for a rule that cannot be compiled.
    """
    require_compilable(rules)
    with localcontext(CONTEXT):
        return _Compiler(rules, tuple(instruments), tuple(assets)).run()


class _Compiler:
    """The arrays of :class:`Tables` as they grow."""

    def __init__(self, rules: Rules, instruments: tuple[str, ...], assets: tuple[str, ...]) -> None:
        self.rules = rules
        self.instruments = instruments
        self.symbols = []
        for name in instruments:
            try:
                symbol = parse_symbol(name)
            except ValueError:
                symbol = None
            self.symbols.append(None if symbol is None or symbol.kind == "spot" else symbol)
        known = [s for s in self.symbols if s is not None]
        named = [*assets, *(s.settle for s in known), *(s.base for s in known)]
        self.assets = tuple(dict.fromkeys([*named, rules.reference_currency]))
        self.place = {name: index for index, name in enumerate(self.assets)}
        self.rows: list[tuple[float, float, float, float, float]] = []
        self.whole = True

    def run(self) -> Tables:
        rules, slots = self.rules, self.rules.slots
        table_of = tuple(
            tuple(self._table(index, rules.slots_for(isolated=bool(law))) for index in range(len(self.instruments)))
            for law in (SHARED, ISOLATED)
        )
        first_row = [
            [self._bracket_rows(law, index, steps) for index, steps in enumerate(table_of[law])] for law in (0, 1)
        ]
        ends = np.append(np.ravel(first_row), len(self.rows))[1:].astype(np.int64)
        last_row = ends.reshape(2, len(self.instruments)) - 1
        bad = [
            [self._bad(index, steps, rules.slots_for(isolated=bool(law))) for index, steps in enumerate(table_of[law])]
            for law in (0, 1)
        ]
        cap, rate, deduction, initial, above = zip(*(self.rows or [(np.inf, 0.0, 0.0, np.nan, np.nan)]), strict=True)
        unified = slots.pooling.kind == "unified"
        assets = [self._asset(name, slots, unified=unified) for name in self.assets]
        tiers: list[tuple[float, float, float]] = []
        first_tier = []
        for _, _, _, steps in assets:
            first_tier.append(len(tiers))
            tiers += zip([*steps.floors[1:], np.inf], steps.rates, steps.offsets, strict=True)
        tier_cap, ratio, credit = zip(*tiers, strict=True)
        symbols = [s or parse_symbol("X/X:X") for s in self.symbols]
        return Tables(
            rules=rules,
            unified=unified,
            reference=self.place[rules.reference_currency],
            instruments=self.instruments,
            assets=self.assets,
            base=frozen([self.place.get(s.base, 0) for s in symbols], np.int32),
            settle=frozen([self.place.get(s.settle, 0) for s in symbols], np.int32),
            inverse=frozen([s.kind == "inverse" for s in symbols], np.bool_),
            contract_size=frozen([number(rules.contract_size(n) if s else None) for n, s in self._named()]),
            taker_fee=frozen([number(rules.taker_fee(n) if s else None) for n, s in self._named()]),
            needs_fee=(_needs_fee(slots), _needs_fee(rules.slots_for(isolated=True))),
            contracts=tuple(self.symbols),
            bad=frozen(bad, np.uint8),
            first_row=frozen(first_row, np.int32),
            last_row=frozen(last_row, np.int32),
            brackets=Brackets(frozen(cap), frozen(rate), frozen(deduction), frozen(initial), frozen(above)),
            table_of=table_of,
            size_slope=frozen([number(self._slope(n), 0.0) for n in self.instruments]),
            cash=frozen([name in CASH for name in self.assets], np.bool_),
            worth=frozen([worth for worth, _, _, _ in assets], np.uint8),
            counts=frozen([counts for _, counts, _, _ in assets], np.bool_),
            listed=frozen([listed for _, _, listed, _ in assets], np.bool_),
            first_tier=frozen(first_tier, np.int32),
            tiers=Tiers(frozen(tier_cap), frozen(ratio), frozen(credit)),
            liability_ratio=float(slots.collateral.liability_ratio),
            liability_rate=frozen([self._liability(name, 0) for name in self.assets]),
            liability_initial_rate=frozen([self._liability(name, 1) for name in self.assets]),
            bid_buffer=frozen([self._buffer(name, "bid_buffer") for name in self.assets]),
            ask_buffer=frozen([self._buffer(name, "ask_buffer") for name in self.assets]),
            laws=(_law(rules, SHARED), _law(rules, ISOLATED)),
            jumps=any(self._may_jump(name) for name in self.instruments),
            concave=self.whole and kinds.is_concave(slots) and kinds.is_concave(rules.slots_for(isolated=True)),
        )

    def _named(self) -> Iterable[tuple[str, Any]]:
        return zip(self.instruments, self.symbols, strict=True)

    # instruments -------------------------------------------------------------------------------------------------

    def _slope(self, name: str) -> Decimal | None:
        table = self.rules.brackets.get(name)
        return table[0].size_slope if table else None

    def _may_jump(self, name: str) -> bool:
        kinds_used = {self.rules.slots_for(isolated=law).maintenance_margin.kind for law in (False, True)}
        table = self.rules.brackets.get(name, ())
        return "step_brackets" in kinds_used or any(b.maintenance_deduction is not None for b in table)

    def _table(self, index: int, slots: Slots) -> kinds.Steps | None:
        """The judge's maintenance table of an instrument; None where there is none to be had."""
        slot = slots.maintenance_margin
        table = self.rules.brackets.get(self.instruments[index])
        if not table or any(kinds.maintenance_rate(bracket, slot) is None for bracket in table):
            return None
        return kinds.maintenance_steps(self.instruments[index], table, slot, float)

    def _bad(self, index: int, steps: kinds.Steps | None, slots: Slots) -> int:
        name, slot = self.instruments[index], slots.maintenance_margin
        if self.symbols[index] is None or self.rules.contract_size(name) is None:
            return Reason.UNKNOWN_INSTRUMENT
        if slot.kind != "fraction_of_initial" and (steps is None or steps.floors[0] > 0):
            return Reason.NO_TABLE
        table = self.rules.brackets.get(name)
        if slots.initial_margin.kind == "marginal_brackets" and table and table[0].initial_rate is None:
            return Reason.NO_TABLE
        if _needs_fee(slots) and self.rules.taker_fee(name) is None:
            return Reason.NO_FEE
        return Reason.NONE

    def _bracket_rows(self, law: int, index: int, steps: kinds.Steps | None) -> int:
        """Append an instrument's rows. A rule that looks at no value is one row of rate 1: its charged size has it
        all."""
        slots = self.rules.slots_for(isolated=bool(law))
        slot = slots.maintenance_margin
        row = len(self.rows)
        stated, above = self._initial(index)
        by_value = slot.key == "notional" and slot.kind in kinds.BY_NOTIONAL
        if slot.kind != "fraction_of_initial" and (steps is None or steps.floors[0] > 0):
            self.rows.append((np.inf, np.nan, np.nan, np.nan, np.nan))
        elif by_value and steps is not None:
            caps = [*steps.floors[1:], np.inf]
            rates = steps.rates
            if fee_in_table(slots):  # a share of the same value in every bracket, so it is part of every rate
                taker = self.rules.taker_fee(self.instruments[index])
                fee = number(taker if slot.close_fee_rate is None else slot.close_fee_rate)
                rates = tuple(rate + fee for rate in rates)
            self.rows += zip(caps, rates, steps.offsets, stated, above, strict=True)
        else:
            self.rows.append((np.inf, 1.0, 0.0, stated[0], above[0]))
        return row

    def _initial(self, index: int) -> tuple[list[float], list[float]]:
        """(initial rate, deduction of the marginal table) of each bracket."""
        name = self.instruments[index]
        table: Sequence[Bracket] = self.rules.brackets.get(name, ())
        steps = kinds.initial_steps(name, table, float) if table else None
        rates = [number(bracket.initial_rate) for bracket in table] or [np.nan]
        return rates, [np.nan] * len(rates) if steps is None else list(steps.offsets)

    # assets ------------------------------------------------------------------------------------------------------

    def _asset(self, name: str, slots: Slots, *, unified: bool) -> tuple[Worth, bool, bool, kinds.Steps]:
        """(how it is valued, whether it counts, whether a ratio is known, its tiers)."""
        rule, slot = self.rules.assets.get(name), slots.collateral
        steps = kinds.collateral_steps(rule, float)
        if not unified:
            return Worth.PAR, True, True, kinds.collateral_steps(None, float)
        worth = _WORTH[slot.kind]
        if worth == Worth.FLAT and len(steps.rates) > 1:
            worth = Worth.TIERED_BY_AMOUNT
        if worth in (Worth.TIERED_BY_AMOUNT, Worth.TIERED_BY_VALUE) and len(steps.rates) == 1:
            worth = Worth.FLAT
        stated = rule is not None and rule.tiers is not None
        counts, listed = True, True
        if worth != Worth.BID_ASK and not stated:
            counts = slot.unlisted != "nothing"
            listed = slot.unlisted != "refuse" or name == self.rules.reference_currency
        return worth, counts, listed, steps

    def _liability(self, name: str, which: int) -> float:
        kept, opened = self.rules.liability_rates(name)
        return float(kept if which == 0 or opened is None else opened)

    def _buffer(self, name: str, which: str) -> float:
        rule = self.rules.assets.get(name)
        return number(None if rule is None else getattr(rule, which))


def _needs_fee(slots: Slots) -> bool:
    orders = slots.initial_margin.orders
    of_orders = orders is not None and (orders.open_fee or orders.close_fee)
    return slots.initial_margin.close_fee != "none" or slots.maintenance_margin.close_fee != "none" or of_orders


_SCOPES = {"per_leg": 0, "gross": 0, "net": 1, "larger_side": 2}


def _initial_scope(slots: Slots) -> str:
    """How the initial margins of two legs are added; a rule that takes the worse side with its orders does so without
    any."""
    orders = slots.initial_margin.orders
    return "larger_side" if orders is not None and orders.scope == "worse_side" else slots.initial_margin.scope


def _law(rules: Rules, law: int) -> Law:
    slots = rules.slots_for(isolated=bool(law))
    ladder = slots.levels.ladder
    return Law(
        counted=int(_COUNTED[slots.equity.unrealized_pnl]),
        weighted=slots.equity.weighted,
        at_ask=slots.collateral.kind == "bid_ask" and law == SHARED,
        multiple=float(ladder[-1].multiple),
        strict=slots.levels.trigger == "below",
        initial_at_entry=slots.valuation.initial == "entry",
        opening=int(_OPENING[slots.initial_margin.kind]),
        initial_multiple=float(slots.initial_margin.multiple or 0),
        initial_scope=_SCOPES[_initial_scope(slots)],
        level_on_initial=frozen([level.requirement == "initial" for level in ladder], np.bool_),
        level_multiple=frozen([float(level.multiple) for level in ladder]),
    )
