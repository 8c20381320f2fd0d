"""How do these coins move together?

A covariance of relative moves over one day, given or estimated from a price history. The estimate is the sample
covariance drawn towards a multiple of the identity by the amount that Ledoit and Wolf showed to be best: with few
days and many coins the sample alone calls some directions riskless that are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import AccountError, Fault

Floats = NDArray[np.float64]
_ROUNDING = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Covariance:
    """Covariance of the coins' relative moves over one day. ``shrinkage`` and ``days``: of an estimate, else None."""

    coins: tuple[str, ...]
    matrix: Floats
    shrinkage: float | None = None
    days: int | None = None

    def of(self, coins: Sequence[str]) -> Floats:
        """The rows and columns of these coins. Raises :class:`AccountError` naming every coin that it lacks."""
        missing = [coin for coin in coins if coin not in self.coins]
        if missing:
            why = "has no row in the covariance, so its risk is unknown; add it to the covariance or the history"
            raise AccountError("covariance", [Fault(coin, "", why) for coin in missing])
        place = [self.coins.index(coin) for coin in coins]
        return self.matrix[np.ix_(place, place)]


def covariance_of(coins: Sequence[str], matrix: ArrayLike) -> Covariance:
    """A covariance that is given: daily, of relative moves, in the order of ``coins``.

    Raises :class:`AccountError` where it is not square, finite, symmetric and positive semi-definite.
    """
    names, table = tuple(coins), np.array(matrix, dtype=np.float64)

    def refuse(value: str, why: str) -> AccountError:
        return AccountError("covariance", (Fault("matrix", value, why),))

    if len(set(names)) != len(names):
        raise refuse(", ".join(names), "names a coin twice")
    if table.shape != (len(names), len(names)) or not names:
        raise refuse(f"shape {table.shape}", f"must have {len(names)} rows and columns, one a coin")
    if not np.isfinite(table).all():
        raise refuse("", "must be finite")
    largest = float(np.abs(table).max())
    if not np.allclose(table, table.T, rtol=0, atol=_ROUNDING * largest):
        raise refuse("", "must be symmetric")
    least = float(np.linalg.eigvalsh(table)[0])
    if least < -_ROUNDING * largest:
        why = "must be positive semi-definite: some mix of coins would have a negative variance; estimate it anew"
        raise refuse(f"eigenvalue {least:.3g}", why)
    return Covariance(coins=names, matrix=(table + table.T) / 2)


def correlated(volatility: Mapping[str, float], correlation: float) -> Covariance:
    """The covariance of coins with these daily volatilities (0.05 is 5 %) and one correlation for every pair.

    Raises :class:`AccountError` as :func:`covariance_of` does.
    """
    matrix = [[a * b * (1.0 if x == y else correlation) for y, b in volatility.items()] for x, a in volatility.items()]
    return covariance_of(list(volatility), matrix)


def estimate_covariance(history: Mapping[str, Sequence[float]] | Any) -> Covariance:
    """Estimate the covariance of daily moves from closing prices, shrunk by Ledoit and Wolf.

    ``history``: a mapping or a frame, coin -> prices, oldest first, one a day. With moves ``x_k`` (n days, p coins,
    means taken off), sample covariance ``S`` = sum x_k x_k' / n, ``m`` = trace(S) / p, and the squared norm
    ``|A|^2`` = sum a_ij^2 / p:

        d^2 = |S - m I|^2,   b^2 = min(d^2, sum_k |x_k x_k' - S|^2 / n^2),   shrinkage = b^2 / d^2,
        estimate = (1 - shrinkage) S + shrinkage m I.

    Source: Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, Journal of
    Multivariate Analysis 88 (2004) 365-411, section 3.3. Raises :class:`AccountError` for a gap (a price that is
    missing, not finite or not positive), columns of different length, and fewer than three days.
    """
    prices = {str(coin): np.asarray(history[coin], dtype=np.float64) for coin in history}
    faults = []
    for coin, column in prices.items():
        bad = np.flatnonzero(~(np.isfinite(column) & (column > 0)))
        if len(bad):
            why = f"has no positive price in {len(bad)} of {len(column)} rows; fill the gap, it cannot be guessed"
            faults.append(Fault(f"history.{coin}[{bad[0]}]", str(column[bad[0]]), why))
    lengths = {len(column) for column in prices.values()}
    if len(lengths) > 1:
        faults.append(
            Fault("history", str(sorted(lengths)), "its columns differ in length; every coin needs every day")
        )
    elif not prices or min(lengths) < 3:
        faults.append(Fault("history", str(sorted(lengths)), "needs at least three days of one coin"))
    if faults:
        raise AccountError("price history", faults)
    table = np.column_stack(list(prices.values()))
    moves = table[1:] / table[:-1] - 1
    moves -= moves.mean(axis=0)
    days, coins = moves.shape
    sample = moves.T @ moves / days
    mean = float(np.trace(sample)) / coins
    target = mean * np.eye(coins)
    dispersion = float(((sample - target) ** 2).sum()) / coins
    # sum_k |x_k x_k' - S|^2 = sum_k |x_k|^4 - n |S|^2, without forming a matrix a day
    noise = (float(((moves**2).sum(axis=1) ** 2).sum()) - days * float((sample**2).sum())) / coins / days**2
    shrinkage = min(1.0, noise / dispersion) if dispersion > 0 else 0.0
    matrix = (1 - shrinkage) * sample + shrinkage * target
    return Covariance(coins=tuple(prices), matrix=matrix, shrinkage=shrinkage, days=days)
