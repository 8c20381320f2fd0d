"""The pieces every venue's reader is made of: rows that know what was read of them, and the parts they fill.

A payload is read into :class:`Parts`: a flat map from a path of the account file (``("positions", "BTC/USDT:USDT",
"quantity")``) to its value. Parts of several payloads, of a user's own file and of single settings are laid over
each other by the same rule, so nothing is filled in that nobody said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Any, Literal, NamedTuple

from crossmargin.errors import Fault
from crossmargin.files.payloads.symbols import unified
from crossmargin.model.reported import Reported

Path = tuple[str, ...]

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,60})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_GROUPED = re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?", re.ASCII)
_NINES = re.compile(r"9{6,}(\.[09]*)?", re.ASCII)
_WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)
_FINEST = Decimal(1).scaleb(-18)
_EMPTY = (None, "", "-", "--", "null")


def printed_number(value: Any) -> Decimal | None:
    """A number as a venue wrote it; None for null, blank and dashes. Raises ValueError for anything else.

    A binary float from a client is read by its shortest text, which is what the client saw. Exponents and commas
    between thousands are read; NaN and infinities are refused.

    >>> printed_number("122,559.90")
    Decimal('122559.90')
    """
    if value in _EMPTY:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"must be a number, found {type(value).__name__}")
    text = repr(value) if isinstance(value, float) else str(value)
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if not _NUMBER.fullmatch(text):
        raise ValueError("must be a plain number")
    number = Decimal(text)
    if abs(number.adjusted()) > 40:
        raise ValueError("is beyond any figure of an account")
    return Decimal(format(number, "f"))


def plain_figure(value: Decimal) -> str:
    """A number as the account file takes it: plain, at most 18 decimals (rounded half-even beyond)."""
    with localcontext(_WIDE):
        exponent = value.as_tuple().exponent
        shorter = value.quantize(_FINEST) if isinstance(exponent, int) and exponent < -18 else value
    text = format(shorter, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def divided(above: Decimal, below: Decimal) -> Decimal:
    """A quotient to 18 decimals, for what a payload states only as a product (a value, not a price)."""
    with localcontext(_WIDE):
        return (above / below).quantize(_FINEST)


@dataclass(slots=True)
class Parts:
    """What one payload says of an account, and what it reports.

    ``stated`` are the fields themselves, ``derived`` those that follow from others with the words for it; a derived
    one counts only where nothing states it; ``added`` are derived amounts that add up over the rows. ``payments`` and
    ``orders`` are funding payments and open orders in the account file's own keys. ``lists`` names what the payload
    lists whole: ``balances``, ``positions``.
    """

    stated: dict[Path, Any] = field(default_factory=dict)
    derived: dict[Path, tuple[Any, str]] = field(default_factory=dict)
    reported: list[Reported] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lists: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    profiles: list[tuple[int, str]] = field(default_factory=list)
    added: dict[Path, tuple[Decimal, str]] = field(default_factory=dict)
    payments: list[dict[str, Any]] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    given: dict[Path, list[str]] = field(default_factory=dict)
    """By the path of a derived field, the reported figures that it follows from: comparing those proves nothing."""
    with_pockets: dict[str, set[str]] = field(default_factory=dict)
    """The assets whose wallet counts isolated positions in, each with the reported figures that do so too."""
    margins: dict[str, Decimal] = field(default_factory=dict)
    """What each position holds, by its key, where only the account's mode tells whether that is a pocket."""
    all_isolated: bool = False
    """The account's mode makes every position a pocket of its own."""
    hint: str | None = None
    """The unified symbol where a client says it beside the venue's own."""

    def row(self, raw: Any, path: str) -> Row:
        """A table of the payload to be read; what is not read of it is told with its path."""
        if not isinstance(raw, Mapping):
            self.fault(path, raw, "must be a table of fields")
            raw = {}
        found = Row(raw, path, self)
        self.rows.append(found)
        return found

    def not_understood(self) -> tuple[str, ...]:
        """The fields with something in them that no reader asked for, lists written with ``[]``."""
        left = {
            f"{row.path}.{name}"
            for row in self.rows
            for name, value in row.raw.items()
            if name not in row.used and value not in (*_EMPTY, [], {})
        }
        return tuple(sorted(re.sub(r"\[[0-9]+\]", "[]", path) for path in left))

    def put(self, *path: str, value: Any) -> None:
        """State a field; None is not stated. A balance that stands twice with other figures is of two moments."""
        if value is None:
            return
        if path[0] == "balances" and self.stated.get(path, value) != value:
            why = "stand in one payload; an account has one, so give the answers of one moment"
            self.fault(".".join(path), f"{self.stated[path]} and {value}", why)
        self.stated[path] = value

    def whole_wallet(self, asset: str, amount: Decimal | None, **figures: tuple[str, Decimal | None]) -> None:
        """State a wallet that counts the margins of isolated positions in, which are taken out once all is read.

        ``figures``: by the venue's name, our name for what it reports of that same whole, and the value.
        """
        self.put("balances", asset, "wallet_balance", value=amount)
        named = self.with_pockets.setdefault(asset, set())
        for source, (figure, value) in figures.items():
            self.report(figure, value, source)
            named.add(figure)

    def own_funds(self, asset: str, amount: Decimal | None, bonus: Decimal | None) -> Decimal | None:
        """What of a wallet that counts bonus in is the account's own; states the bonus, which stands beside it.

        A bonus of more than the wallet has borne losses: it is what is left.
        """
        if amount is None or not bonus or bonus < 0:
            return amount
        left = max(Decimal(0), min(bonus, amount))
        self.put("balances", asset, "bonus_credit", value=left or None)
        return amount - left

    def profile(self, name: str, told_by: Literal["position", "borrowing", "account", "mode"] = "account") -> None:
        """Say which account mode this is of: a position may be of several, an account tells, a setting decides."""
        self.profiles.append((("position", "borrowing", "account", "mode").index(told_by), name))

    def derive(self, *path: str, value: Any, words: str) -> None:
        """Say what a field comes to where nothing states it."""
        if value is not None:
            self.derived.setdefault(path, (value, words))

    def add_up(self, *path: str, amount: Decimal, words: str) -> None:
        """Add to a field that several rows make up where nothing states it."""
        before, said = self.added.get(path, (Decimal(0), ""))
        self.added[path] = (before + amount, "; ".join(dict.fromkeys(filter(None, (said, words)))))

    def seen(self, time: Decimal | None) -> None:
        """A time in the payload; where it has no time of its own, the newest of these is its ``as_of``."""
        found = moment(time)
        if found is not None:
            self.times.append(found)

    def seen_text(self, time: str | None) -> None:
        """A time in the payload as ISO text with its zone; a text that is none is no time."""
        try:
            when = datetime.fromisoformat(time or "")
        except ValueError:
            return
        if when.tzinfo is not None:
            self.times.append(when.astimezone(UTC).isoformat().replace("+00:00", "Z"))

    def report(self, figure: str, value: Decimal | None, source: str) -> None:
        """Keep a figure of the venue under our name; None is not reported."""
        if value is not None:
            self.reported.append(Reported(figure=figure, value=value, field=source))

    def report_price(self, figure: str, price: Decimal | None, source: str) -> None:
        """Keep a threshold of the venue; None is that the venue prints none."""
        self.reported.append(Reported(figure=figure, value=price, field=source))

    def index_from(self, asset: str, value: Decimal | None, amount: Decimal | None, words: str) -> None:
        """The index price that a printed value means for this amount, where no index is printed."""
        if value and amount:
            price = divided(abs(value), abs(amount))
            self.derive("market", "index_price", asset, value=price, words=f"index_price of {asset}: {words}")

    def fault(self, path: str, value: object, why: str) -> None:
        """Note something that cannot be read."""
        self.faults.append(Fault(path, "" if value is None else str(value)[:60], why))

    def position(self, symbol: str, quantity: Decimal | None, side: str = "net", tag: str = "") -> Position:
        """Start a position; ``side`` is long or short in hedge mode, ``tag`` keeps two of one side apart."""
        key = symbol + ("" if side == "net" else f" {side}") + tag
        at = ("positions", key)
        if ("positions", key, "symbol") in self.stated:
            self.fault(f"positions.{key}", "", "stands twice in one payload; a venue keeps one, add them up")
        self.put(*at, "symbol", value=symbol)
        self.put(*at, "quantity", value=quantity)
        if side != "net":
            self.put(*at, "position_side", value=side)
        return Position(self, symbol, key, quantity)


@dataclass(slots=True)
class Position:
    """One position being read: its fields go to the account, its figures to what the venue reports."""

    parts: Parts
    symbol: str
    key: str
    quantity: Decimal | None

    def put(self, name: str, value: Any) -> None:
        """State a field of the position."""
        self.parts.put("positions", self.key, name, value=value)

    def derive(self, name: str, value: Any, words: str) -> None:
        """Say what a field of the position comes to where nothing states it."""
        self.parts.derive("positions", self.key, name, value=value, words=f"{name} of {self.key}: {words}")

    def isolated(self, margin: Decimal | None) -> None:
        """Make it a pocket of its own, with everything the pocket holds before unrealized PnL."""
        self.put("margin_mode", "isolated")
        self.put("isolated_margin", margin)

    def mark(self, price: Decimal | None) -> None:
        """State the mark price of the symbol; 0 is no price."""
        if price:
            self.parts.put("market", "mark_price", self.symbol, value=price)

    def mark_from(self, value: Decimal | None, size: Decimal | None, words: str) -> None:
        """The mark that a printed value means for this size, where no mark is printed."""
        if value and size:
            price = divided(abs(value), abs(size))
            self.parts.derive(
                "market", "mark_price", self.symbol, value=price, words=f"mark_price of {self.symbol}: {words}"
            )

    def mark_from_gain(self, entry: Decimal | None, gain: Decimal | None, size: Decimal | None = Decimal(1)) -> None:
        """The mark that entry and unrealized PnL mean for a linear contract of so many coins, where none is printed."""
        if entry and gain and self.quantity and size and "/USD:" not in self.symbol:
            price = entry + divided(gain, self.quantity * size)
            words = f"mark_price of {self.symbol}: entry price + unrealized PnL / size"
            if price > 0:
                self.parts.derive("market", "mark_price", self.symbol, value=price, words=words)
                if self.parts.derived["market", "mark_price", self.symbol][1] == words:
                    self._given("market", "mark_price", self.symbol, figure="unrealized_pnl")

    def _given(self, *path: str, figure: str) -> None:
        self.parts.given.setdefault(path, []).append(f"positions.{self.key}.{figure}")

    def rate_from(
        self,
        maintenance: Decimal | None,
        value: Decimal | None,
        *,
        initial: Decimal | None = None,
        figure: str = "maintenance_margin",
    ) -> None:
        """The maintenance rate that a printed requirement means, where the profile has no table of the contract.

        ``initial``: the margin to open, where that has a rate of the table too and no leverage. ``figure``: the name
        that the requirement is reported under.

        Only a rate of at most four decimals that gives the requirement to its last digit: any other is a bracket with
        a deduction, and its slope cannot be told from one point.
        """
        rates = {"maintenance_rate": _rate(maintenance, value)}
        if initial is not None:
            rates["initial_rate"] = _rate(initial, value)
        if all(rates.values()):
            bracket = {"notional_floor": "0", **{name: plain_figure(rate) for name, rate in rates.items() if rate}}
            words = f"brackets of {self.symbol}: margin / value"
            path = ("instruments", self.symbol, UNLISTED)
            self.parts.derive(*path, value=[bracket], words=words)
            self._given(*path, figure=figure)
            if initial is not None:
                self._given(*path, figure="initial_margin")

    def instrument(self, name: str, value: Any) -> None:
        """State what the payload says of the instrument's own rules."""
        self.parts.put("instruments", self.symbol, name, value=value)

    def derive_instrument(self, name: str, value: Any, words: str) -> None:
        """Say what an instrument's rule comes to where nothing states it, the profile neither."""
        self.parts.derive("instruments", self.symbol, name, value=value, words=f"{name} of {self.symbol}: {words}")

    def size_from(self, value: Decimal | None, mark: Decimal | None) -> None:
        """The coins in one linear contract that a printed value means, to the 4 digits that any contract has."""
        if value and mark and self.quantity and "/USD:" not in self.symbol:
            coins = divided(abs(value), abs(self.quantity) * mark)
            size = coins.quantize(Decimal(1).scaleb(coins.adjusted() - 3)).normalize()
            self.derive_instrument("contract_size", Decimal(plain_figure(size)), "value / (contracts x mark)")

    def one_rate(self, rate: Decimal | None) -> None:
        """The maintenance rate that the payload states for the size held; it counts where the profile has another."""
        if rate:
            bracket = {"notional_floor": "0", "maintenance_rate": plain_figure(rate)}
            self.derive_instrument("brackets", [bracket], "the one maintenance rate that the payload states")

    def max_leverage(self, most: Decimal | None) -> None:
        """The maximum leverage that the payload states, where it sets the maintenance rate."""
        if most:
            bracket = {"notional_floor": "0", "max_leverage": plain_figure(most)}
            self.derive_instrument("brackets", [bracket], "the maximum leverage that the payload states")

    def report(self, name: str, value: Decimal | None, source: str) -> None:
        """Keep a figure of the position."""
        self.parts.report(f"positions.{self.key}.{name}", value, source)

    def report_liquidation(self, row: Row, *names: str) -> None:
        """Keep the liquidation price, or that the venue prints none."""
        for name in names:
            told, price = row.price_or_never(name)
            if told:
                self.parts.report_price(f"positions.{self.key}.liquidation_price", price, name)
                return

    def report_pocket(self, name: str, value: Decimal | None, source: str) -> None:
        """Keep a figure of the position's own pocket."""
        self.parts.report(f"pools.{self.key} isolated.{name}", value, source)


UNLISTED = "brackets where the profile lists none"
"""A derived maintenance table that counts only for contracts without one."""


def _rate(margin: Decimal | None, value: Decimal | None) -> Decimal | None:
    """A plain rate of four decimals that gives a printed margin to its last digit; None where none does."""
    if not margin or not value:
        return None
    rate = divided(margin, abs(value)).quantize(Decimal("0.0001"))
    unit = Decimal(1).scaleb(max(int(margin.as_tuple().exponent), margin.adjusted() - 13))
    return rate if rate and abs(rate * abs(value) - margin) <= unit else None


class Row:
    """One table of a payload: gives its fields by name and remembers which were asked for."""

    __slots__ = ("parts", "path", "raw", "used")

    def __init__(self, raw: Mapping[str, Any], path: str, parts: Parts) -> None:
        self.raw = raw
        self.path = path
        self.parts = parts
        self.used: set[str] = set()

    def number(self, *names: str) -> Decimal | None:
        """The first of these fields that holds a number; None where none does."""
        for name in names:
            if name not in self.raw:
                continue
            self.used.add(name)
            try:
                value = printed_number(self.raw[name])
            except ValueError as error:
                self.parts.fault(f"{self.path}.{name}", self.raw[name], str(error))
                continue
            if value is not None:
                return value
        return None

    def need(self, *names: str) -> Decimal:
        """As :meth:`number`; a field that is missing is a fault, and 0 stands in until the faults are raised."""
        value = self.number(*names)
        if value is None:
            self.parts.fault(f"{self.path}.{names[0]}", None, "is missing or null; a figure cannot be guessed")
            return Decimal(0)
        return value

    def sold(self, *names: str) -> bool:
        """Whether the first of these fields that tells a side says short; that none does is a fault, never a long."""
        told = [(self.text(name) or "").lower() for name in names if name in self.raw]
        known = [side in ("short", "sell") for side in told if side in ("long", "short", "buy", "sell")]
        if not known:
            why = "tells no side, and the size has no sign: a position of unknown side is neither long nor short"
            self.parts.fault(f"{self.path}.{names[0]}", told[0] if told else None, why)
        return bool(known) and known[0]

    def text(self, *names: str) -> str | None:
        """The first of these fields that holds a text."""
        for name in names:
            self.used.add(name)
            value = self.raw.get(name)
            if isinstance(value, list | dict | bool | float):
                self.parts.fault(f"{self.path}.{name}", value, "must be a text")
            elif value not in (None, ""):
                return str(value)
        return None

    def need_text(self, *names: str) -> str:
        """As :meth:`text`; a field that is missing is a fault."""
        value = self.text(*names)
        if value is None:
            self.parts.fault(f"{self.path}.{names[0]}", None, "is missing")
        return value or ""

    def flag(self, name: str) -> bool | None:
        """A yes or no, written as true, "true", 1 or "1"."""
        self.used.add(name)
        value = self.raw.get(name)
        if value in (None, ""):
            return None
        known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(str(value).lower())
        if known is None:
            self.parts.fault(f"{self.path}.{name}", value, "must be true or false")
        return known

    def row(self, name: str) -> Row | None:
        """The table inside a field."""
        self.used.add(name)
        value = self.raw.get(name)
        return self.parts.row(value, f"{self.path}.{name}") if isinstance(value, Mapping) else None

    def rows(self, name: str) -> Iterator[Row]:
        """The tables inside a field that holds a list of them."""
        self.used.add(name)
        value = self.raw.get(name)
        if value is not None and not isinstance(value, list | tuple):
            self.parts.fault(f"{self.path}.{name}", value, "must be a list of tables")
            return
        for index, item in enumerate(value or ()):
            yield self.parts.row(item, f"{self.path}.{name}[{index}]")

    def symbol(self, style: str, *names: str) -> str | None:
        """The unified symbol of a contract; a name that cannot be translated is a fault with the reason."""
        name = self.need_text(*names)
        if self.parts.hint is not None:
            return self.parts.hint
        try:
            return unified(style, name)
        except ValueError as error:
            self.parts.fault(f"{self.path}.{names[0]}", name, str(error))
            return None

    def skip(self, *names: str) -> None:
        """Fields that are understood and say nothing of margin: ids, times, counters; several in one text."""
        for name in names:
            self.used.update(name.split())

    def skip_all(self) -> None:
        """A table that is understood and has nothing more for an account."""
        self.used.update(self.raw)

    def price_or_never(self, name: str) -> tuple[bool, Decimal | None]:
        """Whether a threshold is told, and the price; blank, 0, negative and a row of nines are "there is none"."""
        if name not in self.raw:
            return False, None
        value = self.number(name)
        if value is None or value <= 0 or _NINES.fullmatch(format(value, "f")):
            return True, None
        return True, value


def moment(milliseconds: Decimal | None) -> str | None:
    """A Unix time in seconds, milli-, micro- or nanoseconds as ISO text; 0 is none."""
    if not milliseconds or milliseconds <= 0:
        return None
    value = milliseconds
    while value >= 10**11:
        value = value / 1000
    when = datetime.fromtimestamp(float(value), tz=UTC)
    return when.replace(microsecond=when.microsecond // 1000 * 1000).isoformat().replace("+00:00", "Z")


class Shape(NamedTuple):
    """One kind of payload: the keys that tell it, and the reader.

    ``without``: keys that it never has, where another shape has all of its keys too. ``inside``: keys that every table
    of its first key's list has, where the key alone tells little. A list of tables is read table by table.
    """

    name: str
    keys: frozenset[str]
    read: Callable[[Row, Parts], None]
    without: frozenset[str] = frozenset()
    inside: frozenset[str] = frozenset()

    def fits(self, raw: Mapping[str, Any]) -> bool:
        """Whether a table has this shape."""
        return self.keys <= raw.keys() and not self.without & raw.keys() and (not self.inside or self._holds(raw))

    def _holds(self, raw: Mapping[str, Any]) -> bool:
        rows = next((raw[name] for name in self.keys), None)
        return isinstance(rows, list) and all(isinstance(row, Mapping) and self.inside <= row.keys() for row in rows)


def shape(name: str, keys: str, read: Callable[[Row, Parts], None], without: str = "", inside: str = "") -> Shape:
    """A shape from its keys in one text; with ``inside`` it has one key, that of the list."""
    return Shape(name, frozenset(keys.split()), read, frozenset(without.split()), frozenset(inside.split()))
