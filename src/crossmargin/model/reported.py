"""A figure as a venue printed it, under the name that our report gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from crossmargin.errors import AccountError, Fault

NEVER = "never"
_FLOAT_DIGITS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One figure of a venue. ``figure`` is our path, ``field`` the venue's own name for it.

    ``value`` keeps the digits that were printed; None where the venue prints that there is no such price.
    Paths: ``equity``, ``pools.NAME.equity``, ``positions.SYMBOL.maintenance_margin`` (``SYMBOL long`` in hedge mode),
    ``positions.SYMBOL.liquidation_price``, ``balances.ASSET.collateral_value``.
    """

    figure: str
    value: Decimal | None
    field: str = ""

    @property
    def unit(self) -> Decimal:
        """One unit of the last printed digit; beyond 15 digits it is a binary float that was printed, so no finer."""
        return unit_of(self.value)


def unit_of(value: Decimal | None) -> Decimal:
    """One unit of the last digit of a figure as printed, at most 15 significant ones.

    >>> unit_of(Decimal("1352.5353"))
    Decimal('0.0001')
    """
    if value is None:
        return Decimal(0)
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        return Decimal(0)
    finest = value.adjusted() - _FLOAT_DIGITS + 1 if value else exponent
    return Decimal(1).scaleb(max(exponent, finest))


def reported_from(table: Mapping[str, object], where: str) -> tuple[Reported, ...]:
    """The ``[reported]`` table of an account file: figure path -> number as printed, or ``never`` for no such price.

    Raises :class:`AccountError` with every value that is neither.
    """
    found, faults = [], []
    for figure, value in table.items():
        try:
            number = None if value == NEVER else _printed(value)
        except ValueError:
            faults.append(
                Fault(f"reported.{figure}", repr(value), "must be a number as the venue printed it, or never")
            )
            continue
        found.append(Reported(figure=figure, value=number))
    if faults:
        raise AccountError(where, faults)
    return tuple(found)


def _printed(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(value)
    text = str(value)
    if len(text) > 60 or not text.isascii() or not text.lstrip("-").replace(".", "", 1).isdigit():
        raise ValueError(value)
    return Decimal(text)


def reported_table(reported: Iterable[Reported]) -> dict[str, str]:
    """The ``[reported]`` table that :func:`reported_from` reads back."""
    return {row.figure: NEVER if row.value is None else format(row.value, "f") for row in reported}
