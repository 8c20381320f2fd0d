"""``crossmargin import-tiers`` and ``import-collateral``: a profile with tables of your own."""

from __future__ import annotations

import json as json_text
import os
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossmargin.errors import AccountError, Fault, ProfileError

if TYPE_CHECKING:
    from crossmargin.files.tier_tables import TierTable
    from crossmargin.model.profile import Profile

Venue = Annotated[
    str, typer.Argument(metavar="VENUE", help="The profile whose tables these are (binance-usdm), or its venue.")
]
From = Annotated[list[str], typer.Option("--from", metavar="FILE", help="The venue's or a client's answer as JSON.")]
Id = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="The id of your profile; by default the profile's with -own.")
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="FOLDER", help="Where it goes; by default the first folder of $CROSSMARGIN_VENUES."),
]
Since = Annotated[
    str | None, typer.Option("--on", metavar="DATE", help="The date that the tables hold from; today unless given.")
]


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    app.command("import-tiers")(import_tiers)
    app.command("import-collateral")(import_collateral)


def import_tiers(venue: Venue, files: From, name: Id = None, out: Out = None, on: Since = None) -> None:
    """Make a profile with the leverage brackets that a venue answered; gaps and falling rates are refused."""
    from crossmargin.files.tier_tables import brackets_csv, read_tiers
    from crossmargin.files.unified import read_payload_file

    tables = [table for path in files for table in read_tiers(read_payload_file(path), path)]
    base = _base(venue)
    _check_tables(tables, base)
    _write(
        base, files, name, out, on, "brackets", lambda source: brackets_csv(tables, source), f"{len(tables)} contracts"
    )


def import_collateral(venue: Venue, files: From, name: Id = None, out: Out = None, on: Since = None) -> None:
    """Make a profile with the collateral ratios or buffers that a venue answered."""
    from crossmargin.files.tier_tables import collateral_csv, read_collateral
    from crossmargin.files.unified import read_payload_file

    rows = [row for path in files for row in read_collateral(read_payload_file(path), path)]
    count = f"{len({row.asset for row in rows})} assets"
    _write(_base(venue), files, name, out, on, "collateral", lambda source: collateral_csv(rows, source), count)


def _base(venue: str) -> Profile:
    from crossmargin.files.profiles import load_profile
    from crossmargin.files.unified import VENUES

    return load_profile(VENUES.get(venue, venue))


def _check_tables(tables: Iterable[TierTable], base: Profile) -> None:
    """What a table must be for these rules: counted as they count, deductions that make it continuous."""
    from crossmargin.engine.formulas import bracket_deduction
    from crossmargin.model.reported import unit_of

    slot = base.revisions[-1].slots.maintenance_margin
    faults = []
    for table in tables:
        if table.key == "contracts" and slot.key != "contracts":
            why = f"counts contracts, and the rules of {base.id} count {slot.key}"
            faults.append(Fault(table.symbol, "", why))
        due = Decimal(0)
        for before, tier in pairwise(table.tiers):
            if before.rate is None or tier.rate is None or slot.kind != "marginal_brackets":
                continue
            due = bracket_deduction(tier.floor, tier.rate, before.rate, due)
            if tier.deduction is not None and abs(tier.deduction - due) > unit_of(tier.deduction) / 2:
                why = f"makes the requirement jump at {tier.floor}; continuity asks for {due.normalize():f}"
                faults.append(Fault(f"{table.symbol} deduction", str(tier.deduction), why))
    if faults:
        raise AccountError("import-tiers", faults)


# the profile ----------------------------------------------------------------------------------------------------------


def _write(
    base: Profile,
    files: list[str],
    name: str | None,
    out: str | None,
    on: str | None,
    kind: str,
    text_of: Callable[[str], str],
    count: str,
) -> None:
    """Write the table and the profile that names it; what does not load is not written."""
    own, folder, since = name or f"{base.id}-own", _folder(out), _day(on)
    table, source = f"{own}-{since}.{kind}.csv", f"{kind}-{since}"
    raw = _raw(folder / f"{own}.toml", own, base.id)
    words = "Leverage brackets" if kind == "brackets" else "Collateral ratios"
    raw["sources"][source] = {
        "title": f"{words} that the venue answered, imported from {', '.join(Path(path).name for path in files)}",
        "url": "file:" + ",".join(Path(path).name for path in files),
        "retrieved": since,
        "status": "observed",
    }
    revision = next((entry for entry in raw["revisions"] if entry["from"] == since), None)
    if revision is None:
        revision = {"from": since, "tables": {}}
        raw["revisions"] = sorted([*raw["revisions"], revision], key=lambda entry: entry["from"])
    cited = [text for text in revision["tables"].get("source", []) if text != source]
    revision["tables"] |= {kind: table, "source": [*cited, source]}
    _install(folder, own, {table: text_of(source), f"{own}.toml": _toml(raw)})
    typer.echo(f"{folder / table}: {count}")
    typer.echo(f"{folder / own}.toml: based on {base.id}, from {since}; judge with --profile {own}")


def _install(folder: Path, own: str, texts: dict[str, str]) -> None:
    """Load the profile beside what the folder has already, then put the new files there."""
    from crossmargin.files.profiles import load_profile

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as trial:
        for path in folder.glob(f"{own}*.csv"):
            (Path(trial) / path.name).write_bytes(path.read_bytes())
        for name, text in texts.items():
            (Path(trial) / name).write_text(text, encoding="utf-8")
        load_profile(str(Path(trial) / f"{own}.toml"))
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _folder(out: str | None) -> Path:
    first = os.environ.get("CROSSMARGIN_VENUES", "").split(os.pathsep)[0]
    if not out and not first:
        why = "is missing; name a folder, or set CROSSMARGIN_VENUES to one, where --profile finds it"
        raise ProfileError("--out", (Fault("--out", "", why),))
    return Path(out or first)


def _day(text: str | None) -> date:
    try:
        return datetime.now(UTC).date() if text is None else date.fromisoformat(text)
    except ValueError:
        raise ProfileError("--on", (Fault("--on", text or "", "must be a date such as 2026-11-20"),)) from None


def _raw(path: Path, own: str, base: str) -> dict[str, Any]:
    """The profile as it stands in the folder, or a new one."""
    from crossmargin.files.profiles import profile_ids
    from crossmargin.files.text import parse_table, read_bytes

    if not path.is_file():
        if own in profile_ids():
            raise ProfileError("--id", (Fault("--id", own, "is another profile's id; choose one of your own"),))
        return {"id": own, "based_on": base, "sources": {}, "revisions": []}
    raw = parse_table(read_bytes(str(path), ProfileError), str(path), ProfileError, form="toml")
    if raw.get("based_on") != base:
        why = f"is there and not based on {base}; choose another --id"
        raise ProfileError(str(path), (Fault("based_on", str(raw.get("based_on")), why),))
    for entry in raw["revisions"]:
        cited = entry["tables"].get("source", [])
        entry["tables"]["source"] = [cited] if isinstance(cited, str) else cited
    return raw


def _toml(raw: dict[str, Any]) -> str:
    lines = [f'id = "{raw["id"]}"', f'based_on = "{raw["based_on"]}"']
    for name, source in raw["sources"].items():
        lines += ["", f"[sources.{name}]", *(f"{key} = {_value(value)}" for key, value in source.items())]
    for revision in raw["revisions"]:
        lines += ["", "[[revisions]]", f"from = {revision['from']}", "", "[revisions.tables]"]
        lines += [f"{key} = {_value(value)}" for key, value in revision["tables"].items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    return str(value) if isinstance(value, date) else json_text.dumps(value, ensure_ascii=False)
