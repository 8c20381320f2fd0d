"""The order of a plan's steps: what a venue admits only once there is room, what ends bonus credit, what is in transit.

Every figure is worked out in the test's own words.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import crossmargin as cm
from allocating import BTC, ETH, D, done, member, slack
from crossmargin.analytics.allocation import allocate, outline
from crossmargin.analytics.allocation_settings import starts
from crossmargin.apps.orders import order_list
from crossmargin.errors import AccountError, UnsupportedRule
from crossmargin.model.fund import (
    Conversion,
    Fund,
    FundOrder,
    Ladder,
    ModeChoice,
    Objective,
    Pocket,
    Route,
    Safety,
)

TABLE = [
    {"notional_floor": "0", "maintenance_rate": "0.005", "max_leverage": "50"},
    {"notional_floor": "100000", "maintenance_rate": "0.02", "max_leverage": "20"},
]


def way(source: str, target: str, asset: str = "USDT", **more: Any) -> Route:
    return Route(**{"from": source, "to": target, "asset": asset, **more})


def moving(*steps: str, **more: Any) -> Safety:
    return Safety(ladders=(Ladder(steps=tuple(map(D, steps))),), **more)


def near(value: Decimal | None, expected: Decimal | str, within: str = "0.001") -> bool:
    return value is not None and abs(value - D(expected)) < D(within)


def held(*positions: tuple[str, str, str, str], **more: str) -> dict[str, Any]:
    """Positions by symbol, quantity, entry price and leverage, in a market of BTC at 88,000 and ETH at 3,000."""
    names = ("symbol", "quantity", "entry_price", "leverage")
    return {
        "positions": [{**dict(zip(names, position, strict=True)), **more} for position in positions],
        "market": {"mark_price": {BTC: "88000", ETH: "3000"}, "index_price": {"BTC": "88000"}},
        "instruments": [{"symbol": s, "taker_fee": "0.0005", "brackets": TABLE} for s in (BTC, ETH)],
    }


# room -----------------------------------------------------------------------------------------------------------------


def test_what_lacks_room_is_not_sold_at_a_loss_before_money_arrives() -> None:
    """It holds 6,633 in all; the two shorts need 6,072 + 11,673 and ETH has won 4,669.2: 6,442.8 are missing.

    Closing BTC costs 30.36 and frees 6,072; so 401.16 are missing still, and USDT sold for BTC at a loss of 0.1 % would
    be refused, until the 20,000 arrive. Then 25,458.64 go into BTC, which rises while ETH loses: at +12 % they are
    28,485.2 and the BTC before 1,281.28, ETH has lost 9,338.4 and needs 2 % of 130,737.6 less 1,500.
    """
    books = held((BTC, "-0.69", "88000", "10"), (ETH, "-38.91", "3120", "10"))
    fund = Fund(
        currency="USDT",
        members=(member("a", "5489", btc="0.013", ratio="1", **books),),
        routes=(way("outside", "a", maximum="20000"), way("a", "outside")),
        conversions=(Conversion(account="a", sell="USDT", buy="BTC", spread="0.001"),),
        orders=(FundOrder(account="a", symbol=BTC, side="buy"),),
        safety=moving("0.12"),
        objective=Objective(kind="largest_headroom"),
    )
    plan = allocate(fund)
    coins = D("25458.64") * D("0.999") / 88000 + D("0.013")
    assert near(plan.headroom, coins * 98560 - D("9338.4") - (D("130737.6") / 50 - 1500))
    assert plan.gap < D("0.001")
    assert [move.phase for move in plan.moves if move.kind == "convert"] == ["receive"]
    assert near(slack(done(fund, plan)["a"], {"BTC": D("0.12"), "ETH": D("0.12")}), plan.headroom or 0)


@pytest.mark.parametrize(("most", "cost"), [("0.4", "139.964"), ("1", None)])
def test_what_closes_is_paid_by_a_sale_only_where_that_brings_room_back(most: str, cost: str | None) -> None:
    """0.05 BTC, no USDT, and 8,800 are needed where 4,400 are: the fee to close c is 44 c USDT, for which BTC is sold.

    At a loss, so before 4,400 - 44.044 c >= 8,800 (1 - c) that is refused; 0.4 are too few and nothing is closed. At
    -20 % the 4,400 less 17,600 must be 352: sold for 4,395.6 once money is there, they leave 13,556.4 to bring at 1 %;
    with the 4.4 that the sale loses that is 139.964. Where c may be 1 nothing comes from outside.
    """
    one = member("a", "0", "1", btc="0.05", ratio="1", brackets=TABLE)
    fund = Fund(
        currency="USDT",
        members=(one,),
        routes=(way("outside", "a", cost="0.01"), way("a", "outside")),
        conversions=(Conversion(account="a", sell="BTC", buy="USDT", spread="0.001"),),
        orders=(FundOrder(account="a", symbol=BTC, side="sell", maximum=most),),
        safety=moving("-0.2"),
    )
    plan = allocate(fund)
    assert plan.gap < D("0.001")
    if cost is not None:
        assert near(plan.cost, cost)
        assert {(move.kind, move.phase) for move in plan.moves} == {("send", "receive"), ("convert", "receive")}
    else:
        # 3,520 - 35.2352 c, a contract that is left loses 17,600 and needs 352: all but 0.1943 of it is closed
        closed = (D(17952) - 3520) / (17952 - D("35.2352"))
        assert near(plan.cost, 44 * closed + D("44") / D("0.999") * D("0.001") * closed, "0.05")
        assert {move.kind for move in plan.moves} == {"close", "convert"}


def test_a_contract_is_opened_one_way_or_the_other_and_never_both() -> None:
    """10,000 at 10 x carry 10,000 / 8,844 contracts either way; both at once would cancel out."""
    one = member("a", "10000")
    order = FundOrder(account="a", symbol=BTC, side="both", leverage="10")
    plan = allocate(
        Fund(currency="USDT", members=(one,), orders=(order,), objective=Objective(kind="largest_position"))
    )
    assert near(plan.position, D(10000) / 8844 * 88000)
    assert len(plan.moves) == 1
    assert plan.gap < D("0.001")


def test_a_wallet_that_goes_into_two_pockets_is_not_overdrawn_by_rounding() -> None:
    """Halves of 10.00000003 end in half a quantum; rounded to the even one both would come to a quantum too much."""
    books = held((BTC, "0.1", "88000", "10"), (ETH, "3", "3000", "10"), margin_mode="isolated", isolated_margin="2000")
    books["market"] = {"mark_price": {BTC: "88000", ETH: "2933.333333333333333333"}, "index_price": {}}
    one = member("a", "10.00000003", profile="plain-isolated", assets=[], **books)
    pockets = tuple(Pocket(account="a", symbol=symbol) for symbol in (BTC, ETH))
    fund = Fund(currency="USDT", members=(one,), pockets=pockets, objective=Objective(kind="largest_headroom"))
    plan = allocate(fund)
    assert plan.gap < D("0.000001")
    assert done(fund, plan)["a"].account.balances["USDT"].wallet_balance >= 0


def test_settings_are_changed_in_an_order_that_the_venue_admits() -> None:
    """3,000 lie idle in the pocket of BTC; made cross first, they are there for the pocket of ETH, stated first."""
    books = held((ETH, "-20", "3000", "10"))
    pocket = {"symbol": BTC, "quantity": "0.1", "entry_price": "88000", "leverage": "10", "margin_mode": "isolated"}
    books["positions"].append({**pocket, "isolated_margin": "9000"})
    books["market"]["index_price"] = {}
    one = member("a", "1000", profile="plain-isolated", assets=[], **books)
    modes = (ModeChoice(account="a", symbol=ETH), ModeChoice(account="a", symbol=BTC))
    found = [start.moves for start in starts(Fund(currency="USDT", members=(one,), modes=modes))]
    assert [[(move.symbol, move.margin_mode) for move in moves] for moves in found] == [
        [],
        [(BTC, "cross")],
        [(BTC, "cross"), (ETH, "isolated")],
    ]


# bonus credit ---------------------------------------------------------------------------------------------------------


def lent(bonus: str, profile: str = "weex-usdm", **more: Any) -> Fund:
    """a may send what it does not need to b, which at +10 % is short of 484 - 200 = 284; from outside 2 % dearer."""
    balances = {"USDT": {"wallet_balance": "40000", "bonus_credit": bonus}}
    stated: dict[str, Any] = {
        "currency": "USDT",
        "members": (member("a", "0", "0.9", profile=profile, assets=[], balances=balances), member("b", "9000", "-1")),
        "routes": (way("a", "b"), way("outside", "b", cost="0.02")),
        "safety": moving("0.1"),
    }
    return Fund(**{**stated, **more})


def test_bonus_credit_is_given_up_only_where_that_is_cheaper() -> None:
    """284 from outside cost 5.68: 5 of bonus credit are given up for a transfer of nothing else, 50 are kept."""
    cheap, dear = allocate(lent("5")), allocate(lent("50"))
    assert near(cheap.cost, "5")
    assert cheap.gap < D("0.001")
    assert [move.kind for move in cheap.moves] == ["forfeit_bonus", "send"]
    assert (cheap.moves[0].asset, cheap.moves[0].amount) == ("USDT", 5)
    assert near(dear.cost, "5.68")
    assert [move.account for move in dear.moves] == ["outside"]
    assert [row["kind"] for row in order_list(cheap)["settings"]] == ["forfeit_bonus"]
    assert any("give up the bonus credit" in words for words in outline(lent("5")).decisions)
    # by the bookkeeping of what-if the transfer ends it
    after = cm.apply_changes(*lent("5").members[0], [cm.Withdraw(asset="USDT", amount="1")])
    assert after[0].balances["USDT"].bonus_credit == 0


def test_bonus_credit_that_a_transfer_leaves_alone_costs_nothing() -> None:
    plan = allocate(lent("300", "binance-usdm"))
    assert plan.cost == 0
    assert [move.kind for move in plan.moves] == ["send"]
    assert plan.gap < D("0.001")


def test_bonus_credit_that_a_fill_would_burn_is_refused_with_what_to_leave_out() -> None:
    fund = lent("300", orders=(FundOrder(account="a", symbol=BTC, side="sell"),))
    with pytest.raises(UnsupportedRule, match="leave out the orders that settle in USDT"):
        allocate(fund)


# in transit -----------------------------------------------------------------------------------------------------------


def swapped(safety: Safety) -> Fund:
    """a sends BTC away and gets USDT from b for it; both have room at the present prices all the while."""
    return Fund(
        currency="USDT",
        members=(member("a", "12000", "1", btc="0.2", ratio="1"), member("b", "30000", "-0.1")),
        routes=(way("a", "outside", "BTC"), way("b", "a", fee_rate="0.001")),
        safety=safety,
        objective=Objective(weights={"freed": "1", "cost": "1"}),
    )


def test_a_fund_may_ask_that_a_fall_in_transit_is_survived_too() -> None:
    """At -20 % a has lost 17,600 and needs 352: 5,952 beyond its 12,000, or 0.0845454 BTC at 70,400.

    All 0.2 BTC may go where the USDT may arrive after the fall; else 0.0845454 of them stay.
    """
    apart, always = (allocate(swapped(moving("-0.2", in_transit=stated))) for stated in (False, True))
    assert near(apart.freed, D("0.2") * 88000)
    assert near(always.freed, (D("0.2") - D(5952) / 70400) * 88000)
    assert max(apart.gap, always.gap) < D("0.001")
    sent = {move.asset: move.amount for move in always.moves if move.account == "a"}
    left = cm.apply_changes(*swapped(Safety()).members[0], [cm.Withdraw(asset="BTC", amount=sent["BTC"])])
    assert 0 <= slack(cm.Case(*left), {"BTC": D("-0.2")}) < D("0.001")


def test_what_would_break_as_it_stands_may_not_break_further_in_transit() -> None:
    """b is short of 284 at +10 % and waits for it; a BTC that it could send away meanwhile has to stay."""
    member_b = member("b", "8900", "-1", btc="0.001", ratio="1")
    fund = Fund(
        currency="USDT",
        members=(member("a", "40000", "0.9"), member_b),
        routes=(way("a", "b"), way("b", "outside", "BTC")),
        safety=moving("0.1"),
        objective=Objective(kind="most_freed"),
    )
    free, bound = (
        allocate(fund.model_copy(update={"safety": fund.safety.model_copy(update={"in_transit": stated})}))
        for stated in (False, True)
    )
    assert near(free.freed, "88")
    assert bound.freed == 0
    assert bound.safe


def test_a_box_and_a_share_are_asked_in_transit_too() -> None:
    """With a share of 1 the fall asks for 704 instead of 352 of maintenance margin; the box ends at the same fall."""
    safety = Safety(share="1", box={"BTC": (D("-0.2"), D("0.1"))}, in_transit=True)
    plan = allocate(swapped(safety))
    assert near(plan.freed, (D("0.2") - D(6304) / 70400) * 88000)
    assert plan.gap < D("0.001")


# isolated positions ---------------------------------------------------------------------------------------------------


def pocketed(margin: str, wallet: str, **more: Any) -> Fund:
    """1 BTC long at 88,000 in a pocket of its own; it may be sold, and margin moved."""
    books = held((BTC, "1", "88000", "10"), margin_mode="isolated", isolated_margin=margin)
    books["instruments"][0]["brackets"] = [{"notional_floor": "0", "maintenance_rate": "0.005"}]
    stated: dict[str, Any] = {
        "currency": "USDT",
        "members": (member("a", wallet, profile="plain-isolated", assets=[], **books),),
        "orders": (FundOrder(account="a", symbol=BTC, side="sell"),),
        "routes": (way("outside", "a", cost="0.01"), way("a", "outside")),
        "safety": moving("-0.1"),
    }
    return Fund(**{**stated, **more})


def test_some_of_an_isolated_position_is_closed_and_takes_its_share_of_the_margin_along() -> None:
    """A contract loses 8,800 at -10 % and needs 0.5 % of 79,200: 9,196 of its pocket, which holds 8,900.

    Closing c frees 8,900 c and costs 44 c; without [[pockets]] nothing can bring the margin of a contract to 9,196, so
    all of it is sold. With them 296 of the 500 in the wallet are moved and nothing is sold.
    """
    alone = allocate(pocketed("8900", "500"))
    assert [(move.kind, move.quantity) for move in alone.moves] == [("close", -1)]
    assert alone.moves[0].receives == 8900 - 44
    moved = allocate(pocketed("8900", "500", pockets=(Pocket(account="a", symbol=BTC),)))
    assert moved.cost == 0
    assert slack(done(pocketed("8900", "500"), moved)["a"], {"BTC": D("-0.1")}) >= 0


def test_an_isolated_position_is_cut_where_money_is_dearer() -> None:
    """The wallet is empty and 296 are missing: at 50 % from outside they cost 148.

    Closing c costs 44 c and leaves 8,856 c in the wallet for the pocket, which then needs 9,196 (1 - c) and has 8,900
    (1 - c): 8,856 c = 296 (1 - c) at c = 0.0323426.
    """
    routes = (way("outside", "a", cost="0.5"),)
    fund = pocketed("8900", "0", routes=routes, pockets=(Pocket(account="a", symbol=BTC),))
    plan = allocate(fund)
    cut = D(296) / (8856 + 296)
    assert near(plan.cost, cut * 44)
    assert plan.gap < D("0.001")
    assert near(-(plan.moves[0].quantity or D(0)), cut, "0.0000001")
    assert 0 <= slack(done(fund, plan)["a"], {"BTC": D("-0.1")}) < D("0.001")


def test_what_would_add_to_an_isolated_position_is_refused_with_what_may_be_done() -> None:
    with pytest.raises(AccountError, match="may only be sell"):
        pocketed("9000", "0", orders=(FundOrder(account="a", symbol=BTC, side="both"),))
    with pytest.raises(AccountError, match="no headroom once it is gone"):
        allocate(pocketed("9000", "0", objective=Objective(kind="largest_headroom")))
