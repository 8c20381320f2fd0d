"""Funding worked by hand, and against payments a venue really took."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import crossmargin as cm
from crossmargin.analytics.funding import FundingOutlook, Runway, funding, runway

D, F = Decimal, Fraction
PLAIN = {"notional_floor": "0", "maintenance_rate": "0.005"}


def case(profile: str = "binance-usdm", **changes: Any) -> Any:
    """10 ETH long at 3,000 with 500 of headroom: 650 in the wallet less 0.5 % of 30,000; funding at 08:00 each 8 h."""
    raw = {
        "profile": profile,
        "as_of": "2026-11-20T06:00:00Z",
        "balances": {"USDT": "650"},
        "positions": [{"symbol": "ETH/USDT:USDT", "quantity": "10", "entry_price": "3000", "leverage": "50"}],
        "market": {"mark_price": {"ETH/USDT:USDT": "3000"}, "funding_rate": {"ETH/USDT:USDT": "0.0001"}},
        "instruments": [{"symbol": "ETH/USDT:USDT", "brackets": [PLAIN]}],
    }
    return cm.case_from({**raw, **changes}, "account")


def only(found: FundingOutlook, scenario: str = "current", pool: str = "USDT") -> Runway:
    (row,) = [row for row in found.runways if (row.scenario, row.pool) == (scenario, pool)]
    return row


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# execPrice, feeRate, execValue and execFee of Bybit's funding history of 0.1 LTC long, 14-20 March 2024; the venue
# shows the rate cut to six decimals, and the fee rounded up to eight
PAYMENTS = [
    ("80.33", "-0.000881", "8.033", "-0.00708126"),
    ("77.97", "0.0001", "7.797", "0.0007797"),
    ("80.36", "-0.000293", "8.036", "-0.00236058"),
    ("79.53", "0.0001", "7.953", "0.0007953"),
    ("86.37", "-0.001472", "8.637", "-0.01272213"),
    ("82.98", "0.0001", "8.298", "0.0008298"),
    ("89.82", "0.0001", "8.982", "0.0008982"),
    ("89.54", "-0.000076", "8.954", "-0.00068346"),
    ("87.79", "-0.004926", "8.779", "-0.04325071"),
    ("89.67", "0.000138", "8.967", "0.0012422"),
]


@pytest.mark.parametrize(("price", "rate", "value", "fee"), PAYMENTS)
def test_payments_bybit_took(price: str, rate: str, value: str, fee: str):
    def paid(at_rate: D) -> Any:
        (row,) = funding(
            *cm.case_from(
                {
                    "profile": "bybit-uta",
                    "as_of": "2024-03-15T00:00:00Z",
                    "balances": {"USDT": "100"},
                    "positions": [
                        {"symbol": "LTC/USDT:USDT", "quantity": "0.1", "entry_price": "80", "leverage": "10"}
                    ],
                    "market": {
                        "mark_price": {"LTC/USDT:USDT": price},
                        "index_price": {"USDT": "1"},
                        "funding_rate": {"LTC/USDT:USDT": format(at_rate, "f")},
                    },
                    "instruments": [{"symbol": "LTC/USDT:USDT", "brackets": [PLAIN]}],
                },
                "account",
            )
        )
        return row

    row = paid(D(rate))
    assert row.notional == D(value)
    if rate == "0.0001":  # the rate is exact here: so is the payment, to the last digit
        assert row.payment == D(fee)
        return
    # elsewhere the rate shown was cut: the payment lies between those at it and at the next rate away from zero
    further = paid(D(rate) + (D("0.000001") if D(rate) > 0 else D("-0.000001"))).payment
    low, high = sorted([row.payment, further])
    assert low <= D(fee) <= high
    # and the rate that the payment implies, to ten decimals, gives it back to the last digit
    implied = (D(fee) / D(value)).quantize(D("1e-10"))
    assert paid(implied).payment.quantize(D("1e-8")) == D(fee)


def test_a_payment_by_hand():
    """30,000 x 0.0001 = 3 each 8 hours, 9 a day; a short receives it."""
    (row,) = funding(*case())
    assert (row.notional, row.payment, row.per_day, row.interval_hours) == (30000, 3, 9, 8)
    assert (row.currency, row.pool_payment) == ("USDT", 3)
    short = [{"symbol": "ETH/USDT:USDT", "quantity": "-10", "entry_price": "3000", "leverage": "50"}]
    assert funding(*case(positions=short))[0].payment == -3


def test_an_inverse_payment_is_in_coins():
    """600 contracts of 100 USD at 60,000 are 1 BTC: 0.0003 BTC each interval."""
    (row,) = funding(
        *cm.case_from(
            {
                "profile": "binance-coinm",
                "as_of": "2026-11-20T06:00:00Z",
                "balances": {"BTC": "1"},
                "positions": [{"symbol": "BTC/USD:BTC", "quantity": "600", "entry_price": "50000", "leverage": "5"}],
                "market": {
                    "mark_price": {"BTC/USD:BTC": "60000"},
                    "funding_rate": {"BTC/USD:BTC": "0.0003"},
                },
            },
            "account",
        )
    )
    assert (row.currency, row.notional, row.payment, row.per_day) == ("BTC", 1, D("0.0003"), D("0.0009"))


def test_dated_futures_pay_none_and_the_market_may_restate_the_interval():
    market = {
        "mark_price": {"ETH/USDT:USDT": "3000", "ETH/USDT:USDT-261225": "3050"},
        "funding_rate": {"ETH/USDT:USDT": "0.0001"},
        "funding_interval": {"ETH/USDT:USDT": "4"},
    }
    both = [{"symbol": s, "quantity": "1", "entry_price": "3000"} for s in ("ETH/USDT:USDT", "ETH/USDT:USDT-261225")]
    rules = [{"symbol": p["symbol"], "brackets": [PLAIN]} for p in both]
    (row,) = funding(*case(market=market, positions=both, instruments=rules))
    assert (row.symbol, row.payment, row.per_day) == ("ETH/USDT:USDT", D("0.3"), D("1.8"))


def test_hyperliquid_pays_each_hour_on_the_oracle_price():
    """10 ETH x 2,990 x 0.00001 = 0.299, whatever the mark; at the cap of 4 % an hour, 1,196."""
    raw = {
        "balances": {"USDC": "2000"},
        "positions": [{"symbol": "ETH/USDC:USDC", "quantity": "10", "entry_price": "3000", "leverage": "20"}],
        "market": {
            "mark_price": {"ETH/USDC:USDC": "3000"},
            "index_price": {"ETH": "2990"},
            "funding_rate": {"ETH/USDC:USDC": "0.00001"},
        },
        "instruments": [],
    }
    found = runway(*case("hyperliquid", **raw))
    (row,) = found.payments
    assert (row.notional, row.payment, row.per_day) == (29900, D("0.299"), D("7.176"))
    # ETH at Hyperliquid: 25x, so 2 % of 30,000 = 600 and 1,400 of headroom; two payments of 1,196 end it
    end = only(found, "cap", "USDC")
    assert end.hours is not None and abs(F(end.hours) - F(1400, 1196)) < F(1, 10**30)
    assert end.interval_end == at("2026-11-20T08:00:00")
    raw["market"].pop("index_price")
    blind = runway(*case("hyperliquid", **raw))
    assert blind.payments[0].payment is None
    assert only(blind, pool="USDC").kind == "unknown"
    assert "market.index_price.ETH is missing" in (only(blind, pool="USDC").reason or "")


def test_a_contract_may_have_a_cap_of_its_own():
    """OKX on 2026-09-25: 0.375 % for BTC-USDT, none read for ETH: 0.01 x 60,000 x 0.00375 = 2.25 an interval."""
    raw = {
        "as_of": "2026-11-20T06:00:00Z",
        "balances": {"USDT": "1000"},
        "positions": [{"symbol": "BTC/USDT:USDT", "quantity": "1", "entry_price": "60000", "leverage": "10"}],
        "market": {"mark_price": {"BTC/USDT:USDT": "60000"}, "funding_rate": {"BTC/USDT:USDT": "0.0001"}},
        "instruments": [],
    }
    assert only(runway(*case("okx-futures", **raw)), "cap").per_day == D("2.25") * 3
    other = {
        "positions": [{"symbol": "ETH/USDT:USDT", "quantity": "1", "entry_price": "3000", "leverage": "10"}],
        "market": {"mark_price": {"ETH/USDT:USDT": "3000"}, "funding_rate": {"ETH/USDT:USDT": "0.0001"}},
        "instruments": [{"symbol": "ETH/USDT:USDT", "contract_size": "0.1", "brackets": [PLAIN]}],
    }
    found = runway(*case("okx-futures", **{**raw, **other}))
    assert {row.scenario for row in found.runways} == {"current"}
    both = {
        **raw,
        "positions": raw["positions"] + other["positions"],
        "market": {kind: raw["market"][kind] | other["market"][kind] for kind in raw["market"]},
        "instruments": other["instruments"],
    }
    found = runway(*case("okx-futures", **both))
    assert {row.scenario for row in found.runways} == {"current", "cap where known"}
    part = only(found, "cap where known")
    assert part.per_day == (D("2.25") + D("0.03")) * 3  # ETH pays its present 0.1 x 3,000 x 0.0001, which may rise
    assert part.kind == "time"
    assert "no cap of ETH/USDT:USDT is known" in (part.reason or "")
    both["market"]["funding_rate"].pop("ETH/USDT:USDT")
    blind = only(runway(*case("okx-futures", **both)), "cap where known")
    assert blind.kind == "unknown"
    assert "the funding rate of ETH/USDT:USDT is missing" in (blind.reason or "")


def test_runway_by_hand():
    """500 of headroom at 3 a payment: gone in 500 / 3 intervals if it flowed; after the 167th payment really.

    The first payment is at 08:00, the 167th 166 intervals later: 55 days and 8 hours, 14 January 2027 16:00.
    """
    row = only(runway(*case()))
    assert row.kind == "time" and row.per_day == 9
    assert row.hours is not None and abs(F(row.hours) - F(4000, 3)) < F(1, 10**30)
    assert row.at == at("2027-01-14T19:20:00")  # 1,333 h 20 min after 20 November 06:00
    assert row.interval_end == at("2027-01-14T16:00:00")


def test_a_payment_that_leaves_exactly_nothing_ends_it():
    """501 / 3 = 167 payments leave 0: the 167th is the end, not the one after."""
    assert only(runway(*case(balances={"USDT": "651"}))).interval_end == at("2027-01-14T16:00:00")
    assert only(runway(*case(balances={"USDT": "651.01"}))).interval_end == at("2027-01-15T00:00:00")


def test_never_already_unknown():
    short = [{"symbol": "ETH/USDT:USDT", "quantity": "-10", "entry_price": "3000", "leverage": "50"}]
    assert only(runway(*case(positions=short))).kind == "never"
    flat = {"mark_price": {"ETH/USDT:USDT": "3000"}, "funding_rate": {"ETH/USDT:USDT": "0"}}
    assert only(runway(*case(market=flat))).kind == "never"
    assert only(runway(*case(balances={"USDT": "150"}))).kind == "already"
    dark = only(runway(*case(market={"mark_price": {"ETH/USDT:USDT": "3000"}})))
    assert (dark.kind, dark.reason) == ("unknown", "the funding rate of ETH/USDT:USDT is missing")
    assert dark.per_day is None


def test_an_isolated_pocket_pays_from_its_own_margin():
    """30,000 x 0.5 % = 150 of 210: 60 left, 20 payments of 3; the wallet of 650 does not help and does not pay."""
    pocket = [
        {
            "symbol": "ETH/USDT:USDT",
            "quantity": "10",
            "entry_price": "3000",
            "leverage": "50",
            "margin_mode": "isolated",
            "isolated_margin": "210",
        }
    ]
    found = runway(*case(positions=pocket))
    row = only(found, pool="ETH/USDT:USDT isolated")
    assert row.hours == 160 and row.interval_end == at("2026-11-26T16:00:00")  # the 20th: 19 x 8 h after 20 Nov 08:00
    assert only(found).kind == "never"


def test_two_intervals_in_one_pool():
    """ETH pays 3 each 8 hours and SOL 1 each hour: 11 each 8 hours.

    45 cycles of 8 hours take 495 of the 500; the last 5 are SOL's of the five hours after. The account stands at 08:00,
    so cycles end at 16:00, 00:00 and 08:00.
    """
    two = [
        {"symbol": "ETH/USDT:USDT", "quantity": "10", "entry_price": "3000", "leverage": "50"},
        {"symbol": "SOL/USDT:USDT", "quantity": "100", "entry_price": "100", "leverage": "50"},
    ]
    market = {
        "mark_price": {"ETH/USDT:USDT": "3000", "SOL/USDT:USDT": "100"},
        "funding_rate": {"ETH/USDT:USDT": "0.0001", "SOL/USDT:USDT": "0.0001"},
        "funding_interval": {"SOL/USDT:USDT": "1"},
    }
    rules = [{"symbol": p["symbol"], "brackets": [PLAIN]} for p in two]
    row = only(
        runway(
            *case(
                as_of="2026-11-20T08:00:00Z", balances={"USDT": "700"}, positions=two, market=market, instruments=rules
            )
        )
    )
    # headroom 700 - 150 - 50 = 500; 3 / 8 + 1 = 1.375 an hour
    assert row.hours is not None and abs(F(row.hours) - F(500) / F("1.375")) < F(1, 10**30)
    # 45 cycles are 360 hours, to 5 December 08:00, and 5 hours more
    assert row.interval_end == at("2026-12-05T13:00:00")


def test_a_pool_that_earns_as_much_as_it_pays_can_still_break_between():
    """Pays 600 each hour, receives 4,800 each 8 hours, 3,000 of headroom: the fifth payment ends it."""
    two = [
        {"symbol": "ETH/USDT:USDT", "quantity": "-160", "entry_price": "3000", "leverage": "50"},
        {"symbol": "SOL/USDT:USDT", "quantity": "600", "entry_price": "100", "leverage": "50"},
    ]
    market = {
        "mark_price": {"ETH/USDT:USDT": "3000", "SOL/USDT:USDT": "100"},
        "funding_rate": {"ETH/USDT:USDT": "0.01", "SOL/USDT:USDT": "0.01"},
        "funding_interval": {"SOL/USDT:USDT": "1"},
    }
    rules = [{"symbol": p["symbol"], "brackets": [PLAIN]} for p in two]
    # 480,000 x 0.5 % + 60,000 x 0.5 % = 2,700
    row = only(
        runway(
            *case(
                as_of="2026-11-20T08:00:00Z", balances={"USDT": "5700"}, positions=two, market=market, instruments=rules
            )
        )
    )
    assert (row.kind, row.hours, row.interval_end) == ("time", None, at("2026-11-20T13:00:00"))


def test_quantiles_of_a_history_are_adverse_for_the_side():
    """Ten rates 1..10 bp: 90 % of a long's payments were 9 bp or less, 90 % of what a short received 2 bp or more."""
    past = {"ETH/USDT:USDT": [D(k).scaleb(-4) for k in (3, 1, 2, 10, 9, 8, 4, 5, 7, 6)]}
    asked = {"history": past, "quantiles": [D("0.9")]}
    assert only(runway(*case(), **asked), "quantile 0.9").per_day == 81  # 30,000 x 9 bp x 3
    short = [{"symbol": "ETH/USDT:USDT", "quantity": "-10", "entry_price": "3000", "leverage": "50"}]
    assert only(runway(*case(positions=short), **asked), "quantile 0.9").per_day == -18
    other = runway(*case(), history={"BTC/USDT:USDT": [D(0)]}, quantiles=[D("0.9")])
    assert only(other, "quantile 0.9").kind == "unknown"


def test_what_was_paid_so_far_moved_the_threshold():
    """T = (30,000 - W) / (10 x 0.995): 65 paid moves it up by 65 / 9.95."""
    found = runway(*case(), paid={"USDT": D(65)})
    below = next(row for row in found.moved_thresholds if row.side == "below")
    assert below.now.price is not None and below.moved is not None
    assert abs(F(below.now.price) - F(29350) / F("9.95")) < F(1, 10**30)
    assert abs(F(below.moved) - F(65) / F("9.95")) < F(1, 10**30)
    above = next(row for row in found.moved_thresholds if row.side == "above")
    assert (above.now.kind, above.moved) == ("never", None)


def test_an_asset_held_only_because_of_funding_has_no_threshold_to_compare():
    """All the USDC there is came in as funding: without it USDC had no price that matters."""
    found = runway(
        *case(
            "bybit-uta",
            balances={"USDT": "1000", "USDC": "5"},
            market={
                "mark_price": {"ETH/USDT:USDT": "3000"},
                "index_price": {"USDT": "1", "USDC": "1"},
                "funding_rate": {"ETH/USDT:USDT": "0.0001"},
            },
        ),
        paid={"USDC": D(-5)},
    )
    assert {row.symbol for row in found.moved_thresholds} == {"ETH/USDT:USDT", "USDT"}


def test_bad_questions():
    with pytest.raises(cm.AccountError, match="quantiles: must be a fraction"):
        runway(*case(), quantiles=[D(90)])
    with pytest.raises(cm.AccountError, match=r"history.ETH/USDT:USDT\[1\]: must be a fraction from -1 to 1"):
        runway(*case(), history={"ETH/USDT:USDT": [D(0), D(5)]})
    with pytest.raises(cm.AccountError, match=r"paid.XRP: is not held here; use USDT"):
        runway(*case(), paid={"XRP": D(1)})
