"""The answer to a question as sections: words, figures and their tables, ready for a page that draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from crossmargin.apps import figures
from crossmargin.apps.page import Section, Table
from crossmargin.apps.pictures import PICTURES
from crossmargin.apps.questions import Subject
from crossmargin.apps.story import killing_sentence
from crossmargin.apps.views import account, market, money, passage, view
from crossmargin.apps.views.columns import amount
from crossmargin.model.report import Report

_EVERY = 200
"""A table of a replay has no more rows of each run; its figure has every bar."""


def pictured(name: str, subject: Any, options: Any) -> dict[str, Any]:
    """An answer as plain JSON data: ``words``, ``figures`` (each with its table) and every table.

    A figure whose section has as many tables as figures has its own; else the first table of its section is its twin.
    """
    answer = PICTURES[name].answer(subject, options)
    sections = _SECTIONS.get(name, _viewed)(subject, answer)
    drawn = []
    tables = []
    for section in sections:
        told = [_table(section.title, table) for table in section.tables]
        tables += told
        paired = len(told) == len(section.figures)
        note = " ".join([section.text, *section.notes]).strip()
        for index, spec in enumerate(section.figures):
            twin = (told[index] if paired else told[0]) if told else None
            drawn.append({"title": section.title, "spec": spec, "table": twin, "note": note})
    return {"words": _words(name, subject, answer, sections), "figures": drawn, "tables": tables}


def _table(title: str, table: Table) -> dict[str, Any]:
    return {"title": table.title or title, "columns": list(table.columns), "rows": [list(row) for row in table.rows]}


def _words(name: str, subject: Any, answer: Any, sections: list[Section]) -> str:
    from crossmargin.analytics.threshold import threshold

    if name in ("evaluate", "threshold", "explain"):
        from crossmargin.engine.reporting import evaluate

        return killing_sentence(evaluate(*subject.case, explain=False), threshold(*subject.case))
    if name == "reverse-stress":
        return str(answer["reverse_stress"].words)
    return " ".join(section.text for section in sections if section.text)


# sections of answers that are not one result --------------------------------------------------------------------------


def _viewed(_subject: Any, answer: Any) -> list[Section]:
    parts = answer.values() if isinstance(answer, dict) else [answer]
    return [section for part in parts for section in _each(part)]


def _each(part: Any) -> list[Section]:
    try:
        return [view(part)] if part != () else []
    except TypeError:
        return [view(one) for one in part]


def _standing(_subject: Any, report: Report) -> list[Section]:
    return [account.standing(report)]


def _thresholds(_subject: Any, found: Any) -> list[Section]:
    return [account.thresholds(found)]


def _explained(subject: Subject, _answer: Any) -> list[Section]:
    from crossmargin.engine.reporting import evaluate

    report = evaluate(*subject.case)
    return [account.standing(report), account.lines(report), account.sources(subject.case.rules)]


def _reverse(_subject: Any, answer: Any) -> list[Section]:
    from crossmargin.analytics.barrier import nearest_chance

    found = answer["reverse_stress"]
    sections = [market.killing_move(found, None, nearest_chance(found))]
    return [*sections, *([view(answer["probability"])] if "probability" in answer else [])]


def _hedged(_subject: Any, answer: Any) -> list[Section]:
    if isinstance(answer, dict) and "requirements" in answer:
        return [money.needs(answer["requirements"], answer["pairs"])]
    return _viewed(_subject, answer)


def _replayed(_subject: Any, answer: Any) -> list[Section]:
    runs = answer["runs"]
    rows = []
    for run in runs:
        thin = max(1, -(-len(run.points) // _EVERY))
        for point in run.points[::thin]:
            rows.append(
                [
                    passage.named(run),
                    f"{point.time:%Y-%m-%d %H:%M}",
                    *map(_number, (point.equity, point.headroom)),
                ]
            )
    ends = [f"{passage.named(run)}: {_end(run)}." for run in runs]
    table = Table(columns=("run", "time", "equity", "headroom"), rows=rows, words=frozenset({"run"}))
    return [
        Section(title="Through this history", text=" ".join(ends), figures=figures.through_time(runs), tables=[table])
    ]


def _end(run: Any) -> str:
    if run.reasons:
        return f"unknown, {run.reasons[0]}"
    return "never liquidated" if run.liquidated is None else f"liquidated {run.liquidated:%Y-%m-%d %H:%M} UTC"


def _number(value: float | None) -> str:
    return amount(None if value is None else Decimal(repr(value)))


_SECTIONS: Mapping[str, Callable[[Any, Any], list[Section]]] = {
    "evaluate": _standing,
    "threshold": _thresholds,
    "explain": _explained,
    "reverse-stress": _reverse,
    "hedge": _hedged,
    "replay": _replayed,
}
"""How an answer becomes sections, where it is not one result or a table of results."""
