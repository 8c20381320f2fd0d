"""INV-19 and FLT-04: every numeric field of the account file has bounds, and refuses what is no plain decimal.

The fields are read from the schema, so a new field without a row in ``BOUNDS`` fails here.
"""

from __future__ import annotations

import copy
import json
import math
import types
import typing
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import crossmargin as cm
from crossmargin.errors import AccountError
from crossmargin.files.accounts import AccountFile

Steps = tuple[str | int, ...]

SAMPLE: dict[str, Any] = {
    "profile": "plain-cross",
    "as_of": "2026-11-20T08:00:00Z",
    "balances": {
        "USDT": {"wallet_balance": "2000", "bonus_credit": "5", "accrued_interest": "1", "locked": "10"},
        "BTC": "0.5",
    },
    "positions": [
        {"symbol": "BTC/USDT:USDT", "quantity": "1.5", "entry_price": "60000", "leverage": "10"},
        {
            "symbol": "ETH/USDT:USDT", "quantity": "-3", "entry_price": "3000", "leverage": "10",
            "margin_mode": "isolated", "isolated_margin": "900",
        },
    ],
    "open_orders": [{"symbol": "BTC/USDT:USDT", "quantity": "0.1", "price": "59000", "leverage": "10"}],
    "market": {
        "mark_price": {"BTC/USDT:USDT": "61000", "ETH/USDT:USDT": "2900"},
        "index_price": {"BTC": "61010", "SOL": "200"},
        "last_price": {"BTC/USDT:USDT": "61001"},
        "bid_rate": {"BTC": "60000"},
        "ask_rate": {"BTC": "62000"},
        "funding_rate": {"BTC/USDT:USDT": "0.0001"},
        "funding_interval": {"BTC/USDT:USDT": "8"},
    },
    "instruments": [
        {
            "symbol": "BTC/USDT:USDT", "contract_size": "1", "taker_fee": "0.0005",
            "brackets": [
                {
                    "notional_floor": "0", "maintenance_rate": "0.004", "max_leverage": "125", "initial_rate": "0.008",
                    "maintenance_deduction": "0", "size_slope": "0", "known_to": "100000000",
                }
            ],
        },
        {"symbol": "ETH/USDT:USDT", "brackets": [{"notional_floor": "0", "maintenance_rate": "0.004"}]},
    ],
    "assets": [
        {
            "asset": "BTC", "collateral_ratio": "0.9", "bid_buffer": "0.05", "ask_buffer": "0.05",
            "initial_ratio": "0.8", "liability_maintenance_rate": "0.1", "liability_initial_rate": "0.2",
            "known_to": "100000000",
        },
        {
            "asset": "ETH", "collateral_tiers": [{"floor": "0", "collateral_ratio": "0.9"}],
            "liability_tiers": [{"floor": "0", "maintenance_rate": "0.1", "initial_rate": "0.2"}],
        },
    ],
    "pockets": [
        {
            "symbol": "SOL/USDT", "leverage": "3",
            "balances": {
                "USDT": {"wallet_balance": "300", "bonus_credit": "0", "accrued_interest": "0", "locked": "0"},
                "SOL": "-1",
            },
        }
    ],
    "funding_payments": [
        {
            "time": "2026-11-20T00:00:00Z", "payment": "9", "symbol": "BTC/USDT:USDT", "quantity": "1.5",
            "price": "60000", "notional": "90000", "funding_rate": "0.0001",
        },
        {"time": "2026-11-20T08:00:00Z", "payment": "9", "fee_rate": "0.0001"},
    ],
}  # fmt: skip
"""A valid account file in which every numeric field stands."""

ANY, NOT_ZERO, NOT_NEGATIVE, POSITIVE = "any number", "not 0", "0 or more", "above 0"
SHARE, SIGNED_SHARE, LEVERAGE = "from 0 to 1", "from -1 to 1", "from 1 to 1000"
OUTSIDE = {
    ANY: (),
    NOT_ZERO: ("0", "-0", "0.0"),
    NOT_NEGATIVE: ("-1", "-0.000000000000000001"),
    POSITIVE: ("0", "-0", "0.000", "-1"),
    SHARE: ("-0.000000000000000001", "1.000000000000000001", "5"),
    SIGNED_SHARE: ("-1.000000000000000001", "1.000000000000000001"),
    LEVERAGE: ("0", "-1", "0.999999999999999999", "1000.000000000000000001"),
}
BOUNDS = {
    "balances.*.wallet_balance": ANY,
    "balances.*.bonus_credit": NOT_NEGATIVE,
    "balances.*.accrued_interest": NOT_NEGATIVE,
    "balances.*.locked": NOT_NEGATIVE,
    "positions[].quantity": NOT_ZERO,
    "positions[].entry_price": POSITIVE,
    "positions[].leverage": LEVERAGE,
    "positions[].isolated_margin": NOT_NEGATIVE,
    "open_orders[].quantity": NOT_ZERO,
    "open_orders[].price": POSITIVE,
    "open_orders[].leverage": LEVERAGE,
    "market.mark_price.*": POSITIVE,
    "market.index_price.*": POSITIVE,
    "market.last_price.*": POSITIVE,
    "market.bid_rate.*": POSITIVE,
    "market.ask_rate.*": POSITIVE,
    "market.funding_rate.*": SIGNED_SHARE,
    "market.funding_interval.*": POSITIVE,
    "instruments[].contract_size": POSITIVE,
    "instruments[].taker_fee": SHARE,
    "instruments[].brackets[].notional_floor": NOT_NEGATIVE,
    "instruments[].brackets[].maintenance_rate": SHARE,
    "instruments[].brackets[].max_leverage": LEVERAGE,
    "instruments[].brackets[].initial_rate": SHARE,
    "instruments[].brackets[].maintenance_deduction": NOT_NEGATIVE,
    "instruments[].brackets[].size_slope": SHARE,
    "assets[].collateral_ratio": SHARE,
    "assets[].collateral_tiers[].floor": NOT_NEGATIVE,
    "assets[].collateral_tiers[].collateral_ratio": SHARE,
    "assets[].bid_buffer": SHARE,
    "assets[].ask_buffer": SHARE,
    "assets[].initial_ratio": SHARE,
    "assets[].liability_maintenance_rate": SHARE,
    "assets[].liability_initial_rate": SHARE,
    "assets[].liability_tiers[].floor": NOT_NEGATIVE,
    "assets[].liability_tiers[].maintenance_rate": SHARE,
    "assets[].liability_tiers[].initial_rate": SHARE,
    "assets[].known_to": POSITIVE,
    "instruments[].brackets[].known_to": POSITIVE,
    "pockets[].balances.*.wallet_balance": ANY,
    "pockets[].balances.*.bonus_credit": NOT_NEGATIVE,
    "pockets[].balances.*.accrued_interest": NOT_NEGATIVE,
    "pockets[].balances.*.locked": NOT_NEGATIVE,
    "pockets[].leverage": LEVERAGE,
    "funding_payments[].payment": ANY,
    "funding_payments[].quantity": ANY,
    "funding_payments[].price": POSITIVE,
    "funding_payments[].notional": NOT_NEGATIVE,
    "funding_payments[].funding_rate": SIGNED_SHARE,
    "funding_payments[].fee_rate": SIGNED_SHARE,
}
"""What each numeric field may be, as the account file is documented."""

NO_NUMBER = (
    "", " ", " 1 ", "1 ", "1\n", "\t1", "NaN", "nan", "sNaN", "Infinity", "-Infinity", "inf", "1e400", "1E+1000000000",
    "1e-400", "1e2", "1_000", "1,000", "0x10", "0b1", "0o7", "+1", "--1", "-", "01", "-01", "00", "1.", ".5", "-.5",
    "1..2",
    "1.2.3", "٣", "١٢٣", "１", "1٫5", "½", "²", "Ⅷ", "−1", "1\u200b", "1\x00", "one", "1/2", "1 000", "$1", "100%",
    "1" + 20 * "0", "0." + 18 * "0" + "1", "9" * 5000,
)  # fmt: skip
"""Texts that are no plain decimal: at most 20 digits before the point and 18 after it, ASCII, no exponent."""

NO_VALUE: tuple[Any, ...] = (
    math.nan, math.inf, -math.inf, 1.0, 0.1, 1e400, True, False, [], ["1"], {}, {"value": "1"}, (), b"1", 1 + 0j,
    10**20,
    Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1E+1000000000"), Decimal("1E-1000000000"),
)  # fmt: skip
"""Python values that are no exact decimal within bounds."""

TOML_LITERALS = (
    "nan",
    "+nan",
    "inf",
    "-inf",
    "1e400",
    "1E+1000000000",
    "1e-400",
    "1e2",
    "1_000.5",
    "true",
    "[]",
    "[1]",
    "{}",
)
JSON_LITERALS = ("NaN", "Infinity", "-Infinity", "1e400", "1E+1000000000", "1e-400", "1e2", "true", "[]", "[1]", "{}")


# --- the fields ------------------------------------------------------------------------------------------------


def inner(hint: Any) -> list[Any]:
    """A type hint without its Annotated metadata and without None: the alternatives that are left."""
    if typing.get_origin(hint) is typing.Annotated:
        return inner(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [one for part in typing.get_args(hint) for one in inner(part)]
    return [] if hint is type(None) else [hint]


def numeric(hint: Any, path: str) -> Iterator[str]:
    """The paths of every number below a type hint."""
    for kind in inner(hint):
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if kind in (Decimal, int, float):
            yield path
        elif origin is dict:
            yield from numeric(arguments[1], f"{path}.*")
        elif origin in (tuple, list):
            yield from numeric(arguments[0], f"{path}[]")
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, field in kind.model_fields.items():
                yield from numeric(field.annotation, f"{path}.{name}" if path else name)


def places(value: Any, steps: Steps = ()) -> Iterator[Steps]:
    """Every leaf of the sample."""
    if isinstance(value, dict | list):
        for step, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*steps, step))
    else:
        yield steps


NAMED = {("balances", 1), ("market", 2), ("pockets", 3)}
"""Where a step is a name that the user gives, not one of ours."""


def pattern(steps: Steps) -> str:
    """The path of the schema that a place in the sample belongs to."""
    text = ""
    for depth, step in enumerate(steps):
        if isinstance(step, int):
            text += "[]"
        else:
            text += ("." if text else "") + ("*" if (steps[0], depth) in NAMED else step)
    return text


def written(steps: Steps) -> str:
    """The path as an error names it."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def changed(steps: Steps, value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(SAMPLE)
    at: Any = raw
    for step in steps[:-1]:
        at = at[step]
    at[steps[-1]] = value
    return raw


FIELDS = sorted(set(numeric(AccountFile, "")))
PLACES = {pattern(steps): steps for steps in places(SAMPLE)}


def test_every_numeric_field_has_bounds_and_stands_in_the_sample():
    assert sorted(BOUNDS) == FIELDS
    assert set(FIELDS) <= set(PLACES)


def test_the_sample_is_valid_in_every_form(tmp_path: Path):
    sample = {**SAMPLE, "pockets": []}  # the textbook rules lend nothing
    reports = [cm.evaluate(*cm.case_from(sample, "sample"))]
    for name, content in (("a.toml", toml(sample)), ("a.json", json.dumps(sample))):
        (tmp_path / name).write_text(content)
        reports.append(cm.evaluate(*cm.load(str(tmp_path / name))))
    assert reports[0] == reports[1] == reports[2]


# --- refusals --------------------------------------------------------------------------------------------------


class Literal(str):
    """Text that stands in a file as it is, without quotes."""


def toml(value: Any) -> str:
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, dict):
        items = [f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()]
        return "\n".join(items) if value.get("as_of") else "{" + ", ".join(items) + "}"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


def as_json(steps: Steps, literal: str) -> str:
    """The sample as JSON with a literal at one place."""
    return json.dumps(changed(steps, "@here@")).replace('"@here@"', literal)


def refused(steps: Steps, value: object, read: Callable[[], object]) -> None:
    path = written(steps)
    with pytest.raises(AccountError) as caught:
        read()
    error = caught.value
    assert error.exit_code == 2
    named = [fault.path for fault in error.faults]
    assert any(name == path or name.startswith(f"{path}.") for name in named), f"{value!r} at {path}: {error}"
    assert path in str(error)
    assert len(str(error)) < 5000, "the message repeats the whole value"


@pytest.mark.parametrize("field", FIELDS)
def test_texts_and_values_are_refused(field: str):
    steps = PLACES[field]
    for value in (*NO_NUMBER, *NO_VALUE, *OUTSIDE[BOUNDS[field]]):
        refused(steps, value, lambda v=value: cm.case_from(changed(steps, v), "account"))


@pytest.mark.parametrize("field", FIELDS)
def test_texts_and_literals_of_a_toml_file_are_refused(field: str, tmp_path: Path):
    steps, path = PLACES[field], tmp_path / "account.toml"
    for value in (*NO_NUMBER, *map(Literal, TOML_LITERALS), *OUTSIDE[BOUNDS[field]]):
        path.write_text(toml(changed(steps, value)))
        refused(steps, value, lambda: cm.load(str(path)))


@pytest.mark.parametrize("field", FIELDS)
def test_texts_and_literals_of_a_json_file_are_refused(field: str, tmp_path: Path):
    steps, path = PLACES[field], tmp_path / "account.json"
    texts = [json.dumps(value) for value in (*NO_NUMBER, *OUTSIDE[BOUNDS[field]])]
    for literal in (*texts, *JSON_LITERALS):
        path.write_text(as_json(steps, literal))
        refused(steps, literal, lambda: cm.load(str(path)))


OPTIONAL = {
    "positions[].leverage", "positions[].isolated_margin", "open_orders[].leverage", "instruments[].contract_size",
    "instruments[].taker_fee", "instruments[].brackets[].maintenance_rate", "instruments[].brackets[].max_leverage",
    "instruments[].brackets[].initial_rate", "instruments[].brackets[].maintenance_deduction",
    "instruments[].brackets[].size_slope", "assets[].collateral_ratio", "assets[].bid_buffer", "assets[].ask_buffer",
    "assets[].initial_ratio", "assets[].liability_maintenance_rate", "assets[].liability_initial_rate",
    "assets[].liability_tiers[].initial_rate", "assets[].known_to", "instruments[].brackets[].known_to",
    "pockets[].leverage", "funding_payments[].quantity", "funding_payments[].price", "funding_payments[].notional",
    "funding_payments[].funding_rate", "funding_payments[].fee_rate",
}  # fmt: skip
"""Fields that may be absent without a default: null says absent, and never 0."""


@pytest.mark.parametrize("field", FIELDS)
def test_null_is_refused_or_means_absent(field: str):
    steps = PLACES[field]
    raw = changed(steps, None)
    if field not in OPTIONAL:
        refused(steps, None, lambda: cm.case_from(raw, "account"))
        return
    absent = changed(steps, "1")
    at: Any = absent
    for step in steps[:-1]:
        at = at[step]
    del at[steps[-1]]
    assert outcome(raw) == outcome(absent)


def outcome(raw: dict[str, Any]) -> Any:
    try:
        return cm.case_from(raw, "account")
    except AccountError as error:
        return [(fault.path, fault.why) for fault in error.faults]


def test_the_short_form_of_a_balance_refuses_the_same():
    for value in (*NO_NUMBER, *(v for v in NO_VALUE if not isinstance(v, dict)), None):
        steps: Steps = ("balances", "BTC")
        refused(steps, value, lambda v=value: cm.case_from(changed(steps, v), "account"))


ACCEPTED = {
    ANY: ("0", "-99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"),
    NOT_ZERO: ("-0.000000000000000001", "99999999999999999999"),
    NOT_NEGATIVE: ("0", "0.000000000000000001", "99999999999999999999.999999999999999999"),
    POSITIVE: ("0.000000000000000001", "99999999999999999999.999999999999999999"),
    SHARE: ("0", "1", "0.000000000000000001"),
    SIGNED_SHARE: ("-1", "0", "1"),
    LEVERAGE: ("1", "1000", "1.28"),
}
"""Both ends of every bound are inside."""
ONLY = {
    "assets[].collateral_tiers[].floor": ("0",),
    "assets[].liability_tiers[].floor": ("0",),
    "assets[].liability_tiers[].maintenance_rate": ("0", "0.2"),
    "assets[].liability_tiers[].initial_rate": ("0.1", "1"),
}
"""The one tier of the sample must start at 0, or what is below has no rate; to open holds no less than to stay."""


@pytest.mark.parametrize("field", FIELDS)
def test_both_ends_of_the_bounds_are_accepted_and_read_exactly(field: str):
    steps = PLACES[field]
    for value in ONLY.get(field, ACCEPTED[BOUNDS[field]]):
        found: Any = AccountFile.model_validate(changed(steps, value))
        for step in steps:
            found = found[step] if isinstance(step, int) or isinstance(found, dict) else getattr(found, step)
        assert format(found, "f") == value
