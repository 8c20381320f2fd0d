"""What the position rows of many venues have in common: a size, a symbol, and a side told in words or by the sign."""

from __future__ import annotations

from crossmargin.files.payloads.reading import Parts, Position, Row


def start_position(
    row: Row,
    parts: Parts,
    profile: str,
    style: str,
    size: str,
    *names: str,
    signed: bool = False,
    leg: str | None = None,
) -> Position | None:
    """The part that every venue's position has: a size, a symbol, and nothing where the size is 0.

    ``signed``: the size is below 0 for a short of one-way mode; elsewhere a side must be told. ``leg``: long or short
    of hedge mode, where other fields of the row tell that mode.
    """
    parts.lists.add("positions")
    parts.profile(profile, "position")
    quantity = row.number(size)
    if quantity == 0:
        row.skip_all()
        return None
    symbol = row.symbol(style, *names)
    if symbol is None:
        return None
    side = leg or (row.text(*_SIDES) or "net").lower()
    row.skip("side", "direction")
    short = side in ("short", "sell") if signed else row.sold(*_SIDES, "direction")
    mode = row.raw.get("posMode", row.raw.get("holdMode", "hedge_mode"))
    hedged = side in ("long", "short") and mode in ("hedge_mode", "double_hold")
    if quantity is not None and short:
        quantity = -abs(quantity)
    return parts.position(symbol, quantity, side if hedged else "net")


_SIDES = ("holdSide", "posSide", "position_side", "positionSide", "side")
