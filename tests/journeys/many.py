"""An account of many positions, as a journey through a large one needs it."""

from __future__ import annotations

from datetime import date, timedelta


def many_positions(count: int, *, as_of: str) -> dict:
    """Ten coins in as many expiries as it takes, each held long and short: 2 contracts at 10, 1 % of maintenance."""
    days = [date(2026, 12, 1) + timedelta(days=at) for at in range(count // 20)]
    names = [f"C{coin}/USDT:USDT-{day:%y%m%d}" for coin in range(10) for day in days]
    return {
        "profile": "plain-cross",
        "as_of": as_of,
        "balances": {"USDT": "1000000"},
        "positions": [
            {"symbol": name, "quantity": sign + "2", "entry_price": "10", "leverage": "5", "position_side": side}
            for name in names
            for side, sign in (("long", ""), ("short", "-"))
        ],
        "market": {"mark_price": dict.fromkeys(names, "10")},
        "instruments": [
            {"symbol": n, "brackets": [{"notional_floor": "0", "maintenance_rate": "0.01"}]} for n in names
        ],
    }
