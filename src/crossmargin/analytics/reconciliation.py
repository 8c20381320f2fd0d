"""Does the venue's own account of itself agree with its rules, and where it does not, why?

Every figure that a venue reported is put beside the judge's. One that differs is asked again under each documented
cause (another price behind the requirement, the fee to close inside or outside it, profit that does not count, another
tier, another tick of the mark); the cause that gives the venue's figure is named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Literal

from crossmargin.analytics.causes import Causes
from crossmargin.analytics.paid_funding import recompute, words_of_slack
from crossmargin.analytics.venue_figures import COMPOSED, AccountCase, Figure, Never, VenueFigures, over
from crossmargin.engine import formulas
from crossmargin.model.account import Account
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT, plain
from crossmargin.model.payment import PaidFunding
from crossmargin.model.profile import Rules
from crossmargin.model.reported import Reported

Agreement = Literal["equal", "within_tolerance", "differs", "unknown"]
Basis = Literal["recomputed", "totals"]

TOLERANCE = Decimal("0.0001")
"""Where an account is read in several calls its figures drift this much (relative) while a quiet market ticks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciledFigure:
    """One figure of the venue beside ours.

    ``unit`` is one unit of the last digit the venue printed. ``basis``: ``recomputed`` by the judge, or from the
    venue's own ``totals`` where the source does not list what they are made of. ``cause`` is the documented cause
    that gives the venue's figure, or what is known; None where nothing tried does. Where both say that there is no such
    price, both are None and the verdict is equal.
    """

    figure: str
    field: str
    ours: Decimal | None
    theirs: Decimal | None
    difference: Decimal | None
    unit: Decimal
    verdict: Agreement
    basis: Basis
    cause: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Every reported figure compared. ``verdict`` is the worst: differs, unknown, within tolerance, equal."""

    profile: str
    rules_since: str
    verdict: Agreement
    tolerance: Decimal
    figures: tuple[ReconciledFigure, ...]
    causes: tuple[str, ...]
    notes: tuple[str, ...]


_WORST: tuple[Agreement, ...] = ("equal", "within_tolerance", "unknown", "differs")


def reconcile(
    account: Account,
    market: Market,
    rules: Rules,
    reported: Iterable[Reported],
    *,
    tolerance: Decimal = TOLERANCE,
    lacking: Collection[str] = (),
    unfounded: Mapping[str, str] | None = None,
    other_rules: Iterable[Rules] = (),
    payments: Iterable[PaidFunding] = (),
) -> Reconciliation:
    """Compare what a venue reported of an account, and the funding it took, with what its rules give.

    ``tolerance`` is relative; a figure within one unit of its last printed digit is equal whatever it is. ``lacking``
    names what the account's source does not list (``balances``, ``positions``): figures of the whole account are then
    checked against each other only. ``unfounded``: figures that cannot be known, each with the reason (a mark price
    or a table that is missing and only stood in for). ``other_rules``: revisions that a difference may come from
    (an outdated tier table). ``payments`` are compared one by one with what their own
    rows come to (:func:`crossmargin.analytics.paid_funding.recompute`).
    Liquidation prices are compared under the convention venues print, in which only the contract's own mark moves.
    Raises what the judge raises.
    """
    with localcontext(CONTEXT):
        book = _Book(account, _priced(account, market, lacking), rules, tuple(reported), lacking, tuple(other_rules))
        rows = tuple(_compare(book, row, tolerance, (unfounded or {}).get(row.figure)) for row in book.reported)
        paid = tuple(payments)
        rows += tuple(_compare_payment(row, rules, tolerance) for row in paid)
    found = {row.verdict for row in rows}
    verdict: Agreement = next((worst for worst in reversed(_WORST) if worst in found), "unknown")
    return Reconciliation(
        profile=rules.profile,
        rules_since=rules.since.isoformat(),
        verdict=verdict,
        tolerance=tolerance,
        figures=rows,
        causes=tuple(dict.fromkeys(row.cause for row in rows if row.cause and row.verdict != "equal")),
        notes=_notes(rows, lacking if _of_whole(book.reported) else (), paid),
    )


def _of_whole(reported: Iterable[Reported]) -> bool:
    """Whether any figure is more than one pocket's own."""
    return any(" isolated." not in row.figure for row in reported)


def _notes(
    rows: tuple[ReconciledFigure, ...], lacking: Collection[str], paid: tuple[PaidFunding, ...]
) -> tuple[str, ...]:
    notes = [] if rows else ["the venue reported no figure that has a name here"]
    if lacking:
        words = " and no ".join(lacking)
        notes.append(f"the source lists no {words}: figures of the whole account are checked against each other")
    sums: dict[str, list[Decimal]] = {}
    for row in paid:
        sums.setdefault(row.currency or "currency not printed", []).append(row.payment)
    for currency, amounts in sums.items():
        notes.append(f"{len(amounts)} funding payments, {plain(sum(amounts, Decimal(0)))} paid in all ({currency})")
    return tuple(notes)


def _priced(account: Account, market: Market, lacking: Collection[str]) -> Market:
    """Without balances the settle assets need no price: nothing that is compared is then counted in another asset."""
    if "balances" not in lacking:
        return market
    settles = {parse_symbol(position.symbol).settle for position in account.positions}
    unpriced = {asset: Decimal(1) for asset in settles if asset not in market.index_price}
    return market.model_copy(update={"index_price": {**market.index_price, **unpriced}})


# our figures ----------------------------------------------------------------------------------------------------------

_TOTALS: Mapping[str, tuple[tuple[str, str], Callable[[Decimal, Decimal], Decimal | None]]] = {
    **COMPOSED,
    "equity": (("collateral_value", "unrealized_pnl"), lambda value, pnl: value + pnl),
    "free_collateral": (("equity", "initial_margin"), formulas.headroom),
    "margin_ratio": (("maintenance_margin", "equity"), over),
    "headroom": (("equity", "maintenance_margin"), formulas.headroom),
}
"""What makes a total where the account behind it is not listed: figures of one report tie together."""


_OF_POCKET: Mapping[str, str] = {"unrealized_pnl": "isolated_margin", "isolated_margin": "unrealized_pnl"}
"""Figures of a pocket of two coins that only tie with each other: its equity is both of them together."""


class _Book:
    """One account with what was reported of it and the alternatives that were judged so far."""

    def __init__(
        self,
        account: Account,
        market: Market,
        rules: Rules,
        reported: tuple[Reported, ...],
        lacking: Collection[str],
        other_rules: tuple[Rules, ...],
    ) -> None:
        self.case: AccountCase = (account, market, rules)
        self.judged = VenueFigures(self.case)
        self.reported = reported
        self.lacking = lacking
        self.totals = {row.figure: row.value for row in reported}
        self.causes = Causes(self.judged, self.totals, other_rules)

    def basis(self, figure: str) -> Basis:
        """Whether the judge can know a figure: one of the whole account needs balances and positions."""
        if not self.lacking or (figure.startswith("rates.") and "balances" not in self.lacking):
            return "recomputed"
        if figure.startswith("balances.") and figure.split(".")[1] in self.case[0].balances:
            return "recomputed"
        if figure.endswith("collateral_value") and "balances" not in self.lacking:
            return "recomputed"
        key = figure.removeprefix("positions.").rpartition(".")[0]
        own = self.judged.position(key) if figure.startswith("positions.") else None
        if own is not None:
            shared = not own.pool.endswith(" isolated")
            return "totals" if shared and figure.endswith(".liquidation_price") else "recomputed"
        return "recomputed" if figure.startswith("pools.") and " isolated." in figure else "totals"

    def ours(self, figure: str, basis: Basis) -> Figure:
        """Our figure on that basis; None where it cannot be known."""
        for name in _OF_POCKET:
            if f".{name}" in figure and any(f"{pocket.symbol} isolated." in figure for pocket in self.case[0].pockets):
                return self._of_pocket(figure, name)
        return self.judged.find(figure) if basis == "recomputed" else self.total(figure, self.totals)

    def _of_pocket(self, figure: str, name: str) -> Figure:
        """Profit is equity less what was put in, and the other way round; None where the venue prints only one."""
        head, _, unit = figure.partition(f".{name}")
        given, equity = self.totals.get(f"{head}.{_OF_POCKET[name]}{unit}"), self.judged.find(f"{head}.equity{unit}")
        return equity - given if given is not None and isinstance(equity, Decimal) else None

    def total(self, figure: str, totals: Mapping[str, Decimal | None]) -> Figure:
        """A total from the venue's other totals of the same account or pool."""
        head, _, name = figure.rpartition(".")
        if name not in _TOTALS:
            return None
        names, combine = _TOTALS[name]
        first, second = (totals.get(f"{head}.{part}" if head else part) for part in names)
        if name == "free_collateral" and first is not None:
            first = self._counted(head, first, totals)
        return None if first is None or second is None else combine(first, second)

    def _counted(self, head: str, equity: Decimal, totals: Mapping[str, Decimal | None]) -> Decimal:
        """Equity as the rules count it to open: less the profit that does not count."""
        rule = self.case[2].slots.equity
        counted = rule.unrealized_pnl_initial or rule.unrealized_pnl
        return equity - _uncounted(totals.get(f"{head}.unrealized_pnl" if head else "unrealized_pnl"), counted)


def _uncounted(pnl: Decimal | None, counted: str) -> Decimal:
    """The part of unrealized PnL that a rule leaves out of equity."""
    if pnl is None or counted == "all":
        return Decimal(0)
    return pnl if counted == "none" else max(pnl, pnl * 0)


# comparing ------------------------------------------------------------------------------------------------------------


def _compare(book: _Book, row: Reported, tolerance: Decimal, unfounded: str | None) -> ReconciledFigure:
    basis = book.basis(row.figure)
    ours = book.ours(row.figure, basis) if unfounded is None else None
    verdict, cause = _verdict(ours, row, tolerance)
    if unfounded is not None:
        cause = unfounded
    elif verdict == "unknown" and ours is None:
        cause = _why_unknown(book, row.figure)
    elif verdict in ("differs", "within_tolerance") and isinstance(ours, Decimal):
        if row.figure.startswith("balances.") and row.figure.endswith(".equity") and "positions" in book.lacking:
            verdict, cause = "unknown", "unrealized PnL is in it, and the source lists no positions"
        else:
            cause = book.causes.of(row, ours) if basis == "recomputed" else _cause_of_total(book, row)
    value = ours if isinstance(ours, Decimal) else None
    return ReconciledFigure(
        figure=row.figure,
        field=row.field,
        ours=value,
        theirs=row.value,
        difference=None if value is None or row.value is None else value - row.value,
        unit=row.unit,
        verdict=verdict,
        basis=basis,
        cause=cause,
    )


def _compare_payment(paid: PaidFunding, rules: Rules, tolerance: Decimal) -> ReconciledFigure:
    """One payment beside the one that its own row comes to."""
    row = Reported(figure=_payment_name(paid), value=paid.payment, field="payment")
    found = recompute(paid, rules)
    verdict, cause = _verdict(found.payment, row, tolerance)
    difference = None if found.payment is None else found.payment - paid.payment
    if found.payment is None:
        cause = found.reason
    elif verdict != "equal" and difference is not None and abs(difference) <= found.slack:
        verdict, cause = "within_tolerance", words_of_slack(paid)
    elif verdict == "differs" and abs(found.payment + paid.payment) <= max(row.unit, found.slack):
        cause = "the other sign: what the row says was paid is what it should have received, or the reverse"
    return ReconciledFigure(
        figure=row.figure,
        field=row.field,
        ours=found.payment,
        theirs=paid.payment,
        difference=difference,
        unit=row.unit,
        verdict=verdict,
        basis="recomputed",
        cause=cause,
    )


def _payment_name(paid: PaidFunding) -> str:
    time = paid.time.isoformat().replace("+00:00", "Z")
    return ".".join(("funding_payments", *([paid.symbol] if paid.symbol else []), time))


def _verdict(ours: Figure, row: Reported, tolerance: Decimal) -> tuple[Agreement, str | None]:
    if isinstance(ours, Never):
        if row.value is None:
            return "equal", None
        return "differs", "no move of this contract alone liquidates the account by the rules; the venue prints a price"
    if ours is None:
        return "unknown", None
    if row.value is None:
        return (
            "unknown",
            f"the venue prints none (outside the prices it admits, or too far away); ours is {plain(ours)}",
        )
    gap = abs(ours - row.value)
    if gap <= row.unit:
        return "equal", None
    return ("within_tolerance" if gap <= tolerance * abs(row.value) else "differs"), None


def _why_unknown(book: _Book, figure: str) -> str:
    if book.lacking:
        return f"taken as given: the source lists no {' and no '.join(book.lacking)} to recompute it from"
    return "the judge has no such figure for this account"


def _cause_of_total(book: _Book, row: Reported) -> str | None:
    head, _, name = row.figure.rpartition(".")
    pnl = book.totals.get(f"{head}.unrealized_pnl" if head else "unrealized_pnl")
    plain_total = book.total(row.figure, book.totals)
    if name != "free_collateral" or not isinstance(plain_total, Decimal) or row.value is None or pnl is None:
        return None
    without = plain_total - _uncounted(pnl, "losses")
    return "unrealized profit does not count to open" if abs(without - row.value) <= row.unit else None
