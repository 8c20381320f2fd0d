"""Where the capital should sit: plans worked out by hand, published cases, and what must be refused."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any

import highspy
import pytest

import crossmargin as cm
from allocating import BTC, D, done, member, slack
from crossmargin.analytics.allocation import allocate, frontier, outline
from crossmargin.analytics.box import worst_in_box
from crossmargin.errors import AccountError, NoPlan, UnsupportedRule
from crossmargin.files.funds import load_fund
from crossmargin.model.fund import (
    AssetDepeg,
    Borrow,
    Conversion,
    Draws,
    Fund,
    FundOrder,
    Impact,
    Ladder,
    Objective,
    Pocket,
    PoolBuffer,
    Route,
    Safety,
    Yield,
)

FUNDS = Path(__file__).parents[2] / "examples" / "funds"


def ladder(*steps: str, coins: tuple[str, ...] = ("BTC",)) -> Safety:
    return Safety(ladders=(Ladder(coins=coins, steps=tuple(map(D, steps))),))


def way(source: str, target: str, **more: Any) -> Route:
    return Route(**{"from": source, "to": target, "asset": "USDT", **more})


def pair(**more: Any) -> Fund:
    """2 BTC long on a, 2 short on b, both entered at 88,000; b is short of capital when BTC rises by 20 %."""
    stated: dict[str, Any] = {
        "currency": "USDT",
        "members": (member("a", "60000", "2"), member("b", "20000", "-2")),
        "routes": (way("a", "b", fee_rate="0.001"), way("b", "a", fee_rate="0.001")),
        "safety": ladder("-0.2", "0.2"),
    }
    return Fund(**{**stated, **more})


def near(found: Decimal | None, by_hand: str | float, within: str = "0.0001") -> bool:
    return found is not None and abs(found - D(str(by_hand))) < D(within)


# by hand --------------------------------------------------------------------------------------------------------------


def test_the_least_transfer_that_carries_a_short_through_a_rise() -> None:
    """At +20 % b has 20,000 - 2 x 17,600 = -15,200 and needs 500 + (211,200 - 100,000) x 1 % = 1,612: 16,812 more.

    What arrives is 99.9 % of what is sent: 16,812 / 0.999 = 16,828.82883, which costs a thousandth of itself.
    """
    plan = allocate(pair())
    (move,) = plan.moves
    assert (move.account, move.to) == ("a", "b")
    assert near(move.amount, 16828.82883)
    assert near(plan.cost, 16.82882883)
    assert plan.gap < D("1e-6")
    # one more USDT on b saves 1 / 0.999 of a transfer that costs 0.001
    worth = next(price.value for price in plan.shadow_prices if price.account == "b" and price.asset == "USDT")
    assert near(worth, 0.001 / 0.999)
    binding = next(price for price in plan.shadow_prices if price.limit is not None)
    assert binding.scenario == "BTC 20 %"
    assert binding.limit == "safety of account on b"


def test_the_largest_smallest_headroom_evens_out_the_two_accounts() -> None:
    """At -20 % a has 60,000 - 35,200 - 40,800 x 1 % - 500 = 23,892; at +20 % b lacks 16,812.

    a sends t: 23,892 - t = 0.999 t - 16,812, so t = 40,704 / 1.999 = 20,362.18109 and both have 3,529.81891.
    """
    plan = allocate(pair(objective=Objective(kind="largest_headroom")))
    assert near(plan.moves[0].amount, "20362.18109")
    assert near(plan.headroom, "3529.81891")
    assert plan.objective == plan.headroom
    assert plan.safe


def test_the_public_multi_venue_box_is_improved_beyond_its_published_shift() -> None:
    """crossex-box: 20,000, 250,000 of ETH long and short in two wallets; liquidated at +63.64 %, after moving 20,000
    between the wallets at +70.91 % (both published). With c moved, headroom at +70 % is
    20,000 - 4,250 - 10 % x (175,000 - c) and at -70 % 20,000 - 750 - 10 % x (155,000 + c): 1,000 each at c = 27,500.
    """
    fund = load_fund(str(FUNDS / "cross-venue-box.toml"))
    published = (D("0.636363636"), D("0.709090909"))
    before = cm.threshold(*fund.members[0]).common_shock
    assert before.above.distance is not None
    assert abs(before.above.distance - published[0]) < D("1e-8")
    plan = allocate(fund)
    assert near(plan.moves[0].amount, 27500)
    assert near(plan.headroom, 1000)
    after = cm.threshold(*done(fund, plan)["crossex"]).common_shock
    nearest = min(abs(side.distance) for side in (after.below, after.above) if side.distance is not None)
    assert nearest > published[1]


def test_a_solver_that_another_library_has_started_is_used_as_it_is() -> None:
    """HiGHS has one set of threads for a process: here somebody else has made it, with another number of them."""
    other = highspy.Highs.__bases__[0]()
    highspy.Highs.resetGlobalScheduler(True)
    try:
        other.setOptionValue("output_flag", False)
        other.setOptionValue("threads", 2)
        other.addVar(0.0, 1.0)
        other.run()
        plan = allocate(load_fund(str(FUNDS / "cross-venue-box.toml")))
    finally:
        highspy.Highs.resetGlobalScheduler(True)
    assert near(plan.moves[0].amount, 27500)


def test_reducing_is_chosen_where_it_is_cheaper_than_bringing_money() -> None:
    """b alone, 2 short, no route but dear capital at 1 %. Closing c at the mark costs 0.05 % x 88,000 = 44 a coin.

    At +20 %: 20,000 - 44 c - (2 - c) x 17,600 >= maintenance of (2 - c) x 105,600, which is below 100,000 from
    c = 2 - 100,000 / 105,600 on: there 20,000 - 46.33 - 16,666.67 - 500 = 2,787 is left, so c is smaller: above the
    floor 20,000 - 44 c - 35,200 + 17,600 c = 500 + (111,200 - 105,600 c) x 1 %, so 18,612 c = 16,812.
    """
    fund = Fund(
        currency="USDT",
        members=(member("b", "20000", "-2"),),
        routes=(way("outside", "b", cost="0.01"),),
        orders=(FundOrder(account="b", symbol=BTC),),
        safety=ladder("0.2"),
    )
    (move,) = allocate(fund).moves
    assert move.kind == "close"
    assert near(move.quantity, 16812 / 18612)
    # and where a trade costs 3 % of its value, the capital is the cheaper way: 16,812 x 1 %
    dear = fund.model_copy(update={"orders": (FundOrder(account="b", symbol=BTC, spread="0.03"),)})
    (sent,) = allocate(dear).moves
    assert sent.kind == "send"
    assert near(sent.amount, 16812)


def test_haircuts_and_yields_decide_which_collateral_is_put_up() -> None:
    """A long of 1 BTC with 1,000 USDT must survive -10 %: 8,800 + 79,200 x 0.5 % = 9,196 needed, 8,196 missing.

    USDT counts in full but earns 2 %; a coin S at 100 that moves with nothing counts 80 % and earns 6 %. Kept a year
    outside both earn nothing: putting up more S earns more, so all of the 120 S come, and no USDT.
    """
    base = member(
        "v",
        "1000",
        "1",
        market={"mark_price": {BTC: "88000"}, "index_price": {"BTC": "88000", "S": "100"}},
        assets=[{"asset": "BTC", "collateral_ratio": "0.95"}, {"asset": "S", "collateral_ratio": "0.8"}],
    )
    fund = Fund(
        currency="USDT",
        members=(base,),
        routes=(
            way("outside", "v", maximum="9000"),
            Route(**{"from": "outside", "to": "v", "asset": "S", "maximum": "120"}),
        ),
        yields=(Yield(asset="USDT", rate="0.02"), Yield(asset="S", rate="0.06")),
        safety=ladder("-0.1"),
        objective=Objective(kind="most_carry", horizon_days="365"),
    )
    plan = allocate(fund)
    # 120 S x 100 x 6 % + 9,000 x 2 %
    assert near(plan.carry, 720 + 180)
    # with 1.5 % a year as the price of outside capital of either kind, USDT no longer pays, S does
    priced = fund.model_copy(
        update={
            "objective": Objective(kind="least_cost", horizon_days="365"),
            "routes": (
                way("outside", "v", maximum="9000", cost="0.03"),
                Route(**{"from": "outside", "to": "v", "asset": "S", "maximum": "120", "cost": "3"}),
            ),
        }
    )
    (move,) = allocate(priced).moves
    assert (move.asset, move.amount) == ("S", D(120))


def test_a_debt_costs_its_rate_over_the_horizon() -> None:
    """b must survive +10 %: 2 x 8,800 loss + 1,436 maintenance (500 + 93,600 x 1 %); 6,000 less than 19,036 are there.

    13,036 USDT may be had by borrowing USDC at par in the same account: USDC sold is owed and counts in full both ways,
    so only the sale's spread is lost and equity never rises: no plan without capital, and the judge says which limit.
    """
    fund = Fund(
        currency="USDT",
        members=(
            member(
                "b",
                "6000",
                "-2",
                market={"mark_price": {BTC: "88000"}, "index_price": {"BTC": "88000", "USDC": "1"}},
                leverage="50",
            ),
        ),
        conversions=(Conversion(account="b", sell="USDC", buy="USDT", spread="0.001"),),
        borrows=(Borrow(account="b", asset="USDC", rate="0.1", maximum="50000"),),
        safety=ladder("0.1"),
    )
    with pytest.raises(NoPlan) as refused:
        allocate(fund)
    assert "safety of account on b" in refused.value.conflict
    (relaxed,) = (by for name, by in refused.value.relaxation if name == "safety of account on b")
    assert near(D(relaxed.split()[0]), 13036, within="0.01")


def test_a_fee_for_each_transfer_and_a_least_amount_are_whole_choices() -> None:
    """16,812 are missing on b. From a: 5 a transfer. From c: 1 a transfer but at least 17,000, whatever is needed."""
    members = (*pair().members, member("c", "40000"))
    routes = (way("a", "b", fee="5"), way("c", "b", fee="1", minimum="17000"))
    plan = allocate(pair(members=members, routes=routes))
    (move,) = plan.moves
    assert (move.account, plan.cost) == ("c", D(1))
    assert move.amount is not None
    assert move.amount >= 17000
    short = allocate(pair(members=(*pair().members, member("c", "16900")), routes=routes))
    (move,) = short.moves
    assert (move.account, short.cost) == ("a", D(5))
    assert near(move.amount, 16817)


def test_lots_are_whole_numbers_and_no_smaller_number_of_them_is_safe() -> None:
    fund = Fund(
        currency="USDT",
        members=(member("b", "20000", "-2"),),
        orders=(FundOrder(account="b", symbol=BTC, lot="0.05"),),
        safety=ladder("0.2"),
    )
    (move,) = allocate(fund).moves
    # 0.90329 coins were needed without lots
    assert move.quantity == D("0.95")
    for lots in range(19):
        case = cm.apply_changes(*fund.members[0], [cm.Order(symbol=BTC, quantity=D("0.05") * lots)] if lots else [])
        assert slack(cm.Case(*case), {"BTC": D("0.2")}) < 0


def test_impact_takes_the_better_price_first() -> None:
    order = FundOrder(account="b", symbol=BTC, spread="0.0001", impact=(Impact(quantity="0.5", spread="0.002"),))
    fund = Fund(currency="USDT", members=(member("b", "20000", "-2"),), orders=(order,), safety=ladder("0.2"))
    first, second = allocate(fund).moves
    assert first.quantity == D("0.5")
    assert first.price == D("88008.8")
    assert second.price == D("88176")
    assert slack(done(fund, allocate(fund))["b"], {"BTC": D("0.2")}) > 0


def test_a_withdrawal_keeps_free_collateral_and_a_share_of_value_on_the_way() -> None:
    """Nothing to survive: a may send 60,000 less its initial margin of 17,600, whatever its leverage of maintenance."""
    fund = pair(
        routes=(way("a", "outside"), way("b", "outside")), safety=Safety(), objective=Objective(kind="most_freed")
    )
    plan = allocate(fund)
    assert near(plan.freed, (60000 - 17600) + (20000 - 17600))
    for case in done(fund, plan).values():
        assert cm.evaluate(*case).free_collateral == pytest.approx(0, abs=1e-6)


def test_what_is_sent_has_left_before_anything_arrives() -> None:
    """a owes c and c owes a the same 50,000: neither can spare it before the other's arrives, so nothing moves."""
    fund = Fund(
        currency="USDT",
        members=(member("a", "20000", "2"), member("c", "20000", "-2")),
        routes=(way("a", "c", maximum="50000"), way("c", "a", maximum="50000")),
        safety=ladder("-0.01", "0.01"),
        objective=Objective(weights={"cost": "1"}),
    )
    sent = allocate(fund)
    assert sent.moves == ()
    more = fund.model_copy(update={"safety": Safety(buffers=(PoolBuffer(account="c", amount="25000"),))})
    with pytest.raises(NoPlan):
        allocate(more)


def test_a_new_position_is_carried_and_paid_for() -> None:
    """3 BTC more on a at 10 x: 26,400 of margin and 132 of fees; it is there, so only the fees are paid."""
    order = FundOrder(account="a", symbol=BTC, side="buy", required="3", maximum="3")
    plan = allocate(pair(orders=(order,), safety=Safety()))
    (move,) = plan.moves
    assert (move.kind, move.quantity) == ("open", D(3))
    assert near(plan.cost, 132)
    # and the largest: free 60,000 - 17,600 over 8,800 + 44 a coin, what the bracket allows aside
    largest = pair(
        orders=(FundOrder(account="a", symbol=BTC, side="buy"),),
        routes=(),
        safety=Safety(),
        objective=Objective(kind="largest_position"),
    )
    (move,) = allocate(largest).moves
    assert near(move.quantity, 42400 / 8844)


def test_neutral_orders_close_both_legs_alike() -> None:
    fund = pair(
        orders=(FundOrder(account="a", symbol=BTC, side="sell"), FundOrder(account="b", symbol=BTC, side="buy")),
        routes=(way("a", "b", fee_rate="0.05"),),
        neutral=("BTC",),
    )
    moves = [move for move in allocate(fund).moves if move.kind == "close"]
    assert len(moves) == 2
    assert abs(sum(move.quantity for move in moves if move.quantity is not None)) < D("1e-7")


# scenarios ------------------------------------------------------------------------------------------------------------


def test_every_point_of_a_box_is_safe_and_the_bound_is_attained() -> None:
    bounds = {"BTC": (D("-0.25"), D("0.15"))}
    fund = pair(safety=Safety(box=bounds))
    plan = allocate(fund)
    worst = [worst_in_box(*case, bounds=bounds).pools[0].bound for case in done(fund, plan).values()]
    assert min(worst) > -D("1e-9")
    assert min(worst) < D("0.001")


def test_a_depeg_on_one_venue_leaves_the_others_alone() -> None:
    """500 USDT and 30,000 USDC on each, 2 BTC at 88,000 need 500 + 76,000 x 1 % = 1,260 to stay.

    With USDC at 0.01 on a alone a has 500 + 300 = 800: 460 are missing there, and nothing on b.
    """
    members = tuple(
        member(
            name,
            "500",
            quantity,
            market={"mark_price": {BTC: "88000"}, "index_price": {"BTC": "88000", "USDC": "1"}},
            balances={"USDT": "500", "USDC": "30000"},
            leverage="50",
        )
        for name, quantity in (("a", "2"), ("b", "-2"))
    )
    depeg = AssetDepeg(account="a", asset="USDC", moves=("-0.99",))
    routes = tuple(way("outside", name, cost="0.01") for name in ("a", "b"))
    (move,) = allocate(pair(members=members, routes=routes, safety=Safety(depegs=(depeg,)))).moves
    assert (move.to, move.asset) == ("a", "USDT")
    assert near(move.amount, 460)


def test_draws_are_the_same_for_the_same_seed_and_their_tail_is_the_hardest_part() -> None:
    def drawn(**more: Any) -> Fund:
        return pair(safety=Safety(draws=Draws(count=2000, volatility={"BTC": "0.05"}, **more)))

    plan, again = allocate(drawn()), allocate(drawn())
    assert plan.moves == again.moves
    assert plan.scenarios == 2001
    tail = allocate(drawn(tail="0.01"))
    assert tail.scenarios == 21
    assert near(tail.cost, plan.cost, within="0.00001")
    assert allocate(drawn(seed=8)).cost != plan.cost


def test_more_safety_never_costs_less() -> None:
    fund = pair(safety=ladder("-0.2", "0.2").model_copy(update={"share": D("0.5"), "amount": D(100)}))
    points = frontier(fund, [D(0), D(1), D(2), D(8)])
    costs = [point.cost for point in points if point.cost is not None]
    assert len(costs) == 3
    assert costs == sorted(costs)
    assert points[-1].objective is None
    # at level 1: 16,812 + 50 % of 1,612 + 100 are missing
    assert near(points[1].cost, (16812 + 806 + 100) / 0.999 * 0.001)


def test_the_order_of_the_accounts_changes_nothing() -> None:
    members = (*pair().members, member("c", "40000"), member("d", "30000", "0.5"))
    names = [one.account.id for one in members]
    routes = tuple(way(a, b, fee_rate="0.001") for a, b in itertools.permutations(names, 2))
    costs = {
        allocate(pair(members=order, routes=tuple(reversed(routes)))).cost.quantize(D("1e-6"))
        for order in (members, members[::-1], members[2:] + members[:2])
    }
    assert len(costs) == 1


# refused --------------------------------------------------------------------------------------------------------------


def test_limits_that_cannot_hold_together_are_named_with_the_least_change() -> None:
    """b lacks 16,812 and only 10,000 may be sent; without either limit there is a plan."""
    with pytest.raises(NoPlan) as refused:
        allocate(pair(routes=(way("a", "b", maximum="10000"),)))
    found = refused.value
    assert set(found.conflict) == {"maximum of route 1, USDT from a to b", "safety of account on b"}
    ((_, by),) = found.relaxation
    assert near(D(by.split()[0]), 6812, within="0.01")
    assert found.exit_code == 3
    for name in ("maximum of route 1", "safety of account on b"):
        assert name in str(found)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"routes": (way("outside", "b"),), "objective": Objective(kind="largest_headroom")}, "no end"),
        ({"objective": Objective(kind="most_freed")}, "no route leads outside"),
        ({"objective": Objective(kind="most_carry")}, "no yield and no borrow rate"),
        ({"objective": Objective(kind="largest_position")}, "no order opens"),
        ({"safety": ladder("0.2", coins=("DOGE",))}, "DOGE"),
        ({"neutral": ("BTC",)}, "has no orders"),
        (
            {"yields": (Yield(asset="USDT", rate="0.2"),), "borrows": (Borrow(account="a", asset="USDT"),)},
            "without end",
        ),
    ],
)
def test_what_is_asked_wrongly_is_one_clear_error(more: dict[str, Any], words: str) -> None:
    with pytest.raises(AccountError, match=words):
        allocate(pair(**more))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: way("a", "b", fee="-1"), "fee"),
        (lambda: way("a", "a"), "where it comes from"),
        (lambda: way("a", "b", minimum="5", maximum="4"), "minimum"),
        (lambda: FundOrder(account="a", symbol=BTC, side="buy", required="2", maximum="1"), "required"),
        (lambda: FundOrder(account="a", symbol=BTC, required="2"), "side"),
        (
            lambda: FundOrder(account="a", symbol=BTC, spread="0.01", impact=(Impact(quantity="1", spread="0"),)),
            "impact",
        ),
        (lambda: Conversion(account="a", sell="BTC", buy="BTC"), "buy"),
        (lambda: Conversion(account="a", sell="BTC", buy="USDT", spread="0.6", fee_rate="0.5"), "spread"),
        (lambda: Objective(weights={"cost": "0"}), "weights"),
        (lambda: Draws(count=5), "volatility"),
        (lambda: Safety(box={"BTC": ("0.2", "0.1")}), "box"),
        (lambda: pair(routes=(way("a", "nowhere"), way("elsewhere", "b"))), "2 faults"),
        (lambda: pair(members=()), "needs at least one account"),
        (lambda: pair(members=(member("a", "1"), member("a", "2"))), "an id of its own"),
    ],
)
def test_a_fund_that_contradicts_itself_is_refused(build: Any, words: str) -> None:
    with pytest.raises(AccountError, match=words):
        build()


def test_a_loop_that_earns_is_named() -> None:
    """USDC is worth 1.01 on b and 1 on a, and conversions and transfers cost less than the difference."""
    members = tuple(
        member(
            name, "1000", "0.01", market={"mark_price": {BTC: "88000"}, "index_price": {"BTC": "88000", "USDC": usdc}}
        )
        for name, usdc in (("a", "1"), ("b", "1.01"))
    )
    fund = pair(
        members=members,
        routes=(way("b", "a"), Route(**{"from": "a", "to": "b", "asset": "USDC"})),
        conversions=(
            Conversion(account="a", sell="USDT", buy="USDC", spread="0.001"),
            Conversion(account="b", sell="USDC", buy="USDT", spread="0.001"),
        ),
    )
    with pytest.raises(AccountError, match="USDT on a -> USDC on a"):
        allocate(fund)


def test_an_unknown_leverage_is_never_taken_as_safe() -> None:
    silent = member("a", "60000", "2")
    position = silent.account.positions[0].model_copy(update={"leverage": None})
    account = silent.account.model_copy(update={"positions": (position,)})
    fund = pair(members=(silent._replace(account=account), pair().members[1]))
    with pytest.raises(UnsupportedRule, match="leverage is missing"):
        allocate(fund)


def test_an_outline_says_what_would_be_decided() -> None:
    found = outline(pair(routes=(way("a", "b", maximum="5"),)))
    assert found.decisions == ("send USDT from a to b",)
    assert found.limits == ("maximum of route 1, USDT from a to b",)
    assert found.pools == ("account on a", "account on b")
    assert found.scenarios == 3


def test_a_pocket_is_filled_from_the_shared_pool_and_the_shared_pool_from_outside() -> None:
    """An isolated long of 1 BTC at 88,000 with 9,000 must survive -20 %: 17,600 + 70,400 x 0.5 % = 17,952, 8,952 more.

    The shared pool holds 2,000, so 6,952 come from outside at 1 %.
    """
    held = {
        "symbol": BTC,
        "quantity": "1",
        "entry_price": "88000",
        "leverage": "10",
        "margin_mode": "isolated",
        "isolated_margin": "9000",
    }
    one = member("p", "2000", profile="plain-isolated", positions=[held], assets=[])
    fund = Fund(
        currency="USDT",
        members=(one,),
        routes=(way("outside", "p", cost="0.01"),),
        pockets=(Pocket(account="p", symbol=BTC),),
        safety=ladder("-0.2"),
    )
    plan = allocate(fund)
    assert near(plan.cost, 69.52)
    assert [move.kind for move in plan.moves] == ["send", "move"]
    assert near(plan.moves[1].amount, 8952)
    # and what a pocket does not need comes out of it first: nothing to survive, 8,800 of initial margin stay
    freed = fund.model_copy(
        update={
            "safety": Safety(),
            "routes": (way("p", "outside"),),
            "objective": Objective(kind="most_freed"),
        }
    )
    plan = allocate(freed)
    assert near(plan.freed, 2200)
    assert [(move.kind, move.phase) for move in plan.moves] == [("move", "reduce"), ("send", "send")]
    with pytest.raises(AccountError, match="not held isolated"):
        allocate(fund.model_copy(update={"pockets": (Pocket(account="p", symbol="ETH/USDT:USDT"),)}))


def test_a_coin_that_only_the_plan_would_bring_in_moves_in_the_scenarios_too() -> None:
    """10,000 USDT, ETH at 3,000, leverage 50: q coins may be bought while -20 % leaves q x 2,400 x 0.5 % of margin.

    10,000 - q x 1.5 (fee) - q x 600 = q x 12, so q = 10,000 / 613.5; at 50 x alone 10,000 / 61.5 would be allowed.
    """
    symbol = "ETH/USDT:USDT"
    one = member(
        "n",
        "10000",
        market={"mark_price": {symbol: "3000"}, "index_price": {}},
        instruments=[
            {
                "symbol": symbol,
                "taker_fee": "0.0005",
                "brackets": [{"notional_floor": "0", "maintenance_rate": "0.005"}],
            }
        ],
    )
    for safety in (ladder("-0.2", coins=("ETH",)), ladder("-0.2", coins=())):
        fund = Fund(
            currency="USDT",
            members=(one,),
            orders=(FundOrder(account="n", symbol=symbol, side="buy", leverage="50"),),
            safety=safety,
            objective=Objective(kind="largest_position"),
        )
        (move,) = allocate(fund).moves
        assert near(move.quantity, 10000 / 613.5)


def test_two_ways_between_the_same_accounts_are_two_moves() -> None:
    """The free way carries 10,000, the rest of 16,812 goes the dear one: 6,812 / 0.998, a fifth of a per cent of it."""
    plan = allocate(pair(routes=(way("a", "b", maximum="10000"), way("a", "b", fee_rate="0.002"))))
    assert near(plan.cost, 6812 / 0.998 * 0.002)
    assert [len(move.effects) for move in plan.moves] == [2, 2]
    assert plan.moves[0].effects[1].headroom_after < plan.moves[1].effects[1].headroom_after
