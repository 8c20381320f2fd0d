"""Answers as people paste them: printed by Python, JavaScript or PHP instead of written as JSON.

Understood are a Python ``repr`` (``{'a': None}``, ``Decimal('1')``), what JavaScript's console prints
(``{ a: undefined }``, with comments), and PHP's ``print_r``, ``var_export`` and short arrays, each with a line of
words before it, as loggers and command lines put there. What is cut short (``[Object]``, a bracket that is not
closed, anything after the value) is refused: half an answer is none.
"""

from __future__ import annotations

import re
from typing import Any

from crossmargin.files.text import MAX_DEPTH

_START = re.compile(r"\{|\[\s*[\[{'\"(\]]|\[\s*(?=\w+\s*=>)|\b[Aa]rray\s*\(")
_TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`\\]*`)
    |(?P<number>[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)n?(?![\w.])
    |(?P<word>-?[A-Za-z_$][\w$.]*)
    |(?P<mark>=>|[][{}():,;])""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = {"none": None, "null": None, "undefined": None, "true": True, "false": False}
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_CUT = ("Object", "Array", "Circular", "Function")
_CLOSE = {"{": "}", "[": "]", "(": ")"}


def parse_notation(text: str) -> Any:
    """The value that a program printed, every number as it was written. Raises ValueError with the place and reason.

    >>> parse_notation("balance: {'USDT': {'free': 1.50, 'used': None}}")
    {'USDT': {'free': '1.50', 'used': None}}
    """
    start = _START.search(text)
    if start is None:
        raise ValueError("no table and no list begins in it")
    body = text[start.start() :]
    if re.match(r"Array\s*\n\s*\(", body):
        return _printed_lines(body)
    tokens = _Tokens(body)
    value = tokens.value(0)
    tokens.take(";", needed=False)
    if tokens.kind != "end":
        raise ValueError(f"something follows the value: {tokens.what[:20]!r}; give one value at a time")
    return value


class _Tokens:
    """The text token by token; each method reads one thing and leaves the next token in ``kind`` and ``what``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.kind = self.what = ""
        self.step()

    def step(self) -> None:
        while self.at < len(self.text):
            found = _TOKEN.match(self.text, self.at)
            if found is None:
                raise ValueError(f"{self.text[self.at : self.at + 20]!r} at character {self.at} is not understood")
            self.at = found.end()
            if found.lastgroup != "blank":
                self.kind, self.what = str(found.lastgroup), found[str(found.lastgroup)]
                return
        self.kind, self.what = "end", ""

    def take(self, mark: str, *, needed: bool = True) -> bool:
        if (self.kind, self.what) == ("mark", mark):
            self.step()
            return True
        if needed:
            raise ValueError(f"{mark!r} is missing before {self.what[:20] or 'the end'!r}")
        return False

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
        kind, what = self.kind, self.what
        if kind == "mark" and what in _CLOSE:
            self.step()
            return self.items(_CLOSE[what], depth, table=what == "{")
        if kind not in ("text", "number", "word"):
            raise ValueError(f"a value is missing before {what[:20] or 'the end'!r}")
        self.step()
        if kind == "text":
            return _unquoted(what)
        if kind == "number":
            return int(what) if re.fullmatch(r"-?[0-9]{1,40}", what) else what
        if self.take("(", needed=False):
            return self.called(what, depth)
        if what.lower() in _WORDS:
            return _WORDS[what.lower()]
        if what in ("NaN", "nan", "Infinity", "inf", "-Infinity", "-inf"):
            return what  # a text, so that the field refuses it with its path
        raise ValueError(f"{what!r} is cut short or no value: print the whole answer, as JSON if you can")

    def called(self, name: str, depth: int) -> Any:
        """``array(...)`` of PHP is its items; ``Decimal('1')`` and the like are what they hold."""
        found = self.items(")", depth, table=False)
        if name.lower() == "array":
            return found
        if not isinstance(found, list) or len(found) != 1:
            raise ValueError(f"{name}(...) is no plain value")
        return found[0]

    def items(self, close: str, depth: int, *, table: bool) -> Any:
        """The inside of a bracket up to ``close``: a list, or a table where keys stand before the values."""
        rows: list[Any] = []
        pairs: dict[str, Any] = {}
        while not self.take(close, needed=False):
            if self.kind == "word" and self.what in _CUT:
                raise ValueError(f"[{self.what}] is cut short: print the whole answer, as JSON if you can")
            if table:
                key, keyed = self.key(), True
                self.take(":" if self.what == ":" else "=>")
            else:
                key = self.value(depth + 1)
                keyed = self.take("=>", needed=False)
            if not keyed:
                rows.append(key)
            elif str(key) in pairs:
                raise ValueError(f"the key {str(key)!r} stands twice")
            else:
                pairs[str(key)] = self.value(depth + 1)
            if not self.take(",", needed=False):
                self.take(close)
                break
        if rows and pairs:
            raise ValueError("a list and a table are mixed in one bracket")
        return pairs if table or (pairs and not _numbered(pairs)) else list(pairs.values()) or rows

    def key(self) -> str:
        kind, what = self.kind, self.what
        if kind not in ("text", "number", "word"):
            raise ValueError(f"a name is missing before {what[:20] or 'the end'!r}")
        self.step()
        return _unquoted(what) if kind == "text" else what


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(_unescaped, text[1:-1])


_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)", re.DOTALL)


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)


def _numbered(pairs: dict[str, Any]) -> bool:
    return list(pairs) == [str(index) for index in range(len(pairs))]


_LINE = re.compile(r"\[([^\]]*)\] =>(?: (.*))?")


def _printed_lines(text: str) -> Any:
    """``print_r``: one value a line without quotes, ``Array``, ``(`` and ``)`` on lines of their own."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    open_tables: list[dict[str, Any]] = [{}]
    names = ["(whole)"]
    for number, line in enumerate(lines):
        pair = _LINE.fullmatch(line)
        opened = (pair is not None and pair[2] == "Array") or line == "Array"
        if opened:
            names.append(pair[1] if pair else "(whole)")
        elif pair is not None and len(names) == len(open_tables):
            if pair[1] in open_tables[-1]:
                raise ValueError(f"the key {pair[1]!r} stands twice")
            open_tables[-1][pair[1]] = pair[2] or None
        elif line == "(" and len(names) > len(open_tables):
            open_tables.append({})
        elif line == ")" and len(open_tables) > 1:
            inner, name = open_tables.pop(), names.pop()
            open_tables[-1][name] = list(inner.values()) if _numbered(inner) else inner
            if len(open_tables) == 1 and number + 1 < len(lines):
                raise ValueError(f"something follows the value: {lines[number + 1][:20]!r}; give one value at a time")
        else:
            raise ValueError(f"{line[:30]!r} is not understood")
        if len(open_tables) > MAX_DEPTH:
            raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    if len(open_tables) > 1 or "(whole)" not in open_tables[0]:
        raise ValueError("')' is missing before the end")
    return open_tables[0]["(whole)"]
