"""Choices that are no amounts: a leverage, a margin mode, a bracket, which draws to give up; worked out by hand."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crossmargin as cm
from allocating import BTC, CAPPED, ETH, D, done, member, slack
from crossmargin.analytics.allocation import allocate, outline
from crossmargin.analytics.allocation_scenarios import shocks_of
from crossmargin.apps.orders import order_list, write_orders
from crossmargin.errors import AccountError, UnsupportedRule
from crossmargin.model.fund import (
    Draws,
    Fund,
    FundOrder,
    Ladder,
    LeverageChoice,
    Member,
    ModeChoice,
    Objective,
    Pocket,
    PoolBuffer,
    Route,
    Safety,
)


def way(source: str, target: str, **more: Any) -> Route:
    return Route(**{"from": source, "to": target, "asset": "USDT", **more})


def ladder(*steps: str) -> Safety:
    return Safety(ladders=(Ladder(steps=tuple(map(D, steps))),))


def near(found: Decimal | None, by_hand: str | float, within: str = "0.0001") -> bool:
    return found is not None and abs(found - D(str(by_hand))) < D(within)


def single(usdt: str, quantity: str, **more: Any) -> Fund:
    """One account with one position, entered at 88,000 at 10 x, under CAPPED."""
    profile = more.pop("profile", "plain-cross")
    held = member("a", usdt, quantity, profile=profile, brackets=CAPPED, assets=[])
    return Fund(**{"currency": "USDT", "members": (held,), **more})


# leverage -------------------------------------------------------------------------------------------------------------


def test_a_higher_leverage_frees_initial_margin_where_the_bracket_still_allows_it() -> None:
    """1 BTC at 88,000 is worth less than 100,000: 50 x is allowed and asks 1,760 where 10 x asked 8,800."""
    fund = single(
        "20000",
        "1",
        routes=(way("a", "outside"),),
        leverages=(LeverageChoice(account="a", symbol=BTC),),
        objective=Objective(kind="most_freed"),
    )
    plan = allocate(fund)
    assert [move.kind for move in plan.moves] == ["set_leverage", "send"]
    assert plan.moves[0].leverage == 50
    assert near(plan.freed, 20000 - 1760)
    assert near(cm.evaluate(*done(fund, plan)["a"]).free_collateral, 0)
    assert plan.gap < D("0.001")
    # 2 BTC are worth 176,000: at most 10 x, so nothing is to be had and nothing is changed
    large = allocate(fund.model_copy(update={"members": single("20000", "2").members}))
    assert [move.kind for move in large.moves] == ["send"]
    assert near(large.freed, 20000 - 17600)


def test_a_lower_leverage_is_set_where_a_larger_position_is_to_be_carried() -> None:
    """1 BTC at 50 x may grow to 100,000 / 88,000 coins; at 20 x to 150,000 / 88,000: 0.704545 more.

    That asks 150,000 / 20 = 7,500 and costs 0.05 % of 62,000 = 31: 20,000 are enough. At 10 x the 50 thousand beyond
    are allowed too, but 20,000 - 0.0005 x 88,000 q = 8,800 (1 + q) ends at q = 1.266, which is the most.
    """
    one = member("a", "20000", "1", brackets=CAPPED, leverage="50", assets=[])
    fund = Fund(
        currency="USDT",
        members=(one,),
        orders=(FundOrder(account="a", symbol=BTC, side="buy"),),
        leverages=(LeverageChoice(account="a", symbol=BTC, choices=("20",)),),
        objective=Objective(kind="largest_position"),
    )
    plan = allocate(fund)
    assert [(move.kind, move.leverage) for move in plan.moves] == [("set_leverage", D(20)), ("open", D(20))]
    assert near(plan.moves[1].quantity, 62000 / 88000)
    assert any("allows a leverage of 20" in note for note in plan.notes)
    wider = fund.model_copy(update={"leverages": (LeverageChoice(account="a", symbol=BTC, choices=("20", "10")),)})
    plan = allocate(wider)
    assert near(plan.moves[1].quantity, 11200 / 8844)
    assert near(cm.evaluate(*done(wider, plan)["a"]).free_collateral, 0)


def test_a_leverage_is_chosen_for_a_contract_that_only_the_plan_would_open() -> None:
    """10,000 USDT, nothing held: q BTC at L x ask 88,000 q / L and cost 44 q. 20 x: up to 150,000; 50 x: up to 100,000.

    20 x: 10,000 / (4,400 + 44) = 2.25 is more than 150,000 / 88,000 = 1.704545: the bracket binds, and beats 50 x.
    """
    fund = Fund(
        currency="USDT",
        members=(member("a", "10000", brackets=CAPPED, assets=[]),),
        orders=(FundOrder(account="a", symbol=BTC, side="buy", leverage="5"),),
        leverages=(LeverageChoice(account="a", symbol=BTC),),
        objective=Objective(kind="largest_position"),
    )
    plan = allocate(fund)
    assert plan.moves[-1].leverage == 20
    assert near(plan.moves[-1].quantity, 150000 / 88000)
    (position,) = done(fund, plan)["a"].account.positions
    assert position.leverage == 20


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"leverages": (LeverageChoice(account="a", symbol=ETH, choices=("5",)),)}, "neither held nor ordered"),
        ({"modes": (ModeChoice(account="a", symbol=ETH),)}, "is not held"),
        ({"leverages": (LeverageChoice(account="b", symbol=BTC),)}, "not an account"),
        ({"leverages": (LeverageChoice(account="a", symbol=BTC),) * 2}, "more than once"),
    ],
)
def test_choices_about_what_is_not_there_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(AccountError, match=words):
        allocate(single("20000", "1", **more))


def test_too_many_combinations_are_refused_by_number() -> None:
    symbols = [f"C{i}/USDT:USDT" for i in range(9)]
    held = [{"symbol": s, "quantity": "1", "entry_price": "100", "leverage": "10"} for s in symbols]
    market = {"mark_price": dict.fromkeys(symbols, "100"), "index_price": {}}
    tables = [{"symbol": s, "taker_fee": "0.0005", "brackets": CAPPED} for s in symbols]
    one = member("a", "9000", profile="plain-isolated", positions=held, market=market, instruments=tables, assets=[])
    fund = Fund(currency="USDT", members=(one,), modes=tuple(ModeChoice(account="a", symbol=s) for s in symbols))
    with pytest.raises(AccountError, match="512 combinations"):
        allocate(fund)


# margin mode ----------------------------------------------------------------------------------------------------------


def two(mode: str, **more: Any) -> Member:
    """12,000 USDT in all, or 9,000 and 3,000 in a pocket; 0.5 BTC long at 88,000 and 10 ETH short at 3,000, 10 x."""
    eth = {"symbol": ETH, "quantity": "-10", "entry_price": "3000", "leverage": "10", "margin_mode": mode}
    if mode == "isolated":
        eth["isolated_margin"] = "3000"
    btc = {"symbol": BTC, "quantity": "0.5", "entry_price": "88000", "leverage": "10"}
    table = [{"notional_floor": "0", "maintenance_rate": "0.005", "max_leverage": "50"}]
    return member(
        "p",
        "9000" if mode == "isolated" else "12000",
        profile="plain-isolated",
        positions=[btc, eth],
        market={"mark_price": {BTC: "88000", ETH: "3000"}, "index_price": {}},
        instruments=[{"symbol": s, "taker_fee": "0.0005", "brackets": table} for s in (BTC, ETH)],
        assets=[],
        **more,
    )


def test_a_pocket_is_made_cross_where_the_legs_help_each_other() -> None:
    """+20 %: the pocket lacks 6,000 + 180 - 3,000 = 3,180; -20 %: the pool needs 8,800 + 176 of its 9,000, so 24 free.

    Left as they are, 3,156 come from outside at 1 %. As one pool the legs lose at most 2,800 on 12,000: nothing is due.
    """
    fund = Fund(
        currency="USDT",
        members=(two("isolated"),),
        routes=(way("outside", "p", cost="0.01"),),
        pockets=(Pocket(account="p", symbol=ETH),),
        safety=ladder("-0.2", "0.2"),
    )
    assert near(allocate(fund).cost, 31.56)
    free = fund.model_copy(update={"modes": (ModeChoice(account="p", symbol=ETH),)})
    plan = allocate(free)
    assert [(move.kind, move.phase, move.margin_mode) for move in plan.moves] == [("set_margin_mode", "set", "cross")]
    assert plan.cost == 0
    assert plan.notes == ("2 combinations of settings compared",)
    assert {pool.pool for pool in plan.pools if pool.before is not None} == {"USDT", f"{ETH} isolated"}
    assert {pool.pool for pool in plan.pools if pool.after is not None} == {"USDT"}
    after = done(free, plan)["p"]
    assert min(slack(after, {"BTC": D(s), "ETH": D(s)}) for s in ("-0.2", "0", "0.2")) == plan.headroom
    assert outline(free).decisions[0] == f"make {ETH} on p cross"


def test_a_position_is_isolated_where_only_its_coin_can_kill_and_cross_costs_more() -> None:
    """With a buffer of 20,000 asked of the shared pool, a pool without positions or debts is asked nothing.

    The one position, 10 ETH short with 3,000 of margin, survives +5 %: 1,500 + 157.5. In its pocket it leaves an empty
    shared pool behind; shared it would need 20,000 + 1,657.5 of 12,000, at 1 % for what is missing: 96.575.
    """
    one = two("cross")
    alone = one.account.model_copy(update={"positions": one.account.positions[1:]})
    fund = Fund(
        currency="USDT",
        members=(one._replace(account=alone),),
        routes=(way("outside", "p", cost="0.01"),),
        modes=(ModeChoice(account="p", symbol=ETH),),
        safety=Safety(
            ladders=(Ladder(steps=(D("0.05"),)),), buffers=(PoolBuffer(account="p", pool="USDT", amount="20000"),)
        ),
    )
    stays = allocate(fund.model_copy(update={"modes": ()}))
    assert near(stays.cost, 96.575)
    plan = allocate(fund)
    assert [move.margin_mode for move in plan.moves] == ["isolated"]
    assert plan.cost == 0


def test_the_leverage_of_a_pocket_frees_its_margin() -> None:
    """3,000 in the pocket at 10 x; at 25 x 1,200 are enough, and 1,800 can be taken out: 4,600 + 1,800 in all."""
    fund = Fund(
        currency="USDT",
        members=(two("isolated"),),
        routes=(way("p", "outside"),),
        pockets=(Pocket(account="p", symbol=ETH),),
        leverages=(LeverageChoice(account="p", symbol=ETH, choices=("5", "25")),),
        objective=Objective(kind="most_freed"),
    )
    plan = allocate(fund)
    assert [move.kind for move in plan.moves] == ["set_leverage", "move", "send"]
    assert near(plan.freed, 4600 + 1800)
    case = done(fund, plan)["p"]
    assert all(near(pool.free_collateral, 0) for pool in cm.evaluate(*case).pools)


# brackets on the whole position ---------------------------------------------------------------------------------------


def test_a_short_is_cut_to_just_inside_the_lower_bracket() -> None:
    """1.2 BTC short with 11,700 USDT at +10 %: 116,160 is in the bracket of 2 %, 100,000 in that of 0.5 % (weex).

    Maintenance is that rate and the closing fee of 0.05 %. Uncut: 11,700 - 10,560 = 1,140 of 2,381.3. Capital at 1 %
    for the 1,241.28 missing is 12.41. Cut to 100,000 / 96,800 = 1.0330579: 0.1669421 at 44 a coin are 7.35, and
    11,692.65 - 9,090.91 = 2,601.74 is above 550. Cutting less leaves 2.05 %: 1.0931 coins would still do, at 4.70.
    """
    fund = single(
        "11700",
        "-1.2",
        profile="weex-usdm",
        routes=(way("outside", "a", cost="0.01"),),
        orders=(FundOrder(account="a", symbol=BTC, side="buy"),),
        safety=ladder("0.1"),
    )
    plan = allocate(fund)
    # 11,700 - 44 c - 8,800 (1.2 - c) = 2.05 % x 96,800 (1.2 - c): 10,740.4 c = 1,241.28
    assert near(plan.moves[0].quantity, 1241.28 / 10740.4, within="0.0000001")
    assert plan.gap < D("0.001")
    # with 5,000 less no size of the upper bracket does: 10,740.4 c = 6,241.28 is 0.58 > 0.17, inside the lower one
    poor = fund.model_copy(update={"members": single("6700", "-1.2", profile="weex-usdm").members, "routes": ()})
    plan = allocate(poor)
    # 6,700 - 44 c - 8,800 (1.2 - c) = 0.55 % x 96,800 (1.2 - c): 9,288.4 c = 4,498.88
    assert near(plan.moves[0].quantity, 4498.88 / 9288.4, within="0.0000001")
    # and between: 9,400 leaves at the edge 9,392.65 - 9,090.91 = 301.75 < 550; at 9,700 601.75: the edge itself is best
    edge = fund.model_copy(update={"members": single("9700", "-1.2", profile="weex-usdm").members, "routes": ()})
    plan = allocate(edge)
    assert near(plan.moves[0].quantity, 1.2 - 100000 / 96800, within="0.0000001")
    assert slack(done(edge, plan)["a"], {"BTC": D("0.1")}) > 0
    assert plan.gap < D("0.00001")


def test_a_position_grows_to_the_edge_of_the_bracket_that_its_worst_scenario_is_in() -> None:
    """20,000 USDT at 10 x: 20,000 / 8,844 = 2.26 could be opened. At -10 %: 20,000 - 8,844 q >= rate x 79,200 q.

    At 5.05 % that ends at 1.557, where the value is not in that bracket; at 2.05 % at 1.911, beyond its end of
    150,000 / 79,200 = 1.893939: so the edge it is.
    """
    fund = Fund(
        currency="USDT",
        members=(member("a", "20000", profile="weex-usdm", brackets=CAPPED, assets=[]),),
        orders=(FundOrder(account="a", symbol=BTC, side="buy", leverage="10"),),
        safety=ladder("-0.1"),
        objective=Objective(kind="largest_position"),
    )
    plan = allocate(fund)
    assert near(plan.moves[0].quantity, 150000 / 79200, within="0.0000001")
    assert slack(done(fund, plan)["a"], {"BTC": D("-0.1")}) > 0


def test_a_jump_that_depends_on_two_legs_is_refused_by_name() -> None:
    legs = [
        {"symbol": BTC, "quantity": q, "entry_price": "88000", "leverage": "10", "position_side": side}
        for q, side in (("1.2", "long"), ("-0.2", "short"))
    ]
    one = member("a", "60000", profile="weex-usdm", brackets=CAPPED, assets=[], positions=legs)
    order = FundOrder(account="a", symbol=BTC, side="sell", position_side="long")
    fund = Fund(currency="USDT", members=(one,), orders=(order,))
    with pytest.raises(UnsupportedRule, match="maintenance_margin of weex-usdm"):
        allocate(fund)
    # money may move all the same: at a given size the requirement is a number
    freed = fund.model_copy(
        update={"orders": (), "routes": (way("a", "outside"),), "objective": Objective(kind="most_freed")}
    )
    assert allocate(freed).freed > 0


def test_what_has_no_room_now_may_send_only_what_leaves_it_room() -> None:
    """a: 1 BTC at 10 x and 5 ETH at 5 x need 8,800 + 3,000 and 9,000 are there: 2,800 short. BTC may be closed.

    Closed, 9,000 - 44 - 3,000 = 5,956 may be sent, not 2,800 more of them.
    """
    held = [
        {"symbol": BTC, "quantity": "1", "entry_price": "88000", "leverage": "10"},
        {"symbol": ETH, "quantity": "5", "entry_price": "3000", "leverage": "5"},
    ]
    one = member(
        "a",
        "9000",
        positions=held,
        market={"mark_price": {BTC: "88000", ETH: "3000"}, "index_price": {}},
        instruments=[{"symbol": s, "taker_fee": "0.0005", "brackets": CAPPED} for s in (BTC, ETH)],
        assets=[],
    )
    fund = Fund(
        currency="USDT",
        members=(one,),
        routes=(way("a", "outside"), way("outside", "a", maximum="100")),
        orders=(FundOrder(account="a", symbol=BTC, side="sell"),),
        objective=Objective(kind="most_freed"),
    )
    plan = allocate(fund)
    assert near(plan.freed, 5956)
    assert plan.gap < D("0.001")


# draws that may break -------------------------------------------------------------------------------------------------


def drawn(count: int, probability: str, usdt: tuple[str, str] = ("30000", "20000")) -> Fund:
    return Fund(
        currency="USDT",
        members=(member("a", usdt[0], "2"), member("b", usdt[1], "-2")),
        routes=tuple(way("outside", name, cost="0.01") for name in "ab"),
        safety=Safety(draws=Draws(count=count, volatility={"BTC": "0.1"}, probability=probability)),
    )


@pytest.mark.parametrize(("count", "probability"), [(200, "0.05"), (500, "0.02")])
def test_the_draws_given_up_are_the_ones_whose_loss_is_dearest_to_cover(count: int, probability: str) -> None:
    """One coin: giving up i of the lowest and k - i of the highest draws, the rest decide what both accounts need."""
    fund = drawn(count, probability)
    plan = allocate(fund)
    spare = int(D(probability) * count)
    moves = np.sort(shocks_of(fund.safety, [cm.prepare(*one) for one in fund.members]).moves[1:, 0])

    def missing(usdt: str, quantity: int, move: float) -> Decimal:
        value = 2 * 88000 * (1 + D(repr(move)))
        required = max(value * D("0.005"), value * D("0.01") - 500)
        return max(D(0), required - D(usdt) - quantity * 88000 * D(repr(move)))

    best = min(
        missing("30000", 2, float(moves[i])) + missing("20000", -2, float(moves[count - 1 - spare + i]))
        for i in range(spare + 1)
    )
    assert near(plan.cost, str(best * D("0.01")), within="0.0000001")
    assert plan.chance is not None
    assert plan.chance.given_up == spare
    every = allocate(fund.model_copy(update={"safety": Safety(draws=Draws(count=count, volatility={"BTC": "0.1"}))}))
    assert every.chance is None
    assert every.cost > plan.cost


def test_the_test_on_fresh_draws_counts_each_one_and_bounds_the_probability_exactly() -> None:
    """50 draws, none may be covered by nothing: a is safe whatever comes, so 0 break; 1 - 0.05^(1/50) is the limit."""
    fund = drawn(50, "0.1", usdt=("900000", "900000"))
    plan = allocate(fund)
    assert plan.moves == ()
    chance = plan.chance
    assert chance is not None
    assert (chance.broken, chance.tested, chance.share) == (0, 50, 0)
    assert near(chance.upper, 1 - 0.05 ** (1 / 50), within="0.0000001")
    assert chance.kept
    # by the judge, draw by draw: what breaks on the fresh draws is what was counted
    poor = drawn(50, "0.1")
    found = allocate(poor)
    after = list(done(poor, found).values())
    fresh = shocks_of(
        Safety(draws=Draws(count=50, volatility={"BTC": "0.1"}, seed=8)), [cm.prepare(*one) for one in after]
    )
    moves = [D(repr(float(move))) for move in fresh.moves[1:, 0]]
    breaks = sum(any(slack(one, {"BTC": move}) < 0 for one in after) for move in moves)
    assert found.chance is not None
    assert found.chance.broken == breaks
    # 5 of 50 by the published table of the one-sided 95 % limit: 0.1991
    if breaks == 5:
        assert near(found.chance.upper, "0.1991", within="0.0001")


def test_a_probability_below_one_draw_is_refused() -> None:
    with pytest.raises(AccountError, match="not one break"):
        drawn(50, "0.01")


# the list for the desk ------------------------------------------------------------------------------------------------


def test_the_list_of_orders_and_transfers_names_every_move_once_in_order(tmp_path: Path) -> None:
    fund = single(
        "20000",
        "1",
        routes=(way("a", "outside"),),
        orders=(FundOrder(account="a", symbol=BTC, side="sell", required="0.25", maximum="0.25"),),
        leverages=(LeverageChoice(account="a", symbol=BTC),),
        objective=Objective(kind="most_freed"),
    )
    plan = allocate(fund)
    found = order_list(plan)
    assert {name: len(own) for name, own in found.items()} == {
        "orders": 1, "transfers": 1, "conversions": 0, "settings": 1
    }  # fmt: skip
    (order,) = found["orders"]
    assert {k: order[k] for k in ("symbol", "side", "quantity", "reduce_only", "price")} == {
        "symbol": BTC, "side": "sell", "quantity": "0.25", "reduce_only": True, "price": "88000"
    }  # fmt: skip
    steps = sorted(one["step"] for own in found.values() for one in own)
    assert steps == [1, 2, 3]
    write_orders(tmp_path / "list.json", plan)
    assert json.loads((tmp_path / "list.json").read_text()) == found
    write_orders(tmp_path / "list.csv", plan)
    assert len((tmp_path / "list.csv").read_text().splitlines()) == 4
    with pytest.raises(AccountError, match="must end in"):
        write_orders(tmp_path / "list.txt", plan)
