"""What can be drawn: the answer to every question, and curves. Drawn by :mod:`crossmargin.apps.drawing`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from crossmargin.apps.questions import QUESTIONS, Name, Options, Question, Subject
from crossmargin.model.scenario import Move


class CurveOptions(Options):
    """Options of a curve."""

    coin: Annotated[tuple[Name, ...], Field(max_length=20)] = ()
    """These coins; by default the four that are nearest to liquidation."""
    low: Move = Decimal("-0.5")
    """The greatest fall drawn."""
    high: Annotated[Move, Field(le=10)] = Decimal("0.5")
    """The greatest rise drawn."""
    points: Annotated[int, Field(ge=2, le=500)] = 41
    """So many points, and the thresholds."""


def curve(subject: Subject, options: CurveOptions) -> Any:
    """Draw equity against maintenance margin along coins, with the thresholds where they cross."""
    from crossmargin.analytics.curve import curve as ask
    from crossmargin.analytics.threshold import threshold
    from crossmargin.apps.story import nearest_coins
    from crossmargin.errors import AccountError, Fault

    if options.low >= options.high:
        raise AccountError("curve", (Fault("options.low", str(options.low), "must be below high"),))
    coins = options.coin or nearest_coins(threshold(*subject.case))[:4]
    drawn: dict[str, Any] = {"low": options.low, "high": options.high, "points": options.points}
    return tuple(row for coin in coins for row in ask(*subject.case, coin, **drawn))


PICTURES: Mapping[str, Question] = {**QUESTIONS, "curve": Question(CurveOptions, curve)}
"""What can be drawn: the answer to every question, and curves."""
