"""Small pictures made of characters: a line of blocks, a bar; ASCII where the terminal is not UTF-8, no colours."""

from __future__ import annotations

from collections.abc import Sequence

_LEVELS, _ASCII_LEVELS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
GONE = "x"
"""Where a figure is 0 or less: liquidated."""


def spark(values: Sequence[float | None], *, ascii_only: bool = False) -> str:
    """One character a value: its height over 0 against the greatest, ``x`` for 0 or less, a blank for unknown.

    >>> spark([-1, 0, 1, 4, 8, None])
    'xx▁▄█ '
    >>> spark([-1, 0, 1, 4, 8, None], ascii_only=True)
    'xx_=# '
    """
    levels = _ASCII_LEVELS if ascii_only else _LEVELS
    greatest = max((value for value in values if value is not None and value > 0), default=1.0)

    def level(value: float) -> str:
        # the lowest level is for what is above 0 at all, the highest for the greatest
        return levels[max(0, round(value / greatest * len(levels)) - 1)] if value > 0 else GONE

    return "".join(" " if value is None else level(value) for value in values)


def bar(value: float | None, greatest: float, width: int, *, ascii_only: bool = False) -> str:
    """A bar as long as a value's share of the greatest, in ``width`` cells; ``x`` for 0 or less.

    >>> bar(5, 16, 4), bar(5, 16, 4, ascii_only=True), bar(-5, 16, 4)
    ('█▎', '#', 'x')
    """
    if value is None or greatest <= 0:
        return ""
    if value <= 0:
        return GONE
    eighths = round(min(value / greatest, 1.0) * width * 8)
    if ascii_only:
        return "#" * max(1, eighths // 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip() or _EIGHTHS[1]
