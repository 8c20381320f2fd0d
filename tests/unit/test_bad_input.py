"""Bad input is refused with the right error, the right exit code and the path of what is wrong, never guessed."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import crossmargin as cm
from crossmargin.errors import AccountError, CrossmarginError, MarketDataError, ProfileError

GOOD: dict[str, Any] = {
    "profile": "binance-usdm",
    "as_of": "2026-11-20T08:00:00Z",
    "balances": {"USDT": "20000"},
    "positions": [
        {"symbol": "BTC/USDT:USDT", "quantity": "1.5", "entry_price": "60000", "leverage": "10"},
        {"symbol": "ETH/USDT:USDT", "quantity": "-3", "entry_price": "3000", "leverage": "10"},
    ],
    "market": {"mark_price": {"BTC/USDT:USDT": "61000", "ETH/USDT:USDT": "2900"}},
}

BAD, INCOMPLETE = 2, 5
"""Exit codes: a caller's mistake; prices that are missing."""


def changed(*path: Any, value: Any) -> dict[str, Any]:
    """The good file with one thing set."""
    raw = copy.deepcopy(GOOD)
    at: Any = raw
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return raw


def without(*path: Any) -> dict[str, Any]:
    """The good file with one thing left out."""
    raw = copy.deepcopy(GOOD)
    at: Any = raw
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    return raw


def judged(raw: dict[str, Any]) -> Any:
    return cm.evaluate(*cm.case_from(raw, "account.toml"))


def refused(raw: dict[str, Any], kind: type[CrossmarginError], code: int, *named: str) -> CrossmarginError:
    """The file is refused: this class, this exit code, and every one of these words in the message."""
    with pytest.raises(CrossmarginError) as caught:
        judged(raw)
    error = caught.value
    assert type(error) is kind, repr(error)
    assert error.exit_code == code
    for word in named:
        assert word in str(error), f"{word!r} is not in: {error}"
    return error


def paths(error: CrossmarginError) -> list[str]:
    return [fault.path for fault in error.faults]


def file(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def refused_file(path: str, *named: str) -> CrossmarginError:
    with pytest.raises(AccountError) as caught:
        cm.load(path)
    assert caught.value.exit_code == BAD
    for word in (path, *named):
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"
    return caught.value


def test_the_good_file_is_good():
    assert judged(GOOD).status == "healthy"


# --- names -----------------------------------------------------------------------------------------------------


def test_unknown_profile_names_the_known_ones():
    refused(changed("profile", value="no-such-venue"), ProfileError, BAD, "profile", "no-such-venue", "binance-usdm")


def test_a_profile_that_climbs_out_of_the_folder_is_unknown():
    refused(changed("profile", value="../venues/binance-usdm"), ProfileError, BAD, "../venues/binance-usdm")


@pytest.mark.parametrize(
    "symbol", ["BTCUSDT", "BTC-USDT", "btc/usdt:", "BTC/USDT:ETH", "", "BTC/USDT:USDT-2612", "A B/C:C"]
)
def test_a_symbol_that_is_none_is_refused(symbol: str):
    error = refused(changed("positions", 0, "symbol", value=symbol), AccountError, BAD)
    assert "positions[0].symbol" in paths(error)


def test_a_spot_pair_is_no_position():
    error = refused(changed("positions", 0, "symbol", value="BTC/USDT"), AccountError, BAD, "balance")
    assert "positions[0].symbol" in paths(error)


def test_a_contract_without_brackets_is_refused_and_named():
    raw = changed("positions", 0, "symbol", value="NOSUCH/USDT:USDT")
    raw["market"]["mark_price"]["NOSUCH/USDT:USDT"] = "1"
    with pytest.raises((AccountError, ProfileError)) as caught:
        judged(raw)
    assert caught.value.exit_code == BAD
    assert "NOSUCH/USDT:USDT" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (("leverge",), "leverge"),
        (("positions", 0, "entry"), "positions[0].entry"),
        (("balances", "USDT"), "balances.USDT.walet"),
        (("market", "marks"), "market.marks"),
    ],
)
def test_an_unknown_key_is_refused_with_its_path(path: tuple[Any, ...], named: str):
    value: Any = {"walet": "1"} if path == ("balances", "USDT") else "1"
    assert named in paths(refused(changed(*path, value=value), AccountError, BAD))


# --- prices ----------------------------------------------------------------------------------------------------


def test_a_missing_mark_is_named():
    raw = without("market", "mark_price", "ETH/USDT:USDT")
    assert "BTC/USDT:USDT" not in str(refused(raw, MarketDataError, INCOMPLETE, "mark_price", "ETH/USDT:USDT"))


def test_every_missing_mark_is_named():
    refused(without("market"), MarketDataError, INCOMPLETE, "mark_price", "BTC/USDT:USDT", "ETH/USDT:USDT")


def test_a_missing_index_price_is_named():
    raw = changed("profile", value="plain-cross")
    raw["balances"] = {"USDC": "1000", "BTC": "1"}
    raw["instruments"] = [
        {"symbol": p["symbol"], "brackets": [{"notional_floor": "0", "maintenance_rate": "0.01"}]}
        for p in raw["positions"]
    ]
    refused(raw, MarketDataError, INCOMPLETE, "index_price", "USDC", "BTC")


# --- dates -----------------------------------------------------------------------------------------------------


def test_a_date_before_the_first_revision_has_no_rules():
    refused(changed("as_of", value="2008-01-01T00:00:00Z"), ProfileError, BAD, "as_of", "2008-01-01")


def test_the_day_of_the_first_revision_has_rules():
    assert judged(changed("as_of", value="2020-08-14T00:00:00Z")).status == "healthy"


def test_an_absent_date_is_never_today():
    refused(without("as_of"), AccountError, BAD, "as_of")


@pytest.mark.parametrize("value", ["yesterday", "2026-13-01T00:00:00Z", "", 1732000000, 1732000000.5, True])
def test_a_date_that_is_none_is_refused(value: object):
    assert "as_of" in paths(refused(changed("as_of", value=value), AccountError, BAD))


def test_an_absent_profile_is_refused():
    refused(without("profile"), AccountError, BAD, "profile")


# --- positions -------------------------------------------------------------------------------------------------


def test_the_same_position_twice_is_refused():
    raw = copy.deepcopy(GOOD)
    raw["positions"].append(dict(raw["positions"][0], quantity="-2"))
    refused(raw, AccountError, BAD, "positions[2]", "positions[0]", "BTC/USDT:USDT")


def test_both_legs_of_a_hedge_are_no_duplicates():
    raw = copy.deepcopy(GOOD)
    leg = raw["positions"][0]
    raw["positions"] = [dict(leg, position_side="long"), dict(leg, position_side="short", quantity="-1.5")]
    assert len(judged(raw).positions) == 2


def test_an_isolated_position_needs_its_margin():
    raw = changed("positions", 0, "margin_mode", value="isolated")
    refused(raw, AccountError, BAD, "positions[0]", "isolated_margin")


def test_a_cross_position_has_no_margin_of_its_own():
    refused(changed("positions", 0, "isolated_margin", value="1"), AccountError, BAD, "positions[0]", "isolated_margin")


@pytest.mark.parametrize(("side", "quantity"), [("long", "-1"), ("short", "1")])
def test_the_sign_must_fit_the_side(side: str, quantity: str):
    raw = changed("positions", 0, "quantity", value=quantity)
    raw["positions"][0]["position_side"] = side
    refused(raw, AccountError, BAD, "positions[0]", "quantity")


def test_a_position_of_nothing_is_refused():
    assert "positions[0].quantity" in paths(refused(changed("positions", 0, "quantity", value="0"), AccountError, BAD))


@pytest.mark.parametrize("key", ["symbol", "quantity", "entry_price"])
def test_a_missing_field_is_named(key: str):
    assert f"positions[1].{key}" in paths(refused(without("positions", 1, key), AccountError, BAD, "missing"))


@pytest.mark.parametrize(("key", "value"), [("margin_mode", "portfolio"), ("position_side", "both"), ("symbol", 7)])
def test_a_word_outside_the_list_is_refused(key: str, value: object):
    assert f"positions[0].{key}" in paths(refused(changed("positions", 0, key, value=value), AccountError, BAD))


def test_every_fault_is_reported_at_once():
    raw = changed("positions", 0, "quantity", value="many")
    raw["positions"][1]["entry_price"] = "-1"
    raw["balances"]["USDC"] = "NaN"
    raw["colour"] = "red"
    found = paths(refused(raw, AccountError, BAD))
    assert {"positions[0].quantity", "positions[1].entry_price", "balances.USDC.wallet_balance", "colour"} <= set(found)


# --- an account with little in it, or very much ----------------------------------------------------------------


def test_an_empty_account_is_healthy():
    report = judged({"profile": "binance-usdm", "as_of": "2026-11-20T08:00:00Z"})
    assert (report.status, report.positions) == ("healthy", ())


def test_an_account_with_money_and_no_position_is_healthy():
    raw = without("positions")
    assert judged(raw).status == "healthy"
    assert judged(raw).pools[0].equity == 20000


def test_five_thousand_positions_are_judged():
    count = 5000
    symbols = [f"C{n}/USDT:USDT" for n in range(count)]
    raw = {
        "profile": "binance-usdm",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"USDT": "1000000"},
        "positions": [{"symbol": s, "quantity": "2", "entry_price": "10", "leverage": "5"} for s in symbols],
        "market": {"mark_price": dict.fromkeys(symbols, "11")},
        "instruments": [
            {"symbol": s, "brackets": [{"notional_floor": "0", "maintenance_rate": "0.02"}]} for s in symbols
        ],
    }
    report = judged(raw)
    assert len(report.positions) == count
    # 5,000 x 2 x (11 - 10) of profit, 5,000 x 22 x 2 % of maintenance, 5,000 x 22 / 5 of initial margin
    pool = next(pool for pool in report.pools if pool.currency == "USDT")
    assert (pool.equity, pool.maintenance_margin, pool.initial_margin) == (1010000, 2200, 22000)


# --- files -----------------------------------------------------------------------------------------------------

TOML = """
profile = "binance-usdm"
as_of = 2026-11-20T08:00:00Z
[balances]
USDT = "20000"
[[positions]]
symbol = "BTC/USDT:USDT"
quantity = "1.5"
entry_price = "60000"
leverage = 10
[market.mark_price]
"BTC/USDT:USDT" = 61000.5
"""


def test_a_toml_and_a_json_file_say_the_same(tmp_path: Path):
    raw = without("positions", 1)
    raw["positions"][0]["leverage"] = "10"
    raw["market"]["mark_price"] = {"BTC/USDT:USDT": "61000.5"}
    one = cm.evaluate(*cm.load(file(tmp_path, "a.toml", TOML)))
    two = cm.evaluate(*cm.load(file(tmp_path, "a.json", json.dumps(raw))))
    assert (one.pools, one.positions) == (two.pools, two.positions)
    assert one.positions[0].mark_price == Decimal("61000.5")


def test_no_prefix_of_a_json_file_is_accepted(tmp_path: Path):
    whole = json.dumps(GOOD)
    for cut in range(1, len(whole), 7):
        refused_file(file(tmp_path, "cut.json", whole[:cut]), "JSON")


@pytest.mark.parametrize("tail", ['quantity = "1.5', "[[positions]", "leverage =", '"BTC/USDT:USDT" = '])
def test_a_truncated_toml_file_is_refused(tmp_path: Path, tail: str):
    cut = TOML[: TOML.index(tail) + len(tail)] if tail in TOML else TOML + tail
    refused_file(file(tmp_path, "cut.toml", cut), "TOML")


def test_a_json_key_that_stands_twice_is_refused(tmp_path: Path):
    twice = json.dumps(GOOD).replace('"USDT": "20000"', '"USDT": "20000", "USDT": "1"')
    refused_file(file(tmp_path, "twice.json", twice), "USDT", "twice")


def test_a_toml_key_that_stands_twice_is_refused(tmp_path: Path):
    refused_file(file(tmp_path, "twice.toml", TOML.replace('USDT = "20000"', 'USDT = "20000"\nUSDT = "1"')), "TOML")


def test_deep_nesting_is_refused(tmp_path: Path):
    for depth in (40, 100_000):
        deep = '{"profile":' + "[" * depth + "]" * depth + "}"
        refused_file(file(tmp_path, "deep.json", deep), "nested")
    refused_file(file(tmp_path, "deep.toml", "profile = " + "[" * 40 + "]" * 40), "nested")
    refused_file(file(tmp_path, "deeper.toml", "profile = " + "[" * 100_000 + "]" * 100_000), "nested")


def test_a_huge_file_is_refused(tmp_path: Path):
    refused_file(file(tmp_path, "huge.json", b'{"id": "' + b"x" * (16 * 1024 * 1024) + b'"}'), "larger")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    refused_file(file(tmp_path, "raw.toml", b'profile = "\xff\xfe"'), "UTF-8")


@pytest.mark.parametrize("content", ["[]", '"text"', "7", "null", "", "   "])
def test_a_json_file_that_is_no_table_is_refused(tmp_path: Path, content: str):
    refused_file(file(tmp_path, "list.json", content))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    refused_file(str(tmp_path / "absent.toml"), "cannot be read")
    refused_file(str(tmp_path), "cannot be read")


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("balances", ["USDT"], "must be a table of keys and values"),
        ("positions", {"symbol": "BTC/USDT:USDT"}, "must be a list"),
        ("as_of", "soon", "must be a date and time such as 2026-11-20T08:00:00Z"),
    ],
)
def test_a_wrong_shape_is_named_in_the_words_of_a_file(key: str, value: Any, why: str):
    refused(changed(key, value=value), AccountError, BAD, f"{key}: {why}")


def test_a_change_that_does_not_say_what_it_is_lacks_its_kind():
    with pytest.raises(AccountError) as caught:
        cm.changes_from([{"kind": "deposit", "asset": "USDT", "amount": "1"}, {"coin": "BTC", "by": "-0.2"}])
    assert [(fault.path, fault.value) for fault in caught.value.faults] == [("changes[1].kind", "")]
