"""Tables of a book: what their columns must be.

    account       text or integer; the purses of one account stand next to each other
    isolated      whether the purse is the pocket of one isolated position
    open_orders   whether the account has open orders that the book does not hold
    holdings      list of {asset, amount, bonus_credit, use_as_collateral, positions} and, if there are some, orders
                  positions: list of {symbol, quantity, entry_price, leverage}
                  orders: list of {symbol, quantity, price, leverage, reduce_only}

:mod:`crossmargin.engine.interchange` turns such a table into a book; this door says what is wrong with a file, all of
it at once, before anything is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from crossmargin.errors import AccountError, CrossmarginError, Fault, MissingExtra

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError as error:  # pragma: no cover - the extra is installed where the tests run
    raise MissingExtra("book", "Parquet files need pyarrow; install crossmargin[book]") from error


def _is_text(kind: Any) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _is_list(kind: Any) -> bool:
    return bool((pa.types.is_list(kind) or pa.types.is_large_list(kind)) and pa.types.is_struct(kind.value_type))


_HOLDS: Mapping[str, Callable[[Any], bool]] = {
    "text": _is_text,
    "numbers": _is_number,
    "true or false": pa.types.is_boolean,
    "text or integers": lambda kind: _is_text(kind) or bool(pa.types.is_integer(kind)),
    "a list of structs": _is_list,
}
_POSITION = {"symbol": "text", "quantity": "numbers", "entry_price": "numbers", "leverage": "numbers"}
_HOLDING = {
    "asset": "text",
    "amount": "numbers",
    "bonus_credit": "numbers",
    "use_as_collateral": "true or false",
    "positions": "a list of structs",
    "orders": "a list of structs",
}
_ORDER = {
    "symbol": "text",
    "quantity": "numbers",
    "price": "numbers",
    "leverage": "numbers",
    "reduce_only": "true or false",
}
_PURSE = {
    "account": "text or integers",
    "isolated": "true or false",
    "open_orders": "true or false",
    "holdings": "a list of structs",
}
_BELOW = {"holdings": _HOLDING, "positions": _POSITION, "orders": _ORDER}
_OPTIONAL = ("orders",)


def check_schema(schema: Any, where: str) -> None:
    """Raise :class:`AccountError` with every column that is missing, unknown, repeated or of another type."""
    faults = list(_misfits("", schema, _PURSE))
    if faults:
        raise AccountError(where, faults)


def _misfits(path: str, found: Iterable[Any], columns: Mapping[str, str]) -> Iterator[Fault]:
    fields = list(found)
    names = [field.name for field in fields]
    for name, holds in columns.items():
        if name not in names and name not in _OPTIONAL:
            yield Fault(path + name, "", f"is missing; give a column of {holds}")
    for index, field in enumerate(fields):
        shown = str(field.type)[:60]
        if field.name not in columns:
            yield Fault(path + field.name, shown, f"is not a known column; known are {', '.join(columns)}")
        elif field.name in names[:index]:
            yield Fault(path + field.name, shown, "stands twice")
        elif not _HOLDS[columns[field.name]](field.type):
            yield Fault(path + field.name, shown, f"must hold {columns[field.name]}")
        elif field.name in _BELOW:
            yield from _misfits(f"{path}{field.name}.", field.type.value_type, _BELOW[field.name])


def read_rows(path: str, error: type[CrossmarginError], check: Callable[[list[str]], None]) -> list[dict[str, Any]]:
    """The rows of a small Parquet table, its column names checked first."""
    try:
        file = parquet.ParquetFile(path)
        check(list(file.schema_arrow.names))
        rows: list[dict[str, Any]] = file.read().to_pylist()
    except (OSError, pa.ArrowException) as problem:
        why = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise error(path, f"cannot be read as Parquet: {why}") from None
    return rows
