"""The whole story of one account as sections of a page: each question asked of the library, its answer put in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from crossmargin.apps import figures
from crossmargin.apps.page import Section, Table, plotly_script, render
from crossmargin.apps.tables import percent, shown
from crossmargin.errors import CrossmarginError
from crossmargin.files.accounts import Case
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.report import Crossing, Report, Thresholds

_CURVES = 4
"""How many coins get a curve: the nearest to liquidation first."""


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


def page(case: Case, *, insights: bool = True) -> str:
    """The report page of one account; ``insights=False`` leaves out the slower questions (hedges, sensitivities)."""
    from crossmargin.analytics.threshold import threshold
    from crossmargin.engine.reference import evaluate

    script = plotly_script()
    report = evaluate(*case)
    found = threshold(*case)
    questions: list[Callable[[Case, Report, Thresholds], Section]] = [
        _pools,
        _thresholds,
        _curves,
        _stress,
        _lines,
        _funding,
        _comparison,
        _cascade,
    ]
    if insights:
        questions += [_sensitivity, _hedges]
    sections = []
    for question in questions:
        try:
            sections.append(question(case, report, found))
        except CrossmarginError as error:
            # one question that cannot be answered says so and leaves the others standing
            title = (question.__doc__ or "").strip().splitlines()[0].rstrip(".")
            sections.append(Section(title=title, text=f"Not answered: {error}"))
    rules = case.rules
    cited = "; ".join(f"{s.title} ({s.status}, {s.retrieved}) {s.url}".strip() for s in rules.sources.values())
    return render(
        title=f"Margin report: {report.id}",
        status=report.status,
        lead=killing_sentence(report, found),
        sub=f"{report.profile}, rules of {report.rules_since}; market of {report.as_of:%Y-%m-%d %H:%M} UTC",
        sections=sections,
        foot=" ".join([*report.notes, "Sources:", cited]),
        script=script,
    )


def _pools(_case: Case, report: Report, _found: Thresholds) -> Section:
    """Where it stands."""
    pools = Table(
        columns=("pool", "in", "equity", "maintenance_margin", "headroom", "margin_ratio", "initial_margin",
                 "free_collateral", "status"),
        rows=[
            [p.name, p.currency, shown(p.equity), shown(p.maintenance_margin), shown(p.headroom),
             percent(p.margin_ratio), shown(p.initial_margin), shown(p.free_collateral),
             p.status + (f" ({p.level})" if p.level else "")]
            for p in report.pools
        ],
    )  # fmt: skip
    positions = Table(
        columns=("position", "quantity", "mark_price", "notional", "unrealized_pnl", "initial_margin",
                 "maintenance_margin", "bracket"),
        rows=[
            [p.symbol + ("" if p.position_side == "net" else f" {p.position_side}"), shown(p.quantity),
             shown(p.mark_price), shown(p.notional), shown(p.unrealized_pnl), shown(p.initial_margin),
             shown(p.maintenance_margin), str(p.bracket or "-")]
            for p in report.positions
        ],
    )  # fmt: skip
    balances = Table(
        columns=("asset", "pool", "wallet_balance", "unrealized_pnl", "equity", "collateral_value"),
        rows=[
            [b.asset, b.pool, shown(b.wallet_balance), shown(b.unrealized_pnl), shown(b.equity),
             shown(b.collateral_value)]
            for b in report.balances
        ],
    )  # fmt: skip
    return Section(title="Where it stands", tables=[pools, positions, balances])


def _side(side: Crossing) -> str:
    if side.kind == "price":
        price = "" if side.price is None else f"{shown(side.price)} "
        return f"{price}({side.distance * 100:+.1f} %)" if side.distance is not None else price
    return side.kind if side.reason is None else f"{side.kind}: {side.reason}"


def _thresholds(_case: Case, _report: Report, found: Thresholds) -> Section:
    """Where it is liquidated."""
    rows = [
        [row.symbol, row.pool, shown(row.price_now), _side(row.below), _side(row.above),
         next((side.binding for side in (row.below, row.above) if side.binding), "")]
        for row in found.thresholds
    ]  # fmt: skip
    shock = found.common_shock
    rows.append(
        [shock.direction, shock.pool or "", "", _side(shock.below), _side(shock.above), shock.below.binding or ""]
    )
    return Section(
        title="Where it is liquidated",
        text="Each line moves one coin everywhere: its contracts, and itself as collateral. Exact, nearest each side.",
        tables=[
            Table(
                columns=("price_of", "pool", "now", "below", "above", "binding"),
                rows=rows,
                words=frozenset({"pool", "binding"}),
            )
        ],
    )


def _nearest_coins(case: Case, found: Thresholds) -> list[str]:
    """The coins of the thresholds, the nearest to liquidation first."""
    near: dict[str, Decimal] = {}
    for row in found.thresholds:
        coin = _coin(row.symbol)
        gaps = [abs(side.distance) for side in (row.below, row.above) if side.distance is not None]
        near[coin] = min([*gaps, near.get(coin, Decimal(10**6))])
    return sorted(near, key=lambda coin: near[coin])


def _curves(case: Case, _report: Report, found: Thresholds) -> Section:
    """Equity against maintenance margin."""
    from crossmargin.analytics.curve import curve

    drawn = [c for coin in _nearest_coins(case, found)[:_CURVES] for c in curve(*case, coin)]
    twins = [
        Table(
            columns=("move", "equity", "maintenance_margin"),
            rows=[
                [f"{m:+.1%}", f"{e:,.2f}", f"{k:,.2f}"]
                for m, e, k in list(zip(c.move, c.equity, c.maintenance_margin, strict=True))[::8]
            ],
        )
        for c in drawn
    ]
    return Section(
        title="Equity against maintenance margin",
        text="Where the lines meet, the pool is liquidated.",
        figures=[figures.equity_curve(c) for c in drawn],
        tables=twins,
        folded=True,
    )


def _stress(case: Case, report: Report, found: Thresholds) -> Section:
    """If the market moves."""
    from crossmargin.analytics.stress import heat_map, stress
    from crossmargin.files.scenarios import historical_scenarios

    outcomes = stress(*case, historical_scenarios())
    rows = [
        [o.scenario, shown(o.equity), shown(o.headroom), o.status, o.breaks_first or "-",
         "-" if o.breaks_at is None else percent(o.breaks_at)]
        for o in outcomes
    ]  # fmt: skip
    drawn = [
        figures.bars(
            "Headroom after the great crashes",
            [o.scenario for o in outcomes],
            [figures.number(o.headroom) for o in outcomes],
            report.currency,
        )
    ]
    coins = _nearest_coins(case, found)[:2]
    if len(coins) == 2:
        steps = tuple(Decimal(step) / 100 for step in range(-60, 61, 15))
        grid = heat_map(*case, coin_x=coins[0], coin_y=coins[1], moves_x=steps, moves_y=steps)
        drawn.append(
            figures.grid(
                f"Headroom if {coins[0]} and {coins[1]} move",
                (coins[0], [float(m) for m in grid.moves_x]),
                (coins[1], [float(m) for m in grid.moves_y]),
                [[figures.number(v) for v in row] for row in grid.headroom],
                grid.currency,
            )
        )
    table = Table(
        columns=("scenario", "equity", "headroom", "status", "breaks_first", "breaks_at"),
        rows=rows,
        words=frozenset({"breaks_first"}),
    )
    return Section(title="If the market moves", figures=drawn, tables=[table])


def _lines(_case: Case, report: Report, _found: Thresholds) -> Section:
    """From balances to headroom."""
    drawn = [figures.waterfall(line, pool) for line, pool in zip(report.lines, report.pools, strict=True)]
    rows: list[list[str]] = []

    def grow(line: Any, depth: int) -> None:
        rows.append([" " * 4 * depth + line.name, shown(line.value), line.unit, line.formula, ", ".join(line.source)])
        for part in line.parts:
            grow(part, depth + 1)

    for line in report.lines:
        grow(line, 0)
    table = Table(
        columns=("figure", "value", "unit", "formula", "source"),
        rows=rows,
        words=frozenset({"unit", "formula", "source"}),
    )
    return Section(title="From balances to headroom", figures=drawn, tables=[table], folded=True)


def _funding(case: Case, _report: Report, _found: Thresholds) -> Section:
    """How long it can pay funding."""
    from crossmargin.analytics.funding import runway

    outlook = runway(*case)
    payments = Table(
        columns=("position", "funding_rate", "payment", "per_day", "in", "note"),
        rows=[
            [p.symbol, percent(p.funding_rate), shown(p.payment), shown(p.per_day), p.currency, p.reason or ""]
            for p in outlook.payments
        ],
        words=frozenset({"note"}),
    )
    runways = Table(
        columns=("scenario", "pool", "per_day", "in", "runway"),
        rows=[
            [r.scenario, r.pool, shown(r.per_day), r.currency,
             f"{r.at:%Y-%m-%d %H:%M} UTC" if r.kind == "time" and r.at else r.reason or r.kind]
            for r in outlook.runways
        ],
        words=frozenset({"runway"}),
    )  # fmt: skip
    known = [p for p in outlook.payments if p.pool_per_day is not None]
    drawn = [
        figures.bars(
            "Funding a day (paid is negative)",
            [p.symbol for p in known],
            [figures.number(-p.pool_per_day) for p in known if p.pool_per_day is not None],
            known[0].pool_currency,
        )
    ] if known else []  # fmt: skip
    return Section(title="How long it can pay funding", figures=drawn, tables=[payments, runways])


def _comparison(case: Case, _report: Report, _found: Thresholds) -> Section:
    """Isolated or cross."""
    from crossmargin.analytics.comparison import compare

    found = compare(*case)
    table = Table(
        columns=("mode", "admitted", "headroom", "margin_ratio", "free_collateral", "largest_scale",
                 "capital_efficiency", "down_together", "up_together", "note"),
        rows=[
            [row.mode, {True: "yes", False: "no", None: "unknown"}[row.admitted], shown(row.headroom),
             percent(row.margin_ratio), shown(row.free_collateral), shown(row.largest_scale),
             shown(row.capital_efficiency),
             _side(row.thresholds.common_shock.below) if row.thresholds else "-",
             _side(row.thresholds.common_shock.above) if row.thresholds else "-",
             "; ".join(row.reasons)]
            for row in found.rows
        ],
        words=frozenset({"note"}),
    )  # fmt: skip
    return Section(
        title="Isolated or cross",
        text="The same positions under each mode; largest_scale is how many times the whole book could be carried.",
        tables=[table],
    )


def _cascade(case: Case, _report: Report, _found: Thresholds) -> Section:
    """What happens when it breaks."""
    from crossmargin.analytics.cascade import cascade

    found = cascade(*case)
    if found.kind not in ("price", "already"):
        return Section(title="What happens when it breaks", text=f"{found.direction}: {found.reason or found.kind}")
    move = "now" if found.distance is None else f"at {found.distance * 100:+.1f} %"
    table = Table(
        columns=("step", "pool", "realized_pnl", "fee", "insurance_fund", "headroom_before", "headroom_after", "note"),
        rows=[
            [s.step, s.pool, shown(s.realized_pnl), shown(s.fee), shown(s.insurance_fund), shown(s.headroom_before),
             shown(s.headroom_after), s.note]
            for s in found.steps
        ],
        words=frozenset({"pool", "note"}),
    )  # fmt: skip
    return Section(
        title="What happens when it breaks",
        text=f"{found.direction}: liquidated {move}; of {shown(found.equity_now)} {found.currency} the owner keeps "
        f"{shown(found.equity_after)}.",
        tables=[table],
    )


def _sensitivity(case: Case, report: Report, _found: Thresholds) -> Section:
    """What moves it."""
    from crossmargin.analytics.sensitivity import sensitivity

    found = sensitivity(*case, thresholds=())
    ranked: Sequence[Any] = sorted(
        (s for s in found.slopes if s.kind == "coin"), key=lambda s: abs(s.adverse), reverse=True
    )[:12]
    table = Table(
        columns=("input", "kind", "now", "slope_up", "slope_down"),
        rows=[[s.name, s.kind, shown(s.now), shown(s.up), shown(s.down)] for s in found.slopes],
        words=frozenset({"kind"}),
    )
    drawn = figures.bars(
        "Headroom per 1 % of each coin",
        [s.name for s in ranked],
        [float(s.up * s.step) for s in ranked],
        report.currency,
    )
    return Section(title="What moves it", figures=[drawn], tables=[table], folded=True)


def _hedges(case: Case, _report: Report, _found: Thresholds) -> Section:
    """What each position costs."""
    from crossmargin.analytics.hedge import neutral_pairs, requirements

    table = Table(
        columns=("position", "pool", "marginal_maintenance", "stand_alone_maintenance", "marginal_initial",
                 "headroom_without"),
        rows=[
            [r.symbol, r.pool, shown(r.marginal_maintenance), shown(r.stand_alone_maintenance),
             shown(r.marginal_initial), shown(r.headroom_without)]
            for r in requirements(*case)
        ],
    )  # fmt: skip
    pairs = [
        f"{pair.coin} is nearly delta-neutral (delta {shown(pair.delta)}) but not margin-neutral: liquidated at "
        f"{_side(pair.below)} and {_side(pair.above)}."
        for pair in neutral_pairs(*case)
        if not pair.margin_neutral
    ]
    return Section(title="What each position costs", text=" ".join(pairs), tables=[table])
