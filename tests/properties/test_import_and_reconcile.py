"""Import and reconcile: what is written reads back, and a verdict follows the digits that were printed."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from crossmargin.analytics.reconciliation import reconcile
from crossmargin.errors import CrossmarginError
from crossmargin.files.accounts import case_from
from crossmargin.files.payloads.reading import plain_figure
from crossmargin.files.text import parse_table
from crossmargin.files.tier_tables import read_tiers
from crossmargin.files.unified import toml_of
from crossmargin.model.reported import Reported

# equity 20,000 + (61,000 - 60,000)
CASE = {
    "profile": "plain-cross",
    "as_of": "2026-01-01T00:00:00Z",
    "balances": {"USDT": "20000"},
    "positions": [{"symbol": "BTC/USDT:USDT", "quantity": "1", "entry_price": "60000", "leverage": "10"}],
    "market": {"mark_price": {"BTC/USDT:USDT": "61000"}},
    "instruments": [
        {"symbol": "BTC/USDT:USDT", "brackets": [{"notional_floor": "0", "maintenance_rate": "0.005"}]},
    ],
}


_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@given(st.dictionaries(_NAMES, st.dictionaries(_NAMES, _NAMES, min_size=1, max_size=3), min_size=1, max_size=3))
def test_whatever_is_written_as_toml_reads_back(table: dict[str, dict[str, str]]) -> None:
    written = toml_of({"balances": table, "instruments": [{"symbol": "a", "brackets": [{"x": "1"}]}]})
    read = parse_table(written.encode(), "file", CrossmarginError, form="toml")
    assert read == {"balances": table, "instruments": [{"symbol": "a", "brackets": [{"x": "1"}]}]}


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=25))
def test_a_written_figure_is_the_number_to_18_decimals(value: Decimal) -> None:
    assert abs(Decimal(plain_figure(value)) - value) <= Decimal("5e-19")


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=6))
def test_equal_means_within_one_unit_of_the_last_digit_whatever_the_tolerance(shift: Decimal) -> None:
    value = Decimal(21000) + shift
    row = reconcile(*case_from(CASE, "test"), [Reported(figure="equity", value=value)], tolerance=Decimal(0)).figures[0]
    assert (row.verdict == "equal") == (abs(shift) <= Decimal("0.000001"))
    assert row.difference == -shift


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=8, unique=True),
    st.lists(st.integers(1, 400), min_size=8, max_size=8),
)
def test_any_rising_table_survives_the_way_through_csv(steps: list[int], rates: list[int]) -> None:
    """Floors and rates read from caps alone are those that went in."""
    caps, rising = sorted(steps), sorted(rates)
    payload = [
        {
            "contract": "BTC_USDT",
            "risk_limit": str(cap),
            "maintenance_rate": str(Decimal(rate) / 1000),
            "leverage_max": "10",
            "initial_rate": "0.5",
        }
        for cap, rate in zip(caps, rising, strict=False)
    ]
    (table,) = read_tiers(list(reversed(payload)), "answer")
    assert [tier.floor for tier in table.tiers] == [0, *caps[:-1]]
    assert [tier.rate for tier in table.tiers] == [Decimal(rate) / 1000 for rate in rising[: len(caps)]]
