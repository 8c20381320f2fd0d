"""Accounts from what venues and exchange clients answer: payloads laid over each other, then one account file.

The payloads' own readers are in :mod:`crossmargin.files.payloads`. Nothing is filled in: a field that no payload
states is missing, and the fault says how to give it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from crossmargin.errors import AccountError, Fault, ProfileError
from crossmargin.files.accounts import Case, case_from, payments_from
from crossmargin.files.notation import parse_notation
from crossmargin.files.partial import partial_case
from crossmargin.files.payloads.reading import UNLISTED, Parts, Path, plain_figure
from crossmargin.files.payloads.shapes import read_payload
from crossmargin.files.payloads.wallets import isolate_all, take_pockets_out
from crossmargin.files.profiles import load_profile, profile_ids
from crossmargin.files.text import parse_json, parse_json_values, read_bytes
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.payment import PaidFunding
from crossmargin.model.profile import Rules
from crossmargin.model.reported import Reported, reported_table

VENUES = {
    "binance": "binance-usdm",
    "bingx": "bingx-usdm",
    "bitget": "bitget-usdm",
    "blofin": "blofin-usdm",
    "bybit": "bybit-uta",
    "coinex": "coinex-futures",
    "cryptocom": "cryptocom-exchange",
    "deribit": "deribit",
    "gate": "gate-futures",
    "htx": "htx-usdm",
    "hyperliquid": "hyperliquid",
    "kucoin": "kucoin-futures",
    "mexc": "mexc-usdm",
    "okx": "okx-futures",
    "phemex": "phemex-usdm",
    "weex": "weex-usdm",
    "whitebit": "whitebit-collateral",
}
"""Venues whose own answers are read, each with the profile that counts where no payload tells the account mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """An account read from payloads.

    ``table``: the keys of its account file. ``reported``: what the venue says of it, under our names. ``notes``: what
    was worked out from other fields. ``not_understood``: fields of the payloads that no reader knows. ``missing``: what
    an account file needs and no payload states, with how to give it. ``lacking``: which of ``balances`` and
    ``positions`` no payload lists, so that figures of the whole account cannot be compared. ``given``: reported figures
    that the account was worked out from, each with the words for it: comparing those would prove nothing.
    """

    table: Mapping[str, Any]
    reported: tuple[Reported, ...]
    notes: tuple[str, ...]
    not_understood: tuple[str, ...]
    missing: tuple[Fault, ...]
    lacking: tuple[str, ...]
    given: Mapping[str, str]

    @property
    def payments(self) -> tuple[PaidFunding, ...]:
        """Funding that was paid, row by row."""
        return payments_from(self.table, "import")

    def case(self, *, positions_only: bool = False) -> Case:
        """The account, its market and its rules. Raises :class:`AccountError` naming everything that is missing.

        ``positions_only``: wallets may be missing; then no figure of a whole cross account means anything.
        """
        self._refuse(("balances.",) if positions_only else ())
        return case_from(self.table, "import")

    def partial_case(self) -> tuple[Case, dict[str, str]]:
        """The case as far as it can be compared, and by figure why what is missing leaves it unknown.

        Wallets, mark prices and maintenance tables may be missing; anything else raises :class:`AccountError`. A
        figure of the whole account means nothing where ``lacking`` names a list.
        """
        self._refuse(("balances.", "market.mark_price."))
        case, why = partial_case(self.table, self.reported)
        return case, {
            **why,
            **{row.figure: self.given[row.figure] for row in self.reported if row.figure in self.given},
        }

    def _refuse(self, dispensable: tuple[str, ...]) -> None:
        missing = [fault for fault in self.missing if not fault.path.startswith(dispensable)]
        if missing:
            raise AccountError("import", missing)

    def toml(self) -> str:
        """The account file, with what the venue reported in ``[reported]``; read it back with ``cm.load``."""
        table = {**self.table, **({"reported": reported_table(self.reported)} if self.reported else {})}
        return toml_of(table)


def import_account(
    payloads: Iterable[Any],
    *,
    venue: str | None = None,
    shape: str | None = None,
    fragments: Iterable[Mapping[str, Any]] = (),
    settings: Iterable[str] = (),
    on: datetime | None = None,
    account_id: str | None = None,
) -> Imported:
    """Read one account from a venue's or a client's answers, as parsed JSON (``parse_float=str`` keeps every digit).

    ``venue``: a venue or a profile id (``binance-usdm``), which then judges the account. ``shape`` forces how the
    payloads are read. ``fragments``: parts of an account file that go over the payloads; ``settings``:
    ``path=value`` over both (``positions.BTC/USDT:USDT.leverage=10``). ``on``: the moment of the account where no
    payload says it. Raises :class:`AccountError` for an answer that is a refusal, is not recognised or cannot be read,
    and for payloads that contradict each other.
    """
    read = [read_payload(payload, f"payload {n}", shape) for n, payload in enumerate(payloads, start=1)]
    own = [_flat(fragment) for fragment in fragments] + [_settings(settings)]
    faults = [fault for parts in read for fault in parts.faults]
    stated = _merge(read, own, faults)
    isolate_all(stated, read)
    pocketed, of_wallets = take_pockets_out(stated, read, frozenset(path for table in own for path in table))
    faults += of_wallets
    if faults:
        raise AccountError("import", faults)
    if venue is not None and venue not in VENUES:
        stated["profile",] = venue
    if on is not None:
        stated["as_of",] = on.isoformat().replace("+00:00", "Z")
    times = [time for parts in read for time in parts.times]
    if times and ("as_of",) not in stated:
        stated["as_of",] = max(times)
    _name_profile(stated, read, venue)
    lacking = _lacking(read, stated)
    payments = [row for parts in read for row in parts.payments]
    given: dict[str, str] = {}
    notes = [note for parts in read for note in parts.notes] + pocketed + _derive(stated, read, given)
    if payments and not any(path[0] in ("balances", "positions", "pockets") for path in stated):
        notes += _rules_for_payments(stated)
    if account_id is not None:
        stated["id",] = account_id
    table = {**_nested(_pruned(stated)), **({"funding_payments": payments} if payments else {})}
    if payments:
        payments_from({"funding_payments": payments}, "import")
    return Imported(
        table=table,
        reported=_reported(read),
        notes=tuple(dict.fromkeys(notes)),
        not_understood=tuple(sorted({name for parts in read for name in parts.not_understood()})),
        missing=_missing(stated, lacking) + _nothing(stated, read),
        lacking=lacking,
        given=given,
    )


def read_payload_file(path: str) -> Any:
    """A file (``-`` = standard input) of JSON, or of what Python, JavaScript or PHP printed; numbers as written.

    Several JSON values one after another (a value a line, or answers put together) are one list. Raises
    :class:`AccountError` with what is wrong with it as JSON where it is none of these.
    """
    data, where = read_bytes(path, AccountError), "standard input" if path == "-" else path
    try:
        return parse_json(data, where, AccountError)
    except AccountError:
        if data.lstrip()[:1] == b"<":
            raise
        if data.lstrip()[:1] in (b"{", b"["):
            with suppress(AccountError):
                return parse_json_values(data, where, AccountError)
        try:
            return parse_notation(data.decode("utf-8-sig"))
        except ValueError as problem:
            printed = str(problem)
        if not _PRINTED.search(data):
            raise
    raise AccountError(where, f"is not valid JSON, and as something that a program printed: {printed}")


_PRINTED = re.compile(rb"(?m)=>|[{,\[(]\s*'|None\b|undefined|^\s*\w+:")
"""What JSON never has and other notations do: tells which of two reasons is the one to give."""


# laying parts over each other -----------------------------------------------------------------------------------------


def _merge(read: list[Parts], own: list[dict[Path, Any]], faults: list[Fault]) -> dict[Path, Any]:
    """All that is stated; payloads must agree with each other, what the user says goes over them."""
    said = {path for table in own for path in table}
    stated: dict[Path, Any] = {}
    for parts in read:
        for path, value in parts.stated.items():
            if path in stated and stated[path] != value and path not in said:
                faults.append(
                    Fault(
                        ".".join(path),
                        f"{stated[path]} and {value}",
                        "differs between two payloads, so they are of different moments; read them together, "
                        f"or decide it with --set {'.'.join(path)}=VALUE",
                    )
                )
            stated[path] = value
    orders = [order for parts in read for order in parts.orders]
    if orders:
        stated["open_orders",] = orders
    for table in own:
        stated.update(table)
    for key, symbol in _positions(stated).items():
        try:
            parse_symbol(symbol)
        except ValueError as error:
            faults.append(Fault(f"positions.{key}.symbol", str(symbol)[:60], str(error)))
    return stated


def _name_profile(stated: dict[Path, Any], read: list[Parts], venue: str | None) -> None:
    """The account mode: what was said, else what the most telling answer shows, else the venue's usual one."""
    told = [found for parts in read for found in parts.profiles]
    surest = max((rank for rank, _ in told), default=0)
    names = sorted({name for rank, name in told if rank == surest})
    if ("profile",) not in stated and len(names) > 1:
        why = "are all shown by these answers: read them apart, or decide with --set profile=ID"
        raise AccountError("import", (Fault("profile", ", ".join(names), why),))
    if ("profile",) not in stated and (names or venue in VENUES):
        stated["profile",] = names[0] if names else VENUES[str(venue)]
    wrong = [name for name in names if venue in VENUES and name.partition("-")[0] != venue]
    if wrong:
        why = f"is what the answers are of; they are no answers of {venue}"
        raise AccountError("import", (Fault("profile", wrong[0], why),))


def _derive(stated: dict[Path, Any], read: list[Parts], given: dict[str, str]) -> list[str]:
    """Fill in what follows from other fields and nothing states, the profile neither; give the words for it.

    ``given`` takes the reported figures that were used up so.
    """
    rules = _rules(stated)
    notes = _add_up(stated, read, rules)
    for parts in read:
        for path, (value, words) in parts.derived.items():
            unlisted = path[-1] == UNLISTED
            if unlisted and (rules is None or path[1] in rules.brackets):
                continue
            at = (*path[:-1], "brackets") if unlisted else path
            if at not in stated and (unlisted or not _known(at, value, rules)):
                stated[at] = value
                given.update(dict.fromkeys(parts.given.get(path, ()), f"taken as given: {words}"))
                if words:
                    notes.append(f"{words}" + ("" if isinstance(value, list) else f" = {value}"))
    return notes


def _add_up(stated: dict[Path, Any], read: list[Parts], rules: Rules | None) -> list[str]:
    """Balances that borrowing positions make up, where no answer lists balances and one pool holds them all."""
    if any(path[0] == "balances" for path in stated) or (rules and rules.slots.pooling.kind != "unified"):
        return []
    whole = Parts()
    for parts in read:
        for path, (amount, words) in parts.added.items():
            whole.add_up(*path, amount=amount, words=words)
    stated.update({path: amount for path, (amount, _) in whole.added.items()})
    return list(dict.fromkeys(words for _, words in whole.added.values()))


def _rules_for_payments(stated: dict[Path, Any]) -> list[str]:
    """A list of payments alone may be older than any rule known: what it needs of them are contract sizes."""
    profile = stated.get(("profile",))
    if profile not in profile_ids() or ("as_of",) not in stated:
        return []
    first = load_profile(profile).revisions[0].since.isoformat()
    if str(stated["as_of",])[:10] >= first:
        return []
    stated["as_of",] = f"{first}T00:00:00Z"
    return [f"rules of {profile} are known from {first} on; of these payments they only say contract sizes"]


def _rules(stated: Mapping[Path, Any]) -> Rules | None:
    profile, when = stated.get(("profile",)), stated.get(("as_of",))
    if profile not in profile_ids() or when is None:
        return None
    try:
        return load_profile(profile).on(datetime.fromisoformat(str(when).replace("Z", "+00:00")))
    except (ProfileError, ValueError):
        return None


def _known(path: Path, value: Any, rules: Rules | None) -> bool:
    """Whether the profile has this already; a bracket it has at another rate is not known, the payload is newer."""
    if rules is None or len(path) != 3:
        return False
    kind, name, field = path
    if kind == "instruments" and field == "contract_size":
        return bool(rules.contract_size(name) == value)
    if kind == "instruments" and field == "taker_fee" and parse_symbol(name).kind == "spot":
        return rules.slots.borrowing is not None and bool(rules.slots.borrowing.fee == value)
    if kind == "instruments" and field == "taker_fee":
        return rules.taker_fee(name) is not None
    if kind == "instruments" and field == "brackets":
        return any(
            str(getattr(bracket, key)) == text
            for bracket in rules.brackets.get(name, ())
            for key, text in value[0].items()
            if key != "notional_floor"
        )
    if kind == "assets" and field == "collateral_ratio":
        return name in rules.assets and rules.assets[name].tiers is not None
    return False


def _lacking(read: list[Parts], stated: Mapping[Path, Any]) -> tuple[str, ...]:
    listed = {name for parts in read for name in parts.lists} | {path[0] for path in stated}
    return tuple(name for name in ("balances", "positions") if name not in listed)


def _reported(read: list[Parts]) -> tuple[Reported, ...]:
    return tuple({(row.figure, row.value): row for parts in read for row in parts.reported}.values())


# what is missing ------------------------------------------------------------------------------------------------------


def _missing(stated: Mapping[Path, Any], lacking: tuple[str, ...]) -> tuple[Fault, ...]:
    """What an account file needs and nobody said, each with the setting that gives it."""
    needed: list[Path] = [("profile",), ("as_of",)]
    wallets = []
    for key, symbol in _positions(stated).items():
        at = ("positions", key)
        needed += [(*at, "quantity"), (*at, "entry_price"), ("market", "mark_price", symbol)]
        if stated.get((*at, "margin_mode")) == "isolated":
            needed.append((*at, "isolated_margin"))
        elif "balances" in lacking:
            wallets.append(("balances", parse_symbol(symbol).settle))
    needed += [("market", "mark_price", path[1]) for path in stated if path[0] == "pockets" and path[-1] == "symbol"]
    faults = [_fault(path, "is in none of the payloads") for path in dict.fromkeys(needed) if path not in stated]
    words = "is not known: no payload lists balances, and a cross position stands on them"
    return tuple(faults + [_fault(path, words) for path in dict.fromkeys(wallets)])


def _nothing(stated: Mapping[Path, Any], read: list[Parts]) -> tuple[Fault, ...]:
    """Answers that list neither balances nor positions are no account: an empty one would pass for a safe one."""
    if not read or any(parts.lists or parts.reported or parts.payments for parts in read):
        return ()
    if any(path[0] in ("balances", "positions", "pockets", "funding_payments") for path in stated):
        return ()
    return (Fault("(whole)", "", "none of the answers lists balances or positions; add those answers to --from"),)


def _fault(path: Path, why: str) -> Fault:
    return Fault(".".join(path), "", f"{why}; give it with --set {'.'.join(path)}=VALUE or in a file with --with")


def _positions(stated: Mapping[Path, Any]) -> dict[str, str]:
    return {path[1]: value for path, value in stated.items() if path[0] == "positions" and path[-1] == "symbol"}


# paths and tables -----------------------------------------------------------------------------------------------------

_LISTED = {"positions": "symbol", "pockets": "symbol", "instruments": "symbol", "assets": "asset"}
"""Tables that an account file writes as lists, with the field that names a row."""


def _flat(fragment: Mapping[str, Any]) -> dict[Path, Any]:
    """The paths of a part of an account file."""
    found: dict[Path, Any] = {}
    for name, value in fragment.items():
        if name in _LISTED and isinstance(value, list):
            for row in value:
                key = str(row.get(_LISTED[name]))
                side = row.get("position_side", "net")
                key += f" {side}" if name == "positions" and side != "net" else ""
                found.update({(name, key, field): item for field, item in row.items()})
        elif name == "balances" and isinstance(value, Mapping):
            for asset, item in value.items():
                row = item if isinstance(item, Mapping) else {"wallet_balance": item}
                found.update({(name, asset, field): figure for field, figure in row.items()})
        elif name == "market" and isinstance(value, Mapping):
            found.update({(name, kind, key): item for kind, table in value.items() for key, item in table.items()})
        else:
            found[name,] = value
    return found


def _settings(settings: Iterable[str]) -> dict[Path, Any]:
    found: dict[Path, Any] = {}
    for text in settings:
        name, sign, value = text.partition("=")
        path = tuple(name.split("."))
        if path[0] == "balances" and len(path) == 2:
            path = (*path, "wallet_balance")
        if not sign or not value or len(path) not in (1, 3) or path[0] not in _SETTABLE:
            why = "must be PATH=VALUE with a path of the account file, such as market.mark_price.BTC/USDT:USDT=61000"
            raise AccountError("--set", (Fault("--set", text, why),))
        found[path] = value
        if path[0] == "positions":
            symbol, _, side = path[1].partition(" ")
            found.setdefault(("positions", path[1], "symbol"), symbol)
            if side:
                found.setdefault(("positions", path[1], "position_side"), side)
    return found


_SETTABLE = ("id", "profile", "as_of", "balances", "positions", "pockets", "market", "instruments", "assets")


def _pruned(stated: Mapping[Path, Any]) -> dict[Path, Any]:
    """Without prices and rules of contracts that the account does not hold: a venue lists thousands."""
    held = set(_positions(stated).values()) | {path[1] for path in stated if path[0] == "pockets"}
    held |= {order["symbol"] for order in stated.get(("open_orders",), ()) if isinstance(order, Mapping)}
    coins = {path[1] for path in stated if path[0] == "balances"}
    for symbol in held:
        parsed = parse_symbol(symbol)
        coins |= {parsed.base, parsed.settle, parsed.quote}
    by_symbol = ("mark_price", "last_price", "funding_rate", "funding_interval")

    def used(path: Path) -> bool:
        if path[0] == "instruments" or (path[0] == "market" and path[1] in by_symbol):
            return path[-1 if path[0] == "market" else 1] in held
        if path[0] == "assets":
            return path[1] in coins
        return path[0] != "market" or path[2] in coins

    return {path: value for path, value in stated.items() if used(path)}


_ORDER = ("id", "profile", "as_of", "balances", "positions", "pockets")


def _nested(stated: Mapping[Path, Any]) -> dict[str, Any]:
    """The account file's own table of the paths, in its order."""
    found: dict[str, Any] = {}
    for name in (*_ORDER, "open_orders", "market", "instruments", "assets"):
        below = {path[1:]: _written(value) for path, value in stated.items() if path[0] == name}
        if not below:
            continue
        if () in below:
            found[name] = below[()]
            continue
        table: dict[str, Any] = {}
        for path, value in below.items():
            table.setdefault(path[0], {})[path[1]] = value
        if name in _LISTED:
            found[name] = [{_LISTED[name]: _row_name(name, key, row), **row} for key, row in table.items()]
        else:
            found[name] = table
    return found


def _row_name(name: str, key: str, row: Mapping[str, Any]) -> str:
    return str(row.get(_LISTED[name], key))


def _written(value: Any) -> Any:
    return plain_figure(value) if isinstance(value, Decimal) else value


# writing --------------------------------------------------------------------------------------------------------------


def toml_of(table: Mapping[str, Any]) -> str:
    """An account file's table as TOML: plain values first, then a block for each table and each row of a list."""
    lines = [f"{key} = {_literal(key, value)}" for key, value in table.items() if not isinstance(value, dict | list)]
    for key, value in table.items():
        if isinstance(value, list):
            for row in value:
                lines += ["", f"[[{key}]]", *(f"{_key(k)} = {_literal(k, v)}" for k, v in row.items())]
        elif isinstance(value, dict) and key == "market":
            for kind, prices in value.items():
                lines += ["", f"[market.{kind}]", *(f"{_key(k)} = {_literal(k, v)}" for k, v in prices.items())]
        elif isinstance(value, dict):
            lines += ["", f"[{key}]", *(f"{_key(k)} = {_literal(k, v)}" for k, v in value.items())]
    return "\n".join(lines).lstrip("\n") + "\n"


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else json.dumps(key, ensure_ascii=False)


def _literal(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(k)} = {_literal(k, v)}" for k, v in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(key, item) for item in value) + "]"
    if key == "as_of":
        return str(value)
    return json.dumps(str(value), ensure_ascii=False)
