"""Reading text safely: TOML and JSON with exact numbers, CSV tables, size limits, one clear error each."""

from __future__ import annotations

import csv
import io
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from crossmargin.errors import CrossmarginError

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 32


def read_bytes(path: str, error: type[CrossmarginError]) -> bytes:
    """The bytes of a file, or of standard input for ``-``; refuses more than 16 MiB."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
    except OSError as problem:
        raise error(path, f"cannot be read: {problem.strerror or problem}") from None
    if len(data) > MAX_BYTES:
        raise error(path, f"is larger than {MAX_BYTES} bytes")
    return data


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice")
        found[key] = value
    return found


def _too_deep(table: Any, limit: int) -> bool:
    """Whether anything in it lies deeper than so many levels."""
    held = [table]
    for _ in range(limit):
        inner = (each.values() if isinstance(each, dict) else each for each in held)
        held = [item for items in inner for item in items if isinstance(item, dict | list)]
        if not held:
            return False
    return any(held)


def parse_table(data: bytes, where: str, error: type[CrossmarginError], *, form: str | None = None) -> dict[str, Any]:
    """Parse TOML or JSON; number literals keep the digits that were written. JSON is recognised by its first brace."""
    text = _decoded(data, where, error)
    is_json = form == "json" or (form is None and text.lstrip()[:1] == "{")
    value = _parsed(text, where, error, is_json=is_json)
    if not isinstance(value, dict):
        raise error(where, "must be a table of keys at the top")
    return value


def parse_json(data: bytes, where: str, error: type[CrossmarginError]) -> Any:
    """Parse JSON as a venue answers it, a list or a table; number literals keep the digits that were written."""
    text = _decoded(data, where, error)
    if text.lstrip()[:1] == "<":
        raise error(where, "is a page (HTML), not JSON: the venue or something before it answered with an error page")
    return _parsed(text, where, error, is_json=True)


def parse_json_values(data: bytes, where: str, error: type[CrossmarginError]) -> list[Any]:
    """Parse JSON values that stand one after another, as in a file of lines or of several answers."""
    text = _decoded(data, where, error).strip()
    values: list[Any] = []
    while text:
        try:
            _, end = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError) as problem:
            raise error(where, f"is not valid JSON in value {len(values) + 1}: {problem}") from None
        values.append(_parsed(text[:end], where, error, is_json=True))
        text = text[end:].lstrip(", \t\r\n")
    return values


def _decoded(data: bytes, where: str, error: type[CrossmarginError]) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(where, f"is not UTF-8 text (byte {problem.start})") from None


def _parsed(text: str, where: str, error: type[CrossmarginError], *, is_json: bool) -> Any:
    try:
        if is_json:
            value = json.loads(
                text,
                parse_float=str,
                parse_int=_integer,
                parse_constant=str,  # NaN and Infinity go on as texts, so that the field refuses them with its path
                object_pairs_hook=_no_twice,
            )
        else:
            value = tomllib.loads(text, parse_float=str)
    except (ValueError, RecursionError) as problem:
        kind = "JSON" if is_json else "TOML"
        reason = "nested too deeply" if isinstance(problem, RecursionError) else str(problem)
        raise error(where, f"is not valid {kind}: {reason}") from None
    if isinstance(value, dict | list) and _too_deep(value, MAX_DEPTH):
        raise error(where, f"is nested deeper than {MAX_DEPTH} levels")
    return value


def _integer(literal: str) -> int | str:
    # beyond what a figure may have, keep the text: the field's own check then names the path
    return int(literal) if len(literal) <= 40 else literal


def parse_csv(data: bytes, where: str, error: type[CrossmarginError], columns: set[str]) -> list[dict[str, str]]:
    """Parse a CSV table with a header; the header must have exactly known columns, each row as many fields."""
    reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig")), strict=True)
    unknown = set(reader.fieldnames or ()) - columns
    if unknown:
        raise error(where, f"has unknown columns {sorted(unknown)}; allowed are {sorted(columns)}")
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise error(where, f"line {reader.line_num} has more or fewer fields than the header")
        rows.append(row)
    return rows
