"""The liquidation walk on random accounts of every profile: it ends, never starts too early, and money adds up."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matching import case, gone

import crossmargin as cm
import oracle
from crossmargin.engine.liquidation import Liquidated, liquidate
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.model.number import CONTEXT, plain
from crossmargin.model.profile import Rules
from crossmargin.model.programme import Liquidation
from strategies import MENUS, accounts

ZERO = Decimal(0)
NAMES = sorted(MENUS)


def pools(account: cm.Account, market: cm.Market, rules: Rules) -> dict[str, Any]:
    with localcontext(CONTEXT):
        return {pool.name: measure(pool) for pool in prepare(account, market, rules).pools}


def held(state: Any) -> int:
    return sum(len(exposure.legs) for own in state.assets for exposure, _, _ in own.exposures)


def money(account: cm.Account) -> dict[str, Decimal]:
    """Everything that lies in wallets and pockets, by asset."""
    found: dict[str, Decimal] = {}
    with localcontext(CONTEXT):
        for name, balance in account.balances.items():
            found[name] = found.get(name, ZERO) + balance.wallet_balance
        for position in account.positions:
            settle = position.symbol.partition(":")[2].partition("-")[0]
            found[settle] = found.get(settle, ZERO) + (position.isolated_margin or ZERO)
    return found


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=30)
def test_the_walk_is_total_and_its_money_adds_up(name: str, data: st.DataObject) -> None:
    fund = data.draw(st.sampled_from([None, ZERO, Decimal(1), Decimal(10) ** 6]))
    funds = None if fund is None else dict.fromkeys(("USD", "USDT", "USDC", "BTC", "ETH", "SOL"), fund)
    account, market, rules = case(data.draw(accounts(name)))
    done = liquidate(account, market, rules, insurance_fund=funds)
    ends_healthy_or_flat(account, market, rules, done)
    conserves_money(account, done)
    only_shrinks(account, done)
    for amount in done.insurance_fund.values():
        assert amount >= 0, "the fund never pays more than it holds"
    assert not liquidate(done.account, market, rules, insurance_fund=funds).steps, "nothing is left to do"


def ends_healthy_or_flat(account: cm.Account, market: cm.Market, rules: Rules, done: Liquidated) -> None:
    before, after = pools(account, market, rules), pools(done.account, market, rules)
    touched = {step.pool for step in done.steps}
    for pool, state in before.items():
        assert (pool in touched) == state.liquidatable, "only what is broken is liquidated, and all of it"
        left = after.get(pool)  # None: a pocket that is gone
        assert left is None or not left.liquidatable or (held(left) == 0 and left.equity >= 0)


def conserves_money(account: cm.Account, done: Liquidated) -> None:
    before, after = money(account), money(done.account)
    with localcontext(CONTEXT):
        booked: dict[str, Decimal] = {}
        for step in done.steps:
            for entry in step.entries:
                flow = entry.realized_pnl - entry.fee - entry.insurance_fund + entry.transfer
                booked[entry.asset] = booked.get(entry.asset, ZERO) + flow
        for asset in {*before, *after, *booked}:
            assert after.get(asset, ZERO) - before.get(asset, ZERO) == booked.get(asset, ZERO)


def only_shrinks(account: cm.Account, done: Liquidated) -> None:
    size = {(p.symbol, p.position_side): p.quantity for p in account.positions}
    for step in done.steps:
        assert step.entries, "a step does something"
        for entry in step.entries:
            if step.step != "cancel_orders" and entry.position_side:
                key = entry.what, entry.position_side
                was = size[key]
                size[key] = was + entry.quantity
                assert abs(size[key]) < abs(was), "closed"
                assert size[key] == 0 or (size[key] > 0) == (was > 0), "and never turned round"
        if step.step in ("auto_deleverage", "socialized_loss"):
            assert step.transfer > 0, "others pay only for a deficit"
    left = {(p.symbol, p.position_side): p.quantity for p in done.account.positions}
    assert left == {key: quantity for key, quantity in size.items() if quantity}


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=20)
def test_another_judge_finds_nothing_broken_after_the_walk(name: str, data: st.DataObject) -> None:
    """The account after the last step, as a file, judged by the fractions of tests/oracle.py."""
    file = data.draw(accounts(name))
    done = liquidate(*case(file))
    law = oracle.law_of(file["profile"], file["as_of"])
    for pool in oracle.judge(law, as_file(file, done.account)).values():
        assert not gone(law, pool)


def as_file(file: dict[str, Any], account: cm.Account) -> dict[str, Any]:
    """The account file with wallets, positions and orders as they stand now."""
    given_of = {(p["symbol"], p.get("position_side", "net")): p for p in file["positions"]}
    positions = []
    for position in account.positions:
        stated = dict(given_of[position.symbol, position.position_side])
        stated["quantity"] = plain(position.quantity)
        if position.isolated_margin is not None:
            stated["isolated_margin"] = plain(position.isolated_margin)
        positions.append(stated)
    balances = {}
    for name, balance in account.balances.items():
        stated = file["balances"].get(name, {})
        rest = {} if isinstance(stated, str) else {k: v for k, v in stated.items() if k != "wallet_balance"}
        balances[name] = {"wallet_balance": plain(balance.wallet_balance), **rest}
    orders = [order for order in file.get("open_orders", []) if account.open_orders]
    return {**file, "positions": positions, "balances": balances, "open_orders": orders}


@pytest.mark.parametrize("name", ["binance-usdm", "binance-coinm", "hyperliquid", "plain-isolated"])
@given(data=st.data())
@settings(max_examples=20)
def test_the_bankruptcy_price_leaves_a_pool_of_one_currency_with_nothing(name: str, data: st.DataObject) -> None:
    """Taking over everything at once, whoever bears it, ends at equity zero: that is what the price means."""
    account, market, rules = case(data.draw(accounts(name, orders=False)))
    taken = under(rules, {"step": "take_over", "scope": "pool"})
    for step in liquidate(account, market, taken).steps:
        assert step.equity_after >= 0
        if all(entry.price for entry in step.entries):  # a position cannot lose more than its value
            assert step.equity_after < Decimal("1e-15")


KINDS: dict[str, dict[str, str]] = {
    "reduce_to_requirement": {},
    "reduce_by_bracket": {"brackets": "2", "price": "bankruptcy"},
    "reduce_slice": {"share": "0.2", "discount": "0.01"},
    "offset_two_sided": {"match": "coin"},
    "pro_rata": {},
    "largest_loss_first": {"price": "bankruptcy"},
    "repay": {"buffer": "0.02"},
    "backstop": {"share_of_maintenance": "0.5"},
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=20)
def test_every_kind_of_step_keeps_the_promises_on_every_profile(kind: str, data: st.DataObject) -> None:
    account, market, rules = case(data.draw(accounts(data.draw(st.sampled_from(NAMES)))))
    own = under(rules, {"step": kind, **KINDS[kind]}, {"step": "take_over"})
    done = liquidate(account, market, own)
    ends_healthy_or_flat(account, market, own, done)
    conserves_money(account, done)
    only_shrinks(account, done)


@pytest.mark.parametrize("kind", ["reduce_to_requirement", "pro_rata"])
@given(data=st.data())
@settings(max_examples=20)
def test_a_partial_reduction_is_enough_and_no_more_than_enough(kind: str, data: st.DataObject) -> None:
    """One lot less of what was closed last, and the pool would still be liquidatable."""
    account, market, rules = case(data.draw(accounts("hyperliquid", orders=False)))
    own = under(rules, {"step": kind}, {"step": "take_over"})
    steps = [step for step in liquidate(account, market, own).steps if step.step == kind]
    for step in steps:
        if step.headroom_after > 0 and any(entry.what == p.symbol for entry in step.entries for p in account.positions):
            # what one lot (1e-8 contracts) of each position frees at most: its maintenance, or its loss
            lot = sum((Decimal("1e-8") * (entry.price or ZERO) for entry in step.entries), ZERO)
            partial = all(
                abs(entry.quantity) < abs(p.quantity)
                for entry in step.entries
                for p in account.positions
                if p.symbol == entry.what
            )
            assert not partial or step.headroom_after <= 2 * lot


def under(rules: Rules, *programme: dict[str, str]) -> Rules:
    """The same rules with a liquidation programme of one's own, for pockets too."""
    own = Liquidation.model_validate({"source": "test", "programme": programme, "liquidation_fee": "0.0005"})
    isolated = None if rules.slots.isolated is None else rules.slots.isolated.model_copy(update={"liquidation": None})
    return replace(rules, slots=rules.slots.model_copy(update={"liquidation": own, "isolated": isolated}))
