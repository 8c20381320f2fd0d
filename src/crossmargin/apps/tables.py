"""How results look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from crossmargin.analytics.curve import Curve
from crossmargin.analytics.verification import Check
from crossmargin.apps.sparks import bar, spark
from crossmargin.files.conformance import ConformanceCase
from crossmargin.files.profiles import load_profile
from crossmargin.model.number import plain
from crossmargin.model.profile import Profile, Rules
from crossmargin.model.report import Crossing, Line, Report, ShockThreshold, Thresholds
from crossmargin.model.source import Slot


class _Console(Console):
    """A console that lets a table run wider than the window rather than cut a figure short."""

    def print(self, *objects: Any, **options: Any) -> None:
        window = self.width
        needed = [
            Measurement.get(self, self.options.update(max_width=10_000), item).minimum
            for item in objects
            if isinstance(item, Table)
        ]
        try:
            self.width = max([window, *needed])
            # what is printed is mostly the user's and the venues' own words: markup only where it is asked for
            super().print(*objects, **{"markup": False, **options})
        finally:
            self.width = window


console = _Console(highlight=False)
_COLOUR = {"healthy": "green", "warning": "yellow", "liquidation": "bold red"}


def shown(value: Decimal | None) -> str:
    """A figure for people: grouped, cents from 1 up, else eight significant digits; ``unknown`` where it is."""
    if value is None:
        return "unknown"
    if value == 0:
        return "0"
    if abs(value) >= 1:
        text = f"{value:,.8f}" if abs(value) < 1000 else f"{value:,.2f}"
        head, _, tail = text.partition(".")
        tail = tail.rstrip("0")
        return head if not tail else f"{head}.{tail.ljust(2, '0')}"
    return plain(Decimal(f"{value:.8g}"))


def percent(value: Decimal | None) -> str:
    """A fraction as per cent."""
    return "unknown" if value is None else f"{value * 100:.2f} %"


def _figures(title: str, columns: list[str], rows: list[list[str]], *, left: int = 1) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        # a long name breaks at its underscores; a figure never breaks
        header = column.replace("_", "_\n") if len(column) > 9 else column
        figure = index >= left
        texts = [line for text in (header, *(row[index] for row in rows)) for line in text.split("\n")]
        if not figure:
            texts = [word for text in texts for word in text.split()]
        table.add_column(
            header,
            justify="right" if figure else "left",
            header_style="dim",
            no_wrap=figure,
            min_width=min(40, max(map(len, texts), default=1)),
            vertical="top",
        )
    for row in rows:
        table.add_row(*row)
    return table


def _pictured(title: str, columns: list[str], rows: list[list[str]], pictures: list[str], *, left: int = 1) -> Table:
    """The table with one more column, of small pictures, where the window has room for it."""
    wide = [[*row, picture] for row, picture in zip(rows, pictures, strict=True)]
    table = _figures(title, [*columns, ""], wide, left=left)
    table.columns[-1].justify = "left"
    needed = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    return table if needed <= console.width else _figures(title, columns, rows, left=left)


def bars(values: Sequence[Decimal | None], width: int = 16) -> list[str]:
    """A bar for each figure, all on one scale; ``x`` for 0 or less."""
    floats = [None if value is None else float(value) for value in values]
    greatest = max((value for value in floats if value is not None), default=0.0)
    return [bar(value, greatest, width, ascii_only=console.options.ascii_only) for value in floats]


def show_curves(found: Sequence[Curve]) -> None:
    """Headroom of each pool along each coin, as a line of blocks from the greatest fall to the greatest rise."""
    several = len({row.pool for row in found}) > 1
    rows = []
    for row in found:
        room = [equity - kept for equity, kept in zip(row.equity, row.maintenance_margin, strict=True)]
        line = spark(room, ascii_only=console.options.ascii_only)
        rows.append([row.coin + (f" ({row.pool})" if several else ""), line, *(_side(s, price=False)[0] for s in
                     (row.below, row.above))])  # fmt: skip
    if found:
        title = f"Headroom as one coin moves, {found[0].move[0]:+.0%} to {found[0].move[-1]:+.0%} (x: liquidated)"
        console.print(_figures(title, ["coin", "headroom", "below", "above"], rows))


def show_report(report: Report) -> None:
    """The figures of an account: status, pools, positions, balances, notes."""
    head = Text.assemble(
        (report.status, _COLOUR[report.status]),
        f"  {report.id} under {report.profile} (rules of {report.rules_since}), {report.as_of:%Y-%m-%d %H:%M} UTC",
    )
    console.print(head)
    names = ["equity", "maintenance_margin", "headroom", "margin_ratio", "initial_margin", "free_collateral"]
    if any(pool.initial_equity != pool.equity for pool in report.pools):
        names.insert(names.index("initial_margin"), "initial_equity")
    rows = []
    for pool in report.pools:
        figures = [percent(getattr(pool, n)) if n == "margin_ratio" else shown(getattr(pool, n)) for n in names]
        state = pool.status + (f" ({pool.level})" if pool.level else "")
        rows.append([pool.name, pool.currency, *figures, state])
    console.print(_figures("Pools", ["pool", "in", *names, "status"], rows, left=2))
    if report.positions:
        columns = [
            "position",
            "quantity",
            "mark_price",
            "notional",
            "unrealized_pnl",
            "initial_margin",
            "maintenance_margin",
            "bracket",
        ]
        body = []
        for p in report.positions:
            side = "" if p.position_side == "net" else f" {p.position_side}"
            isolated = " isolated" if p.pool.endswith(" isolated") else ""
            body.append(
                [
                    p.symbol + side + isolated,
                    shown(p.quantity),
                    shown(p.mark_price),
                    shown(p.notional),
                    shown(p.unrealized_pnl),
                    shown(p.initial_margin),
                    shown(p.maintenance_margin),
                    str(p.bracket) if p.bracket else "-",
                ]
            )
        console.print(_figures("Positions (in the settle asset)", columns, body))
    balances = [b for b in report.balances if not b.pool.endswith(" isolated")]
    if balances:
        lent = ["bonus_credit"] if any(b.bonus_credit for b in balances) else []
        columns = ["asset", "wallet_balance", *lent, "unrealized_pnl", "equity", "collateral_value"]
        body = [[b.asset, *(shown(getattr(b, c)) for c in columns[1:])] for b in balances]
        console.print(_figures("Balances", columns, body))
    for note in report.notes:
        console.print(f"note: {note}", style="dim")


def _side(side: Crossing, *, price: bool = True) -> list[str]:
    if side.kind == "price":
        move = f"{side.distance * 100:+.2f} %" if side.distance is not None else ""
        return [shown(side.price), move] if price else [move]
    words = side.kind if side.reason is None else f"{side.kind}: {side.reason}"
    return [words, ""] if price else [words]


def show_thresholds(found: Thresholds, shocks: list[ShockThreshold]) -> None:
    """Thresholds in words: a price with its distance, never, already, or unknown with the reason."""
    several = len({row.pool for row in found.thresholds}) > 1
    rows = [
        [row.symbol + (f" ({row.pool})" if several else ""), shown(row.price_now), *_side(row.below), *_side(row.above)]
        for row in found.thresholds
    ]
    moved = "the coin moves everywhere" if found.convention == "coin" else "only the contract's mark moves"
    console.print(_figures(f"Liquidated at ({moved})", ["price of", "now", "below", "", "above", ""], rows))
    body = [[row.direction, *_side(row.below, price=False), *_side(row.above, price=False)] for row in shocks]
    console.print(_figures("Together", ["direction", "down", "up"], body))
    for row in found.thresholds:
        for side in (row.below, row.above):
            if side.binding:
                console.print(f"{row.symbol} at {shown(side.price)}: {side.binding}", style="dim")


def show_lines(lines: tuple[Line, ...], rules: Rules) -> None:
    """Each pool's headroom as a tree, and the sources it cites."""
    cited: dict[str, None] = {}

    def grow(tree: Tree, line: Line) -> None:
        cited.update(dict.fromkeys(line.source))
        branch = tree.add(_line_text(line, cite=True))
        for part in line.parts:
            grow(branch, part)

    for line in lines:
        root = Tree(_line_text(line, cite=False))
        cited.update(dict.fromkeys(line.source))
        for part in line.parts:
            grow(root, part)
        console.print(root)
    for name in cited:
        if name in rules.sources:
            source = rules.sources[name]
            console.print(f"{name}: {source.title} ({source.status}, {source.retrieved}) {source.url}", style="dim")


def _line_text(line: Line, *, cite: bool) -> Text:
    words = f"  = {line.formula}" if line.formula else ""
    if cite and line.source:
        words += f"  [{', '.join(line.source)}]"
    return Text.assemble(f"{line.name} ", (shown(line.value), "bold"), f" {line.unit}", (words, "dim"))


def show_profiles(profiles: list[Profile]) -> None:
    """One row a profile."""
    rows = [
        [
            p.id,
            p.venue,
            p.account_mode,
            ", ".join(str(r.since) for r in p.revisions),
            str(len(p.revisions[-1].brackets)),
        ]
        for p in profiles
    ]
    console.print(_figures("Profiles", ["id", "venue", "account mode", "rules from", "instruments"], rows, left=4))


def show_profile(profile: Profile, rules: Rules, symbol: str | None) -> None:
    """The slots of one revision with their sources, and a table on request."""
    console.print(
        f"[bold]{profile.id}[/bold]: {profile.venue}, {profile.account_mode}, rules from {rules.since}", markup=True
    )
    rows = []
    for name, slot in rules.slots:
        if isinstance(slot, Slot):
            data = slot.model_dump(mode="json", exclude_none=True, exclude={"source", "note"})
            rows.append([name, ", ".join(f"{k} = {v}" for k, v in data.items()), ", ".join(slot.source)])
    console.print(_figures("Slots", ["slot", "rule", "source"], rows, left=3))
    if symbol:
        body = [
            [str(i), shown(b.notional_floor), str(b.maintenance_rate or "-"), str(b.max_leverage or "-")]
            for i, b in enumerate(rules.brackets[symbol], start=1)
        ]
        console.print(_figures(symbol, ["bracket", "above", "maintenance_rate", "max_leverage"], body))
    elif rules.brackets:
        console.print(f"tables for: {', '.join(rules.brackets)}", style="dim")
    for name, source in rules.sources.items():
        console.print(f"{name}: {source.title} ({source.status}, {source.retrieved}) {source.url}", style="dim")


def show_verification(rows: list[tuple[str, ConformanceCase, tuple[Check, ...]]], failed: list[str]) -> None:
    """Counts by file, then what does not agree and what is known not to."""
    counts: dict[str, list[int]] = {}
    for name, case, checks in rows:
        count = counts.setdefault(name, [0, 0, 0, 0])
        agreed = sum(check.agrees for check in checks)
        count[0] += 1
        count[1] += len(checks)
        count[2] += agreed
        count[3] += 0 if case.reproduced else len(checks) - agreed
    body: list[list[Any]] = [[name, *map(str, count)] for name, count in counts.items()]
    venues = {load_profile(case.profile).venue for _, case, _ in rows} - {"textbook"}
    body.append(["total", *(str(sum(count[i] for count in counts.values())) for i in range(4))])
    console.print(_figures("Published figures", ["file", "cases", "figures", "reproduced", "known not to"], body))
    if venues:
        console.print(f"{len(venues)} venues: {', '.join(sorted(venues))}", style="dim")
    for _, case, checks in rows:
        if case.id in failed or not case.reproduced:
            style = "red" if case.id in failed else "yellow"
            console.print(f"{case.id}: {case.reason or 'DISAGREES'}", style=style)
            for check in checks:
                if not check.agrees or case.id in failed:
                    found = shown(check.found) if isinstance(check.found, Decimal) else str(check.found)
                    console.print(f"    {check.figure}: published {check.expected}, ours {found}", style="dim")
