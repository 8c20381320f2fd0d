"""The whole story of one account on a page: each question asked of the library, each answer a section."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from crossmargin.apps.page import Section, plotly_script, render
from crossmargin.apps.tables import shown
from crossmargin.apps.views import account, market, money, view
from crossmargin.errors import CrossmarginError
from crossmargin.files.accounts import Case
from crossmargin.model.instrument import CASH, parse_symbol
from crossmargin.model.report import Report, Thresholds

_CURVES = 4
"""How many coins get a curve, and a largest order: the nearest to liquidation first."""
VOLATILITY, CORRELATION = 0.05, 0.6
"""What is assumed of every coin where no history is given: about the median of large coins over 2024 and 2025."""


def killing_sentence(report: Report, found: Thresholds) -> str:
    """In plain words: which move kills the account."""
    if report.status == "liquidation":
        weakest = next(pool for pool in report.pools if pool.status == "liquidation")
        return (
            f"Liquidatable now: {weakest.name} has {shown(weakest.equity)} {weakest.currency} of equity against "
            f"{shown(weakest.maintenance_margin)} of maintenance margin."
        )
    moves = []
    for row in found.thresholds:
        for side in (row.below, row.above):
            if side.kind == "price" and side.distance is not None:
                verb = "falls" if side.distance < 0 else "rises"
                move = f"{abs(side.distance) * 100:.1f} %"
                words = f"{_coin(row.symbol)} alone {verb} {move} ({row.symbol} to {shown(side.price)})"
                moves.append((abs(side.distance), words))
    together = []
    for side, verb in ((found.common_shock.below, "fall"), (found.common_shock.above, "rise")):
        if side.kind == "price" and side.distance is not None:
            together.append(f"all coins {verb} {abs(side.distance) * 100:.1f} % together")
    unknown = any(side.kind == "unknown" for row in found.thresholds for side in (row.below, row.above))
    if not moves and not together:
        return (
            "No price move alone is known to liquidate it." if unknown else "No move of a single price liquidates it."
        )
    nearest = [words for _, words in sorted(moves, key=lambda move: move[0])[:1]]
    return "Liquidated if " + ", or if ".join([*nearest, *together]) + "."


def _coin(name: str) -> str:
    """The coin behind a threshold's row: a contract's base, or the asset itself."""
    return parse_symbol(name).base if "/" in name else name


class _Asked(NamedTuple):
    """What every question starts from."""

    case: Case
    report: Report
    found: Thresholds
    history: Mapping[str, Sequence[float]] | None


def page(case: Case, *, history: Mapping[str, Sequence[float]] | None = None) -> str:
    """The report page of one account, as HTML.

    ``history``: daily closes by coin, the covariance's source (as :func:`crossmargin.load_history` reads them); without
    it every coin is taken to move by 5 % a day with correlations of 0.6, and the page says so. Raises
    :class:`MissingExtra` without the ``plot`` extra, and as :func:`crossmargin.evaluate` does; a question that cannot
    be answered says so in its section.
    """
    from crossmargin.analytics.threshold import threshold
    from crossmargin.engine.reporting import evaluate

    script = plotly_script()
    report, found = evaluate(*case), threshold(*case)
    asked = _Asked(case, report, found, history)
    sections: list[Section] = []
    for title, question in _QUESTIONS.items():
        try:
            sections += question(asked)
        except CrossmarginError as error:
            # one question that cannot be answered says so and leaves the others standing
            sections.append(Section(title=title, text=f"Not answered: {error}"))
    return render(
        title=f"Margin report: {report.id}",
        status=report.status,
        lead=killing_sentence(report, found),
        sub=f"{report.profile}, rules of {report.rules_since}; market of {report.as_of:%Y-%m-%d %H:%M} UTC",
        sections=sections,
        foot="Exact by the rules shown; a venue's own page decides.",
        script=script,
    )


# questions ------------------------------------------------------------------------------------------------------------


def _nearest_symbols(found: Thresholds) -> list[str]:
    """The names of the thresholds, the nearest to liquidation first."""

    def gap(row: Any) -> Decimal:
        sides = [abs(side.distance) for side in (row.below, row.above) if side.distance is not None]
        return min(sides, default=Decimal(10**6))

    return list(dict.fromkeys(row.symbol for row in sorted(found.thresholds, key=gap)))


def nearest_coins(found: Thresholds) -> list[str]:
    """The coins of the thresholds, the nearest to liquidation first."""
    return list(dict.fromkeys(_coin(symbol) for symbol in _nearest_symbols(found)))


def _reach(found: Thresholds) -> Decimal:
    """How far pictures go to each side: four times the nearest distance, from 10 % to 90 %."""
    sides = [side.distance for row in found.thresholds for side in (row.below, row.above)]
    near = min((abs(distance) for distance in sides if distance is not None), default=Decimal(1))
    return min(max(Decimal(math.ceil(near * 40)) / 10, Decimal("0.1")), Decimal("0.9"))


def _standing(asked: _Asked) -> Iterator[Section]:
    yield account.standing(asked.report)


def _thresholds(asked: _Asked) -> Iterator[Section]:
    yield account.thresholds(asked.found)


def _curves(asked: _Asked) -> Iterator[Section]:
    from crossmargin.analytics.curve import curve

    coins, reach = nearest_coins(asked.found)[:_CURVES], _reach(asked.found)
    yield account.curves([found for coin in coins for found in curve(*asked.case, coin, low=-reach, high=reach)])


def _reverse_stress(asked: _Asked) -> Iterator[Section]:
    from crossmargin.analytics.barrier import nearest_chance
    from crossmargin.analytics.covariance import correlated, estimate_covariance
    from crossmargin.analytics.reverse_stress import reverse_stress

    if asked.history is not None:
        covariance = estimate_covariance(asked.history)
        basis = f"Covariance of {covariance.days} daily moves, shrinkage {covariance.shrinkage:.3f}."
    else:
        reference = asked.case.rules.reference_currency
        coins = [coin for coin in nearest_coins(asked.found) if coin not in CASH and coin != reference]
        covariance = correlated(dict.fromkeys(coins, VOLATILITY), CORRELATION)
        basis = (
            f"Assumed, not estimated: every coin moves by {VOLATILITY:.0%} a day, every pair with a correlation of "
            f"{CORRELATION}; give a history of daily closes for figures of your own."
        )
    found = reverse_stress(*asked.case, covariance)
    shock = asked.found.common_shock
    common = min((shock.below, shock.above), key=lambda side: abs(side.distance or Decimal("Infinity")))
    yield market.killing_move(found, common, nearest_chance(found), basis)


def _stress(asked: _Asked) -> Iterator[Section]:
    from crossmargin.analytics.stress import heat_map, stress
    from crossmargin.files.scenarios import historical_scenarios

    yield market.outcomes(stress(*asked.case, historical_scenarios()))
    coins = nearest_coins(asked.found)[:2]
    if len(coins) == 2:
        steps = tuple(_reach(asked.found) * step / 4 for step in range(-4, 5))
        yield view(heat_map(*asked.case, coin_x=coins[0], coin_y=coins[1], moves_x=steps, moves_y=steps))


def _sensitivity(asked: _Asked) -> Iterator[Section]:
    from crossmargin.analytics.sensitivity import sensitivity

    yield view(sensitivity(*asked.case, thresholds=()))


def _funding(asked: _Asked) -> Iterator[Section]:
    from crossmargin.analytics.funding import runway

    yield view(runway(*asked.case))


def _orders(asked: _Asked) -> Iterator[Section]:
    from crossmargin.analytics.limits import MaxOrder, max_order

    found: list[MaxOrder] = []
    unanswered = []
    held = {(p.symbol, p.position_side, p.margin_mode) for p in asked.case.account.positions}
    for symbol in _nearest_symbols(asked.found)[:_CURVES]:
        for _, position_side, mode in sorted(key for key in held if key[0] == symbol):
            for side in ("buy", "sell"):
                try:
                    found.append(max_order(*asked.case, symbol, side, position_side=position_side, margin_mode=mode))
                except CrossmarginError as error:
                    unanswered.append(f"{symbol} {side}: {error}")
    section = account.orders(found)
    yield Section(title=section.title, text=" ".join([section.text, *unanswered]), tables=section.tables)


def _comparison(asked: _Asked) -> Iterator[Section]:
    from crossmargin.analytics.comparison import compare

    yield view(compare(*asked.case))


def _hedges(asked: _Asked) -> Iterator[Section]:
    from crossmargin.analytics.hedge import neutral_pairs, requirements

    yield money.needs(requirements(*asked.case), neutral_pairs(*asked.case))


def _cascade(asked: _Asked) -> Iterator[Section]:
    from crossmargin.analytics.cascade import cascade

    yield view(cascade(*asked.case))


def _lines(asked: _Asked) -> Iterator[Section]:
    yield account.lines(asked.report)


def _sources(asked: _Asked) -> Iterator[Section]:
    yield account.sources(asked.case.rules)


_QUESTIONS: dict[str, Callable[[_Asked], Iterator[Section]]] = {
    "Where it stands": _standing,
    "Where it is liquidated": _thresholds,
    "Equity against maintenance margin": _curves,
    "Which plausible move kills it first": _reverse_stress,
    "If the market moves": _stress,
    "What moves it": _sensitivity,
    "How long it can pay funding": _funding,
    "How much more it can open": _orders,
    "Isolated or cross": _comparison,
    "What each position costs": _hedges,
    "What happens when it breaks": _cascade,
    "Every line, with its rule": _lines,
    "Sources": _sources,
}
"""Each question under the title that stands where it cannot be answered; one may answer in several sections."""
