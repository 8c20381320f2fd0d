"""Every plan reaches its bound, and every step of it is admitted as it comes, also where an account is short of room.

Accounts with little money, several contracts, collateral, pockets, leverages, modes and orders either way; each step is
asked of what-if alone, in the order of the plan.
"""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import crossmargin as cm
from allocating import BTC, CAPPED, ETH, D, member
from crossmargin.analytics.allocation import Plan, allocate
from crossmargin.errors import AccountError, NoPlan
from crossmargin.model.fund import (
    Conversion,
    Fund,
    FundOrder,
    Ladder,
    LeverageChoice,
    Member,
    ModeChoice,
    Objective,
    Pocket,
    Route,
    Safety,
)

PRICES = {BTC: "88000", ETH: "3000"}
KINDS = ("least_cost", "most_freed", "largest_headroom", "largest_position", "least_collateral")
maybe = st.booleans()


@st.composite
def accounts(draw: st.DrawFn, name: str, *, isolated: bool) -> Member:
    positions = []
    for symbol, most in ((BTC, 150), (ETH, 4000)):
        quantity = D(draw(st.integers(-most, most))) / 100
        if quantity:
            leverage = draw(st.sampled_from(("5", "10")))
            held = {"symbol": symbol, "quantity": str(quantity), "leverage": leverage}
            held["entry_price"] = str(D(PRICES[symbol]) * draw(st.integers(96, 104)) / 100)
            if isolated and draw(maybe):
                value = abs(quantity) * D(PRICES[symbol]) / D(leverage)
                held |= {
                    "margin_mode": "isolated",
                    "isolated_margin": str(round(value * draw(st.integers(7, 15)) / 10)),
                }
            positions.append(held)
    return member(
        name,
        str(draw(st.integers(0, 30_000))),
        btc=None if isolated else str(D(draw(st.integers(0, 300))) / 1000),
        positions=positions,
        profile="plain-isolated" if isolated else "plain-cross",
        market={"mark_price": PRICES, "index_price": {} if isolated else {"BTC": "88000"}},
        instruments=[{"symbol": s, "taker_fee": "0.0005", "brackets": CAPPED} for s in PRICES],
        assets=[] if isolated else [{"asset": "BTC", "collateral_ratio": draw(st.sampled_from(("0.95", "1")))}],
    )


@st.composite
def funds(draw: st.DrawFn) -> Fund:
    isolated, names = draw(maybe), ["a", "b"][: draw(st.integers(1, 2))]
    members = tuple(draw(accounts(name, isolated=isolated)) for name in names)
    routes = []
    for source, target in itertools.permutations((*names, "outside"), 2):
        for asset, price in (("USDT", "0.01"), ("BTC", "900")):
            if draw(maybe) and not (isolated and asset == "BTC"):
                more = {"cost": price} if source == "outside" else {"fee_rate": draw(st.sampled_from(("0", "0.001")))}
                routes.append(Route(**{"from": source, "to": target, "asset": asset, "maximum": "20000", **more}))
    ways: Any = [] if isolated else [(n, s, b) for n in names for s, b in (("BTC", "USDT"), ("USDT", "BTC"))]
    stated: dict[str, list[Any]] = {"orders": [], "leverages": [], "pockets": [], "modes": []}
    kind = draw(st.sampled_from(KINDS))
    for own, symbol in ((one.account, symbol) for one in members for symbol in PRICES):
        held = next((p for p in own.positions if p.symbol == symbol), None)
        apart, where = held is not None and held.margin_mode == "isolated", {"account": own.id, "symbol": symbol}
        sides = ("buy", "sell", "both")
        if held is not None and apart:
            stated["pockets"].append(Pocket(**where))
            sides = () if kind == "largest_headroom" else ("sell",) if held.quantity > 0 else ("buy",)
        if sides and draw(maybe):
            order = {
                "side": draw(st.sampled_from(sides)),
                "leverage": "5",
                "maximum": draw(st.sampled_from((None, "1"))),
            }
            stated["orders"].append(FundOrder(**where, **order))
        if held is not None and draw(maybe) and not (apart or isolated):
            stated["leverages"].append(LeverageChoice(**where, choices=("5", "10", "20")))
        if held is not None and isolated and draw(maybe):
            stated["modes"].append(ModeChoice(**where))
    steps = tuple(D(step) / 100 for step in draw(st.lists(st.integers(-18, 18), min_size=1, max_size=2)))
    return Fund(
        currency="USDT",
        members=members,
        routes=tuple(routes),
        conversions=tuple(Conversion(account=n, sell=s, buy=b, spread="0.002") for n, s, b in ways if draw(maybe)),
        safety=Safety(ladders=(Ladder(steps=steps),), in_transit=draw(maybe)),
        objective=Objective(kind=kind),
        **{name: tuple(own) for name, own in stated.items()},
    )


@settings(max_examples=60)
@given(funds())
def test_every_plan_reaches_its_bound_by_steps_that_are_admitted(fund: Fund) -> None:
    try:
        plan = allocate(fund)
    except NoPlan:
        return
    except AccountError as refused:
        assert "has no end" in str(refused) or "cannot be served" in str(refused)
        return
    assert plan.gap <= max(D("0.01"), abs(plan.objective) / 1_000_000)
    refused_steps = [(step.change, step.reasons) for step in _steps(fund, plan) if step.verdict != "accepted"]
    assert not refused_steps


def _steps(fund: Fund, plan: Plan) -> list[Any]:
    """Each step of the venue's own, by what-if on the account as the steps before left it."""
    cases: dict[str, Any] = {one.account.id: tuple(one) for one in fund.members}
    found = []
    for phase, move in itertools.product(("set", "reduce", "send", "receive", "open"), plan.moves):
        account, changes = _changes(fund, move, phase)
        if not changes:
            continue
        done = cm.whatif(*cases[account], changes)
        # what is sold and bought is one step, with another account in between that no venue sees
        found += [] if move.kind == "convert" else done.steps
        cases[account] = cm.apply_changes(*cases[account], changes)
    return found


def _changes(fund: Fund, move: Any, phase: str) -> tuple[str, list[Any]]:
    def money(kind: type, asset: str, amount: Decimal) -> Any:
        return kind(asset=asset, amount=amount.quantize(D("1e-18")))

    if move.kind == "send":
        if phase == "send" and move.account != "outside":
            return move.account, [money(cm.Withdraw, move.asset, move.amount)]
        if phase == "receive" and move.to != "outside":
            return move.to, [money(cm.Deposit, move.received_asset, move.receives)]
        return move.account, []
    if move.phase != phase:
        return move.account, []
    if move.kind == "convert":
        sold, got = money(cm.Withdraw, move.asset, move.amount), money(cm.Deposit, move.received_asset, move.receives)
        return move.account, [sold, got]
    if move.kind == "move":
        return move.account, [cm.Transfer(symbol=move.symbol, amount=move.amount)]
    if move.kind == "set_leverage":
        return move.account, [cm.SetLeverage(symbol=move.symbol, leverage=move.leverage)]
    if move.kind == "set_margin_mode":
        return move.account, [cm.SetMarginMode(symbol=move.symbol, margin_mode=move.margin_mode)]
    return move.account, [
        cm.Order(symbol=move.symbol, quantity=move.quantity, price=move.price, leverage=move.leverage)
    ]
