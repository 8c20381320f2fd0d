"""INV-22: every slope is the limit of the oracle's difference quotient, on each side; what is not listed has slope 0.

The oracle judges in fractions, so a quotient over a step of 1e-12 of the input is the slope itself wherever headroom is
straight in it, and within 1e-9 of it where it curves (an inverse contract along its mark).
"""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from matching import case, pool_names, report_of
from moving import add, deposit, key_of, pay, shared_key

import crossmargin as cm
import oracle
import strategies
from crossmargin.analytics.sensitivity import sensitivity

F = Fraction
PROFILES = sorted(strategies.MENUS)
FEW = settings(max_examples=max(8, settings().max_examples // 5))
STEP = F(1, 10**12)


Moves = list[tuple[str, str, oracle.Key, F, Any]]


def inputs(account: dict[str, Any], law: oracle.Law, keys: list[oracle.Key]) -> Moves:
    """(kind, name, pool, value now, how to add a step) of everything that an account file states."""
    found: Moves = []
    market = account["market"]
    for index, position in enumerate(account["positions"]):
        symbol, key = position["symbol"], key_of(account, law, position)
        side = "" if position.get("position_side", "net") == "net" else f" {position['position_side']}"
        mark = F(market["mark_price"][symbol])
        found.append(("mark_price", symbol, key, mark, lambda a, d, s=symbol: add(a["market"]["mark_price"], s, d)))
        quantity = F(str(position["quantity"]))
        found.append(
            ("quantity", symbol + side, key, quantity, lambda a, d, i=index: add(a["positions"][i], "quantity", d))
        )
        if position.get("margin_mode") == "isolated":
            margin = F(str(position["isolated_margin"]))
            name = symbol + side
            found.append(
                (
                    "isolated_margin",
                    name,
                    key,
                    margin,
                    lambda a, d, i=index: add(a["positions"][i], "isolated_margin", d),
                )
            )
        if account["profile"] != "hyperliquid" and "-26" not in symbol:
            found.append(
                ("funding_rate", symbol + side, key, F(0), lambda a, d, i=index: pay(a, law, a["positions"][i], d))
            )
    for asset, held in account["balances"].items():
        key = shared_key(law, asset)
        if key in keys:
            wallet = F(str(held.get("wallet_balance", "0") if isinstance(held, dict) else held))
            found.append(("wallet_balance", asset, key, wallet, lambda a, d, n=asset: deposit(a, n, d)))
    for table in ("index_price", "bid_rate", "ask_rate"):
        for asset, price in market.get(table, {}).items():
            if ("cross", "") in keys and asset != law.reference:
                found.append(
                    (table, asset, ("cross", ""), F(price), lambda a, d, t=table, n=asset: add(a["market"][t], n, d))
                )
    for index, rule in enumerate(account.get("assets", ())):
        if ("cross", "") in keys and "collateral_ratio" in rule and F(str(rule["collateral_ratio"])) < 1:
            ratio = F(str(rule["collateral_ratio"]))
            found.append(
                (
                    "collateral_ratio", rule["asset"], ("cross", ""), ratio,
                    lambda a, d, i=index: add(a["assets"][i], "collateral_ratio", d),
                )
            )  # fmt: skip
    return found


@pytest.mark.parametrize("profile", PROFILES)
def test_slopes_are_the_oracles_difference_quotients(profile: str):
    @FEW
    @given(strategies.accounts(profile, most=3))
    def holds(account: dict[str, Any]) -> None:
        law = oracle.law_of(account["profile"], account["as_of"])
        found = sensitivity(*case(account), thresholds=())
        # without index prices the weakest of several pools is unknown, and so is funding on an oracle price
        assert all("market.index_price" in note for note in found.notes), found.notes
        names, pools = pool_names(account, report_of(account), law), oracle.judge(law, account)
        rows = {(row.pool, row.kind, row.name): row for row in found.slopes}
        for kind, name, key, now, move in inputs(account, law, list(pools)):
            row = rows.get((names[key], kind, name))
            # what is not listed has slope 0; a rate or ratio is not given as a fraction of itself
            step = STEP * (abs(now) or 1)
            for way, slope in ((1, row.up if row else 0), (-1, row.down if row else 0)):
                moved = deepcopy(account)
                move(moved, way * step)
                quotient = (oracle.judge(law, moved)[key].headroom - pools[key].headroom) / (way * step)
                assert abs(F(slope) - quotient) <= F(1, 10**9) * abs(quotient), (kind, name, way, float(quotient), row)

    holds()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_coin_moves_all_its_contracts_and_its_collateral(profile: str):
    @FEW
    @given(strategies.accounts(profile, most=3))
    def holds(account: dict[str, Any]) -> None:
        law = oracle.law_of(account["profile"], account["as_of"])
        found = sensitivity(*case(account), thresholds=())
        names, pools = pool_names(account, report_of(account), law), oracle.judge(law, account)
        rows = {(row.pool, row.name): row for row in found.slopes if row.kind == "coin"}
        for coin in {oracle.contract(p["symbol"]).base for p in account["positions"]}:
            for key, pool in pools.items():
                row = rows.get((names[key], coin))
                for way, slope in ((1, row.up if row else 0), (-1, row.down if row else 0)):
                    moved = oracle.judge(law, account, coins={coin: 1 + way * STEP})[key]
                    relative = (moved.headroom - pool.headroom) / (way * STEP)
                    exact = F(slope) * (F(row.now) if row else 1)
                    assert abs(exact - relative) <= F(1, 10**9) * abs(relative), (coin, key, way, row)

    holds()


@pytest.mark.parametrize("profile", ["plain-cross", "binance-usdm", "bybit-uta", "binance-usdm-multi-assets"])
def test_threshold_slopes_are_what_thresholds_do(profile: str):
    """The threshold itself, found again with the input a step of 1e-15 higher, moves by slope x step."""

    @FEW
    @given(strategies.accounts(profile, most=3))
    def holds(account: dict[str, Any]) -> None:
        law = oracle.law_of(account["profile"], account["as_of"])
        question = case(account)
        found = sensitivity(*question)
        names = pool_names(account, report_of(account), law)
        rows = {(row.pool, row.symbol, row.side, row.kind, row.name): row for row in found.thresholds}
        before = {(row.pool, row.symbol): row for row in cm.threshold(*question).thresholds}
        balances = [name for name in account["balances"] if shared_key(law, name) in names]
        for asset in balances:
            pool = names[shared_key(law, asset)]
            wallet = question.account.balances[asset].wallet_balance
            step = Decimal("1e-15") * (abs(wallet) or 1)
            richer = question.account.balances[asset].model_copy(update={"wallet_balance": wallet + step})
            held = question.account.model_copy(update={"balances": {**question.account.balances, asset: richer}})
            after = cm.threshold(held, question.market, question.rules).thresholds
            for new in after:
                for side in ("below", "above") if new.pool == pool and (pool, new.symbol) in before else ():
                    was, now = getattr(before[pool, new.symbol], side), getattr(new, side)
                    if was.kind != "price" or now.kind != "price":
                        continue
                    row = rows.get((pool, new.symbol, side, "wallet_balance", asset))
                    slope = F(row.up or 0) if row else F(0)
                    quotient = (F(now.price) - F(was.price)) / F(step)
                    # a threshold is a root known to 30 digits or more: the quotient keeps 15 of them
                    error = F(1, 10**9) * abs(quotient) + F(was.price) / F(step) / 10**30
                    assert abs(slope - quotient) <= error, (asset, new.symbol, side, float(quotient), row)

    holds()
