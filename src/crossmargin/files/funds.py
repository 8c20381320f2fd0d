"""Fund files: several accounts, the ways between them, what they must survive and what is sought; TOML or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from crossmargin.errors import AccountError, Fault
from crossmargin.files.accounts import Case, case_from, read_table
from crossmargin.files.scenarios import historical_scenarios, load_history, load_scenarios
from crossmargin.model.fund import Fund, Member
from crossmargin.model.market import Instant
from crossmargin.model.noun import Noun, faults_of
from crossmargin.model.scenario import Scenario


class _AccountEntry(Noun):
    """An account that stands in a file of its own."""

    file: str
    id: str
    profile: str | None = None
    as_of: Instant | None = None


def load_fund(path: str) -> Fund:
    """Read a fund file (``-`` = standard input). Files that it names are looked for beside it.

    Raises :class:`AccountError` with every fault and its path, and what reading an account raises.
    """
    raw, where = read_table(path)
    return fund_from(raw, where, beside=Path() if path == "-" else Path(path).parent)


def fund_from(raw: Mapping[str, Any], where: str, *, beside: Path | None = None) -> Fund:
    """A fund from the keys of a fund file; ``beside``: the folder of the files it names."""
    folder = beside or Path()
    table = dict(raw)
    faults: list[Fault] = []
    members = []
    entries = table.pop("accounts", [])
    for index, entry in enumerate(entries if isinstance(entries, list) else [entries]):
        try:
            members.append(Member(*_case(entry, f"{where}: accounts[{index}]", folder)))
        except AccountError as error:
            faults += [Fault(f"accounts[{index}].{f.path}".rstrip("."), f.value, f.why) for f in error.faults]
    if "members" in table:
        faults.append(Fault("members", "", "is not a known key here; accounts are given as [[accounts]]"))
    if faults:
        raise AccountError(where, faults)
    if isinstance(table.get("safety"), dict):
        table["safety"] = _safety(table["safety"], where, folder)
    try:
        return Fund.model_validate({"id": Path(where).stem, **table, "members": tuple(members)})
    except ValidationError as error:
        raise AccountError(where, faults_of(error)) from None
    except AccountError as error:
        raise AccountError(where, error.faults) from None


def _case(entry: Any, where: str, folder: Path) -> Case:
    if not isinstance(entry, dict):
        raise AccountError(where, (Fault("", repr(entry), "must be a table: an account file's keys, or id and file"),))
    if "file" not in entry:
        if "id" not in entry:
            raise AccountError(where, (Fault("id", "", "is missing; routes name the account by it"),))
        return case_from(entry, where)
    try:
        named = _AccountEntry.model_validate(entry)
    except ValidationError as error:
        raise AccountError(where, faults_of(error)) from None
    raw, found = read_table(str(folder / named.file))
    return case_from({**raw, "id": named.id}, found, profile=named.profile, on=named.as_of)


def _safety(raw: Mapping[str, Any], where: str, folder: Path) -> dict[str, Any]:
    """Safety with the scenarios and histories that it names in their place."""
    table = dict(raw)
    scenarios: list[Any] = []
    stated = table.pop("scenarios", [])
    if isinstance(stated, str):
        scenarios += load_scenarios(str(folder / stated))
    else:
        scenarios += list(stated)
    if "historical" in table:
        scenarios += _historical(table.pop("historical"), where)
    draws = table.get("draws")
    if isinstance(draws, dict) and isinstance(draws.get("history"), str):
        history = load_history(str(folder / draws["history"]))
        table["draws"] = {**draws, "history": {coin: tuple(prices) for coin, prices in history.items()}}
    return {**table, "scenarios": tuple(scenarios)}


def _historical(names: Any, where: str) -> list[Scenario]:
    known = {scenario.name: scenario for scenario in historical_scenarios()}
    if names is True:
        return list(known.values())
    chosen = names if isinstance(names, list) else [names]
    unknown = [str(name) for name in chosen if name not in known]
    if unknown:
        why = f"is not a historical scenario; known are {', '.join(known)}, and true for all"
        raise AccountError(where, [Fault("safety.historical", name, why) for name in unknown])
    return [known[name] for name in chosen]
