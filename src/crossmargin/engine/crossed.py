"""What a tick index says: which pools have changed their level, where all of them stand, what it has done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine.columns import Codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The pools whose level changed, one row a change, in the order of ticks.

    ``tick``: the place in the batch of the tick after which it was so (of the last that moved together), -1 = not by a
    tick. ``purse``: the row of the book; ``currency``: what the pool counts in (a place in ``assets``), which names the
    pool where each asset of a purse is one. ``old`` and ``new``: places in the profile's ladder, mild to worst;
    -1 = no level reached, -2 = no figures. ``ladder``: its names for shared pools.
    """

    tick: NDArray[np.int64]
    purse: NDArray[np.int64]
    currency: Codes
    old: NDArray[np.int8]
    new: NDArray[np.int8]
    assets: tuple[str, ...]
    ladder: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tick)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What an index has done since it was made.

    Prices ``taken``; ``duplicate`` (a sequence number again), ``late`` (a lower one), ``refused`` (NaN, 0, negative,
    infinite, a bid above its ask) and ``unknown`` (a name that nothing in the book has) ones, which change nothing.
    ``judged``: pools judged because an end was passed; ``rejudged``: those that the exact judge decided; ``scans``:
    ticks that judged in order; ``loose``: pools that wait for intervals now; ``missed``: crossings that a check found
    and the index had not (0, or there is a bug).
    """

    taken: int
    duplicate: int
    late: int
    refused: int
    unknown: int
    judged: int
    rejudged: int
    scans: int
    loose: int
    missed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Every pool and the level it has reached: columns as in :class:`Changes`."""

    purse: NDArray[np.int64]
    currency: Codes
    level: NDArray[np.int8]
    assets: tuple[str, ...]
    ladder: tuple[str, ...]

    def rows(self) -> Iterator[tuple[int, int, int]]:
        """(purse, currency, level) of every pool."""
        return zip(self.purse.tolist(), self.currency.tolist(), self.level.tolist(), strict=True)
