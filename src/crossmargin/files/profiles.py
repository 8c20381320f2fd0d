"""Rule profiles from TOML and CSV: built in, then ``$CROSSMARGIN_VENUES``, then a path. All faults at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from crossmargin.errors import Fault, ProfileError
from crossmargin.files.text import parse_csv, parse_table, read_bytes
from crossmargin.model.brackets import AssetRule, Bracket, CollateralTier, check_brackets, check_tiers
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.noun import faults_of
from crossmargin.model.number import parse_decimal
from crossmargin.model.profile import Profile, Rules
from crossmargin.model.slots import Slots, Tables
from crossmargin.model.source import Source

_HEAD = {"id", "venue", "account_mode", "reference_currency", "aliases", "sources", "revisions"}
_BRACKET_COLUMNS = {
    "symbols",
    "notional_floor",
    "maintenance_rate",
    "max_leverage",
    "initial_rate",
    "size_slope",
    "known_to",
    "source",
}
_ASSET_RATES = (
    "initial_ratio",
    "bid_buffer",
    "ask_buffer",
    "liability_maintenance_rate",
    "liability_initial_rate",
    "known_to",
)
_COLLATERAL_COLUMNS = {"assets", "floor", "collateral_ratio", *_ASSET_RATES, "source"}
_CONTRACT_COLUMNS = {"symbols", "contract_size", "source"}
_SOURCES = TypeAdapter(dict[str, Source])


@cache
def _builtin() -> Path:
    return Path(str(resources.files("crossmargin") / "venues"))


def _folders() -> Iterator[Path]:
    yield _builtin()
    for name in os.environ.get("CROSSMARGIN_VENUES", "").split(os.pathsep):
        if name:
            yield Path(name)


def profile_ids() -> tuple[str, ...]:
    """The ids of every profile that can be named: built in and in ``$CROSSMARGIN_VENUES``."""
    return tuple(sorted({path.stem for folder in _folders() for path in folder.glob("*.toml")}))


def load_profile(name: str) -> Profile:
    """Load a profile by id, or from the path of a TOML file. Raises :class:`ProfileError` with every fault."""
    for folder in _folders():
        path = folder / f"{name}.toml"
        if "/" not in name and path.is_file():
            return _load(str(path), path.stat().st_mtime_ns)
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        return _load(str(path), path.stat().st_mtime_ns)
    raise ProfileError("profile", (Fault("profile", name, f"is not known; known are {', '.join(profile_ids())}"),))


def refuse_path(name: object) -> None:
    """Refuse a profile that is named by the path of a file: for who asks from elsewhere and has no files here.

    Raises :class:`ProfileError`; whether there is a profile of that id, :func:`load_profile` says.
    """
    if isinstance(name, str) and (name.endswith(".toml") or not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name)):
        why = f"is no profile's id, and a file cannot be named here; known are {', '.join(profile_ids())}"
        raise ProfileError("profile", (Fault("profile", name[:60], why),))


def copy_profile(like: str, name: str, folder: Path) -> list[Path]:
    """Start a profile as a copy of another: its rules and tables in ``folder``, a first case in ``folder/cases``.

    Returns what was written. Raises :class:`ProfileError` for a name that cannot be one or is taken.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ProfileError("venues new", (Fault("ID", name, "must be small letters, digits and hyphens"),))
    if name in profile_ids() or (folder / f"{name}.toml").exists():
        raise ProfileError("venues new", (Fault("ID", name, "is taken; choose another name"),))
    load_profile(like)
    source = next(path for at in _folders() if (path := at / f"{like}.toml").is_file())
    text = source.read_text(encoding="utf-8").replace(f'id = "{like}"', f'id = "{name}"', 1)
    written = {folder / f"{name}.toml": text, folder / "cases" / f"{name}.toml": _FIRST_CASE.format(name=name)}
    for table in re.findall(r'"([^"/]+\.csv)"', text):
        written[folder / table] = (source.parent / table).read_text(encoding="utf-8")
    for path, content in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return list(written)


_FIRST_CASE = """\
# Figures that the venue published or reported, restated. Each case gives an account file and what it must come to.

[[cases]]
id = "{name}-bare-wallet"
title = "A wallet without positions is worth what it holds"
profile = "{name}"
source = {{ title = "name the page or the account that the figures are from" }}
status = "textbook"
[cases.given]
as_of = 2026-01-01T00:00:00Z
balances = {{ USDT = "1000" }}
market.index_price = {{ USDT = "1" }}
[cases.expect]
"balances.USDT.wallet_balance" = "1000"
"""


@dataclass
class _Reading:
    """One profile being read: its folder and the faults found so far."""

    path: Path
    faults: list[Fault] = field(default_factory=list)

    def fault(self, key: str, value: object, why: str) -> None:
        self.faults.append(Fault(key, str(value) if value is not None else "", why))

    def rows(self, name: str, columns: set[str]) -> list[dict[str, str]]:
        try:
            data = read_bytes(str(self.path.parent / name), ProfileError)
            return parse_csv(data, name, ProfileError, columns)
        except ProfileError as error:
            self.faults += [Fault(f.path or name, f.value, f.why) for f in error.faults]
            return []


@lru_cache(maxsize=256)
def _load(path: str, _modified: int) -> Profile:
    reading = _Reading(Path(path))
    raw = parse_table(read_bytes(path, ProfileError), path, ProfileError, form="toml")
    if "based_on" in raw:
        return _based(raw, reading)
    for key in sorted(set(raw) - _HEAD):
        reading.fault(key, None, "is not a known key of a profile")
    for key in ("id", "venue", "account_mode", "reference_currency"):
        if not isinstance(raw.get(key), str) or not raw[key]:
            reading.fault(key, raw.get(key), "must be a text")
    sources = _own_sources(raw, reading)
    revisions = _revisions(raw, reading, sources)
    if reading.faults:
        raise ProfileError(path, reading.faults)
    return Profile(
        id=raw["id"],
        venue=raw["venue"],
        account_mode=raw["account_mode"],
        reference_currency=raw["reference_currency"],
        revisions=revisions,
        aliases=raw.get("aliases", {}),
    )


def _own_sources(raw: Mapping[str, Any], reading: _Reading) -> Mapping[str, Source]:
    if raw.get("id") != reading.path.stem:
        reading.fault("id", raw.get("id"), f"must be the file's name, {reading.path.stem}")
    try:
        return _SOURCES.validate_python(raw.get("sources", {}))
    except ValidationError as error:
        reading.faults += faults_of(error, "sources")
        return {}


_BASED_HEAD = {"id", "based_on", "sources", "revisions"}


def _based(raw: Mapping[str, Any], reading: _Reading) -> Profile:
    """A profile that lays tables of its own over another's: its rows go before, symbol by symbol and asset by asset."""
    for key in sorted(set(raw) - _BASED_HEAD):
        reading.fault(key, None, "is not a known key of a profile based on another; copy that one to change its rules")
    base = _base(raw, reading)
    sources = _own_sources(raw, reading)
    tables = _own_tables(raw, reading, base)
    found = []
    if base is not None:
        sources = {**base.revisions[-1].sources, **sources}
        for since in sorted({rules.since for rules in base.revisions} | set(tables)):
            own = next((tables[day] for day in sorted(tables, reverse=True) if day <= since), None)
            found.append(_overlaid(base.on(since), since, own, sources, reading))
    if reading.faults or base is None:
        raise ProfileError(str(reading.path), reading.faults)
    return replace(base, id=reading.path.stem, revisions=tuple(found))


def _base(raw: Mapping[str, Any], reading: _Reading) -> Profile | None:
    name = raw["based_on"]
    other = next((path for folder in _folders() if (path := folder / f"{name}.toml").is_file()), None)
    if other is None or "/" in str(name):
        reading.fault("based_on", name, f"is not known; known are {', '.join(profile_ids())}")
        return None
    if "based_on" in parse_table(read_bytes(str(other), ProfileError), str(other), ProfileError, form="toml"):
        reading.fault("based_on", name, "is itself based on another profile; name that one")
        return None
    return load_profile(name)


def _own_tables(raw: Mapping[str, Any], reading: _Reading, base: Profile | None) -> dict[date, Tables]:
    """The tables that stand from each date, of a profile based on another; what one does not restate stays."""
    found: dict[date, Tables] = {}
    merged: dict[str, Any] = {}
    for index, entry in enumerate(raw.get("revisions") or ()):
        where = f"revisions[{index}]"
        since = entry.get("from")
        if type(since) is not date or since in found or (base is not None and since < base.revisions[0].since):
            reading.fault(f"{where}.from", since, "must be a date of its own, not before the other profile's first")
            continue
        for key in sorted(set(entry) - {"from", "tables"}):
            reading.fault(f"{where}.{key}", None, "cannot be restated here; a profile based on another has tables only")
        merged = {**merged, **entry.get("tables", {})}
        try:
            found[since] = Tables.model_validate(merged)
        except ValidationError as error:
            reading.faults += faults_of(error, f"{where}.tables")
        _check_sources(entry, where, raw.get("sources", {}), reading)
    return found


def _overlaid(base: Rules, since: date, own: Tables | None, sources: Mapping[str, Source], reading: _Reading) -> Rules:
    if own is None:
        return replace(base, profile=reading.path.stem, since=since)
    cited: _Cited = {}
    brackets = _brackets(own.brackets, base.slots, reading, sources, cited)
    assets = _collateral(own.collateral, reading, sources, cited) if own.collateral else {}
    sizes = _contracts(own.contracts, reading, sources, cited) if own.contracts else {}
    return replace(
        base,
        profile=reading.path.stem,
        since=since,
        sources=sources,
        brackets={**base.brackets, **brackets},
        assets={**base.assets, **assets},
        contract_sizes={**base.contract_sizes, **sizes},
        row_sources={**base.row_sources, **{name: frozenset(ids) for name, ids in cited.items()}},
    )


def _revisions(raw: Mapping[str, Any], reading: _Reading, sources: Mapping[str, Source]) -> tuple[Rules, ...]:
    listed = raw.get("revisions")
    if not isinstance(listed, list) or not listed:
        reading.fault("revisions", None, "is missing: a profile needs at least one [[revisions]] with its `from` date")
        return ()
    found: list[Rules] = []
    merged: dict[str, Any] = {}
    for index, entry in enumerate(listed):
        where = f"revisions[{index}]"
        since = entry.get("from")
        if type(since) is not date:
            reading.fault(f"{where}.from", since, "must be a date such as 2025-09-02")
            continue
        if found and since <= found[-1].since:
            reading.fault(f"{where}.from", since, f"must be later than {found[-1].since}: revisions stand in order")
        # a later revision restates only the slots that changed
        merged = {**merged, **{key: value for key, value in entry.items() if key != "from"}}
        try:
            slots = Slots.model_validate(merged)
        except ValidationError as error:
            reading.faults += faults_of(error, where)
            continue
        _check_sources(merged, where, sources, reading)
        found.append(_rules(raw, since, slots, sources, reading))
    return tuple(found)


def _check_sources(value: Any, where: str, sources: Mapping[str, Source], reading: _Reading) -> None:
    """Every source id that any table names must exist."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "source":
                for name in (item,) if isinstance(item, str) else item:
                    if name not in sources:
                        reading.fault(f"{where}.source", name, "is not one of the profile's sources")
            else:
                _check_sources(item, f"{where}.{key}", sources, reading)


def _rules(
    raw: Mapping[str, Any], since: date, slots: Slots, sources: Mapping[str, Source], reading: _Reading
) -> Rules:
    tables = slots.tables
    cited: _Cited = {}
    brackets = _brackets(tables.brackets, slots, reading, sources, cited) if tables and tables.brackets else {}
    collateral = _collateral(tables.collateral, reading, sources, cited) if tables and tables.collateral else {}
    sizes = _contracts(tables.contracts, reading, sources, cited) if tables and tables.contracts else {}
    return Rules(
        profile=str(raw.get("id")),
        venue=str(raw.get("venue")),
        account_mode=str(raw.get("account_mode")),
        reference_currency=str(raw.get("reference_currency")),
        since=since,
        slots=slots,
        sources=sources,
        brackets=brackets,
        contract_sizes=sizes,
        assets=collateral,
        taker_fees={},
        row_sources={name: frozenset(ids) for name, ids in cited.items()},
    )


_Cited = dict[str, set[str]]
"""The sources of the rows of each symbol and asset."""


def _cite(
    row: Mapping[str, str], column: str, where: str, reading: _Reading, sources: Mapping[str, Source], cited: _Cited
) -> None:
    source = row.get("source", "")
    if source not in sources:
        reading.fault(f"{where}.source", source, "is not one of the profile's sources")
    for name in row[column].split():
        cited.setdefault(name, set()).add(source)


def _brackets(
    names: tuple[str, ...], slots: Slots, reading: _Reading, sources: Mapping[str, Source], cited: _Cited
) -> dict[str, tuple[Bracket, ...]]:
    found: dict[str, list[Bracket]] = {}
    numbered = [(n, i, row) for n in names for i, row in enumerate(reading.rows(n, _BRACKET_COLUMNS), start=2)]
    for name, number, row in numbered:
        where = f"{name}:{number}"
        _cite(row, "symbols", where, reading, sources, cited)
        fields = {key: text for key, text in row.items() if key not in ("symbols", "source") and text}
        try:
            bracket = Bracket.model_validate(fields)
        except ValidationError as error:
            reading.faults += faults_of(error, where)
            continue
        for symbol in row["symbols"].split():
            try:
                parse_symbol(symbol)
            except ValueError as error:
                reading.fault(where, symbol, str(error))
            found.setdefault(symbol, []).append(bracket)
    tables = {symbol: tuple(rows) for symbol, rows in found.items()}
    steps = slots.maintenance_margin.kind == "step_brackets"
    stated = slots.maintenance_margin.rate == "stated"
    for symbol, table in tables.items():
        for why in check_brackets(table, steps=steps):
            reading.fault(f"{', '.join(names)} {symbol}", None, why)
        for row_number, bracket in enumerate(table):
            if stated and bracket.maintenance_rate is None:
                reading.fault(f"{', '.join(names)} {symbol} row {row_number + 1}", None, "maintenance_rate is missing")
            if not stated and bracket.max_leverage is None:
                reading.fault(f"{', '.join(names)} {symbol} row {row_number + 1}", None, "max_leverage is missing")
    return tables


def _collateral(name: str, reading: _Reading, sources: Mapping[str, Source], cited: _Cited) -> dict[str, AssetRule]:
    tiers: dict[str, list[CollateralTier]] = {}
    buffers: dict[str, dict[str, str]] = {}
    for number, row in enumerate(reading.rows(name, _COLLATERAL_COLUMNS), start=2):
        where = f"{name}:{number}"
        _cite(row, "assets", where, reading, sources, cited)
        given = {key: row[key] for key in _ASSET_RATES if row.get(key)}
        for asset in row["assets"].split():
            buffers.setdefault(asset, {}).update(given)
            if row.get("collateral_ratio"):
                try:
                    tier = CollateralTier.model_validate(
                        {"floor": row.get("floor") or "0", "collateral_ratio": row["collateral_ratio"]}
                    )
                except ValidationError as error:
                    reading.faults += faults_of(error, where)
                    continue
                tiers.setdefault(asset, []).append(tier)
    found = {}
    for asset, given in buffers.items():
        stated = tuple(tiers.get(asset, ()))
        for why in check_tiers(stated) if stated else ():
            reading.fault(f"{name} {asset}", None, why)
        try:
            found[asset] = AssetRule.model_validate(
                {"asset": asset, **({"collateral_tiers": stated} if stated else {}), **given}
            )
        except ValidationError as error:
            reading.faults += faults_of(error, f"{name} {asset}")
    return found


def _contracts(name: str, reading: _Reading, sources: Mapping[str, Source], cited: _Cited) -> dict[str, Decimal]:
    found = {}
    for number, row in enumerate(reading.rows(name, _CONTRACT_COLUMNS), start=2):
        _cite(row, "symbols", f"{name}:{number}", reading, sources, cited)
        try:
            size = parse_decimal(row["contract_size"])
        except ValueError as error:
            reading.fault(f"{name}:{number}.contract_size", row["contract_size"], str(error))
            continue
        for symbol in row["symbols"].split():
            found[symbol] = size
    return found
