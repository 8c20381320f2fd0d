"""Small funds for the tests of allocation, and a plan done by hand: each move on a copy, by the bookkeeping alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import crossmargin as cm
from crossmargin.analytics.allocation import Plan
from crossmargin.model.fund import Fund, Member

D = Decimal
ZERO = Decimal(0)
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
BRACKETS = [
    {"notional_floor": "0", "maintenance_rate": "0.005"},
    {"notional_floor": "100000", "maintenance_rate": "0.01"},
]
CAPPED = [
    {"notional_floor": "0", "maintenance_rate": "0.005", "max_leverage": "50"},
    {"notional_floor": "100000", "maintenance_rate": "0.02", "max_leverage": "20"},
    {"notional_floor": "150000", "maintenance_rate": "0.05", "max_leverage": "10"},
]
"""A table that caps the leverage of larger positions."""


def member(
    name: str,
    usdt: str,
    quantity: str | None = None,
    *,
    btc: str | None = None,
    profile: str = "plain-cross",
    mark: str = "88000",
    leverage: str = "10",
    ratio: str = "0.95",
    brackets: Sequence[Mapping[str, str]] = BRACKETS,
    fee: str = "0.0005",
    **more: Any,
) -> Member:
    """A cross account with USDT, perhaps BTC as collateral, perhaps one position in BTC entered at the mark."""
    held = {"symbol": BTC, "quantity": quantity, "entry_price": mark, "leverage": leverage}
    raw = {
        "id": name,
        "profile": profile,
        "as_of": "2026-11-23T08:00:00Z",
        "balances": {"USDT": usdt, **({"BTC": btc} if btc is not None else {})},
        "positions": [held] if quantity else [],
        "market": {"mark_price": {BTC: mark}, "index_price": {"BTC": mark}},
        "instruments": [{"symbol": BTC, "taker_fee": fee, "brackets": list(brackets)}],
        "assets": [{"asset": "BTC", "collateral_ratio": ratio}],
        **more,
    }
    return Member(*cm.case_from(raw, name))


def done(fund: Fund, plan: Plan) -> dict[str, cm.Case]:
    """Every account after the plan's moves, by the bookkeeping of what-if and by nothing of the allocation."""
    cases = {one.account.id: tuple(one) for one in fund.members}
    for phase in ("set", "reduce", "send", "receive", "open"):
        for move in plan.moves:
            changes: dict[str, list[Any]] = {}
            if move.kind == "send":
                if phase == "send" and move.account != "outside":
                    changes[move.account] = [cm.Withdraw(asset=move.asset, amount=move.amount)]
                if phase == "receive" and move.to != "outside":
                    changes[move.to or ""] = [cm.Deposit(asset=move.received_asset, amount=_cut(move.receives))]
            elif move.phase == phase and move.kind == "convert":
                got = cm.Deposit(asset=move.received_asset, amount=_cut(move.receives))
                changes[move.account] = [cm.Withdraw(asset=move.asset, amount=move.amount), got]
            elif move.phase == phase and move.kind == "move":
                changes[move.account] = [cm.Transfer(symbol=move.symbol, amount=move.amount)]
            elif move.phase == phase and move.kind == "set_leverage":
                if any(p.symbol == move.symbol for p in cases[move.account][0].positions):
                    changes[move.account] = [cm.SetLeverage(symbol=move.symbol, leverage=move.leverage)]
            elif move.phase == phase and move.kind == "set_margin_mode":
                changes[move.account] = [cm.SetMarginMode(symbol=move.symbol, margin_mode=move.margin_mode)]
            elif move.phase == phase:
                order = _order(fund, move)
                changes[move.account] = [order]
            for name, own in changes.items():
                cases[name] = cm.apply_changes(*cases[name], own)
    return {name: cm.Case(*case) for name, case in cases.items()}


def _cut(amount: Decimal | None) -> Decimal:
    assert amount is not None
    return amount.quantize(D("1e-18"))


def _order(fund: Fund, move: Any) -> cm.Order:
    stated = next(o for o in fund.orders if o.account == move.account and o.symbol == move.symbol)
    return cm.Order(
        symbol=move.symbol,
        quantity=move.quantity,
        price=move.price,
        leverage=move.leverage,
        fee_rate=stated.fee_rate,
        position_side=stated.position_side,
    )


def slack(case: cm.Case, moves: Mapping[str, Decimal], *, share: Decimal = ZERO, amount: Decimal = ZERO) -> Decimal:
    """Equity less (1 + share) x maintenance margin less the amount, of an account's weakest pool, after coins move."""
    market = case.market.model_copy(
        update={
            "mark_price": {s: p * (1 + moves.get(s.split("/")[0], D(0))) for s, p in case.market.mark_price.items()},
            "index_price": {a: p * (1 + moves.get(a, D(0))) for a, p in case.market.index_price.items()},
        }
    )
    pools = cm.evaluate(case.account, market, case.rules).pools
    return min(p.equity - (1 + share) * p.maintenance_margin - amount for p in pools)
