"""Changing an account file the way a venue would: which pool a position is in, payments out of it, steps of inputs."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from matching import isolated

import oracle

F = Fraction


def key_of(account: dict[str, Any], law: oracle.Law, position: dict[str, Any]) -> oracle.Key:
    side = position.get("position_side", "net")
    if (position["symbol"], side) in isolated(account) and position.get("margin_mode") == "isolated":
        return ("isolated", position["symbol"], side)
    return ("cross", oracle.contract(position["symbol"]).settle if law.pooling == "per_settle" else "")


def shared_key(law: oracle.Law, asset: str) -> oracle.Key:
    return ("cross", asset if law.pooling == "per_settle" else "")


def add(entry: dict[str, Any], name: str, step: F) -> None:
    entry[name] = str(F(str(entry[name])) + step)


def pay(account: dict[str, Any], law: oracle.Law, position: dict[str, Any], rate: F) -> None:
    """Take a payment of funding at a rate from where the position's margin lies."""
    rules, market = oracle.applied(law, account), oracle.Market(account)
    symbol, quantity = position["symbol"], F(str(position["quantity"]))
    value = oracle.value_of(rules, symbol, quantity, market.mark(symbol)) * (1 if quantity > 0 else -1)
    if position.get("margin_mode") == "isolated":
        add(position, "isolated_margin", -value * rate)
        return
    deposit(account, oracle.contract(symbol).settle, -value * rate)


def deposit(account: dict[str, Any], asset: str, amount: F) -> None:
    held = account["balances"].get(asset, "0")
    whole = held if isinstance(held, dict) else {"wallet_balance": held}
    account["balances"][asset] = {**whole, "wallet_balance": str(F(str(whole.get("wallet_balance", "0"))) + amount)}
