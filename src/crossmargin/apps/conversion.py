"""Account files and flat tables into a book, and a book into account files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

from crossmargin.apps.batch import books_of
from crossmargin.engine.book import Book
from crossmargin.engine.interchange import book_from_frames, first_line, write_book
from crossmargin.errors import AccountError, CrossmarginError, Fault
from crossmargin.files.accounts import case_from, read_table
from crossmargin.model.account import Account
from crossmargin.model.report import to_json, to_plain

_BALANCES = pa.schema([("account", pa.string()), ("asset", pa.string()), ("wallet_balance", pa.float64())])
_POSITIONS = pa.schema(
    [("account", pa.string()), ("symbol", pa.string()), ("quantity", pa.float64()), ("entry_price", pa.float64())]
)
_TEXTS = ("account", "asset", "symbol", "margin_mode")


def folder_to_book(folder: Path, out: Path, *, on: datetime | None = None) -> int:
    """The account files of a folder (TOML and JSON) as one book; returns how many.

    An account without an id of its own is called by its file. Prices and rules in the files are left to the market
    file. Raises :class:`AccountError` with the faults of every file.
    """
    faults: list[Fault] = []
    accounts = []
    for path in sorted([*folder.glob("*.toml"), *folder.glob("*.json")]):
        try:
            accounts.append(_account(path, on))
        except CrossmarginError as error:
            faults += [Fault(f"{path.name}: {fault.path}", fault.value, fault.why) for fault in error.faults]
    if not accounts and not faults:
        faults.append(Fault(str(folder), "", "holds no account file (.toml or .json)"))
    if faults:
        raise AccountError(str(folder), faults)
    write_book(out, Book.from_accounts(accounts, as_of=on))
    return len(accounts)


def _account(path: Path, on: datetime | None) -> Account:
    raw, where = read_table(str(path))
    account = case_from(raw, where, on=on).account
    return account if "id" in raw else account.model_copy(update={"id": path.stem})


def tables_to_book(balances: str | None, positions: str | None, orders: str | None, out: Path) -> int:
    """Flat tables (CSV or Parquet, one row a balance, a position, an order) as one book; returns how many accounts.

    Raises :class:`AccountError` for a table that cannot be read and for columns that do not fit.
    """
    held = _flat(balances, _BALANCES)
    owned = _flat(positions, _POSITIONS)
    book = book_from_frames(held, owned, None if orders is None else _flat(orders, None))
    write_book(out, book)
    return len(book.account_ids or ())


def _flat(path: str | None, empty: Any) -> Any:
    if path is None:
        return empty.empty_table()
    try:
        if path.endswith(".parquet"):
            return parquet.read_table(path)
        options = csv.ConvertOptions(column_types=dict.fromkeys(_TEXTS, pa.string()), strings_can_be_null=True)
        return csv.read_csv(path, convert_options=options)
    except (OSError, pa.ArrowException) as problem:
        raise AccountError(path, f"cannot be read as a table: {first_line(problem)}") from None


def book_to_folder(path: str, folder: Path, *, profile: str) -> int:
    """The accounts of a book as one JSON file each, in a new folder; returns how many.

    Prices are not in a book: ``evaluate`` needs them in the file. Raises :class:`AccountError` where the folder exists
    and is not empty, for ids that cannot be file names, and for values that no account can have.
    """
    if folder.exists() and any(folder.iterdir()):
        raise AccountError(str(folder), "is not empty; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for account in _accounts(path, profile):
        name = f"{account.id}.json"
        if Path(name).name != name or account.id in ("", ".", ".."):
            raise AccountError(path, (Fault("account", account.id, "cannot be the name of a file"),))
        with (folder / name).open("x", encoding="utf-8") as stream:
            stream.write(to_json(_keys(account)) + "\n")
        count += 1
    return count


def _accounts(path: str, profile: str) -> Iterator[Account]:
    for book in books_of(path):
        yield from book.to_accounts(profile=profile)


def _keys(account: Account) -> dict[str, Any]:
    """What an account file says: the keys that differ from their defaults."""
    raw: dict[str, Any] = to_plain(account.model_dump(exclude_defaults=True))
    Account.model_validate(raw)
    return raw
