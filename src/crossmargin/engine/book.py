"""A book: many accounts as columns in compressed rows.

    account -> purse (the shared part, or the pocket of one isolated position)
            -> holding (one asset) -> positions and resting orders that settle in it

Offsets say where each row's children start and end, as in a nested Arrow list. What a venue lets stand or fall together
is the profile's matter: under a unified profile a purse is one pool, under one that keeps assets apart each holding is.
So the same book is judged under any profile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine.columns import Codes, Floats, Offsets, frozen
from crossmargin.errors import AccountError, Fault
from crossmargin.model.account import Account, Balance, OpenOrder, Position
from crossmargin.model.instrument import parse_symbol

_TYPES: dict[str, Any] = {
    "account": np.int64,
    "isolated": np.bool_,
    "open_orders": np.bool_,
    "holding_start": np.int64,
    "asset": np.int32,
    "amount": np.float64,
    "bonus_credit": np.float64,
    "use_as_collateral": np.bool_,
    "position_start": np.int64,
    "instrument": np.int32,
    "quantity": np.float64,
    "entry_price": np.float64,
    "leverage": np.float64,
    "order_start": np.int64,
    "order_instrument": np.int32,
    "order_quantity": np.float64,
    "order_price": np.float64,
    "order_leverage": np.float64,
    "order_reduce_only": np.bool_,
}
_ORDER = ("order_quantity", "order_price", "order_leverage", "order_reduce_only")


def _no_rows(dtype: Any) -> Callable[[], Any]:
    """What stands for a column that is left out: no rows."""
    return lambda: np.empty(0, dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Many accounts as columns; every array is read-only and of the type named in the module.

    Per purse: ``account`` (a place in ``account_ids``, or the number itself where those are None), ``isolated``,
    ``open_orders`` (whether the account has some that the book does not hold), ``holding_start`` (one more than
    purses).
    Per holding: ``asset`` (a place in ``assets``), ``amount`` in units of the asset (wallet balance less accrued
    interest, or the isolated margin), ``bonus_credit``, ``use_as_collateral``, ``position_start`` (one more than
    holdings). Per position: ``instrument`` (a place in ``instruments``), ``quantity`` in contracts (+ long, - short),
    ``entry_price``, ``leverage`` (NaN = unknown). The legs of one instrument stand next to each other.

    Resting orders hang on the holding that they settle in: ``order_start`` (one more than holdings); per order
    ``order_instrument``, ``order_quantity`` (+ buys, - sells), ``order_price``, ``order_leverage`` (NaN = that of a
    position in the instrument), ``order_reduce_only``. All of them may be left out: no orders.

    Raises :class:`AccountError` for columns that do not fit together; a single bad row is no error but gets a reason
    when it is judged.
    """

    instruments: tuple[str, ...]
    assets: tuple[str, ...]
    account_ids: Sequence[str] | None = None
    account: Offsets
    isolated: NDArray[np.bool_]
    open_orders: NDArray[np.bool_]
    holding_start: Offsets
    asset: Codes
    amount: Floats
    bonus_credit: Floats
    use_as_collateral: NDArray[np.bool_]
    position_start: Offsets
    instrument: Codes
    quantity: Floats
    entry_price: Floats
    leverage: Floats
    order_start: Offsets = field(default_factory=_no_rows(np.int64))
    order_instrument: Codes = field(default_factory=_no_rows(np.int32))
    order_quantity: Floats = field(default_factory=_no_rows(np.float64))
    order_price: Floats = field(default_factory=_no_rows(np.float64))
    order_leverage: Floats = field(default_factory=_no_rows(np.float64))
    order_reduce_only: NDArray[np.bool_] = field(default_factory=_no_rows(np.bool_))

    def __post_init__(self) -> None:
        faults: list[Fault] = []
        if not len(self.order_start) and not len(self.order_instrument):
            object.__setattr__(self, "order_start", np.zeros(len(self.position_start), np.int64))
        for name, dtype in _TYPES.items():
            array = np.asarray(getattr(self, name))
            if array.ndim != 1 or not np.can_cast(array.dtype, dtype, "same_kind"):
                faults.append(Fault(name, f"{array.dtype} {array.shape}", f"must be one column of {np.dtype(dtype)}"))
                continue
            object.__setattr__(self, name, frozen(array, dtype))
        if not faults:
            faults = list(self._misfits())
        if faults:
            raise AccountError("book", faults)

    def _misfits(self) -> Iterator[Fault]:
        sizes = {
            "holding_start": (("account", "isolated", "open_orders"), len(self.holding_start) - 1),
            "position_start": (("asset", "amount", "bonus_credit", "use_as_collateral"), len(self.position_start) - 1),
            "instrument": (("quantity", "entry_price", "leverage"), len(self.instrument)),
            "asset": (("order_start",), len(self.asset) + 1),
            "order_instrument": (_ORDER, len(self.order_instrument)),
        }
        for key, (names, size) in sizes.items():
            for name in names:
                if len(getattr(self, name)) != size:
                    yield Fault(name, str(len(getattr(self, name))), f"must have as many rows as {key} says: {size}")
        for name, children in (
            ("holding_start", self.asset),
            ("position_start", self.instrument),
            ("order_start", self.order_instrument),
        ):
            offsets = getattr(self, name)
            if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(children) or (np.diff(offsets) < 0).any():
                yield Fault(name, "", f"is ragged: must rise from 0 to the number of rows below it, {len(children)}")
        for name, names in (
            ("asset", self.assets),
            ("instrument", self.instruments),
            ("order_instrument", self.instruments),
        ):
            codes = getattr(self, name)
            if len(codes) and (codes.min() < -1 or codes.max() >= len(names)):
                yield Fault(
                    name,
                    f"{codes.min()}..{codes.max()}",
                    f"must be places in {name.removeprefix('order_')}s: 0..{len(names) - 1}, or -1 = null",
                )
        if self.account_ids is not None and len(self.account):
            low, high = self.account.min(), self.account.max()
            if low < 0 or high >= len(self.account_ids):
                yield Fault(
                    "account", f"{low}..{high}", f"must be places in account_ids: 0..{len(self.account_ids) - 1}"
                )

    @property
    def purses(self) -> int:
        """How many purses there are."""
        return len(self.account)

    @property
    def holdings(self) -> int:
        """How many holdings there are."""
        return len(self.asset)

    @property
    def positions(self) -> int:
        """How many positions there are."""
        return len(self.instrument)

    @property
    def orders(self) -> int:
        """How many resting orders there are."""
        return len(self.order_instrument)

    @property
    def nbytes(self) -> int:
        """The size of all columns in bytes."""
        return int(sum(getattr(self, name).nbytes for name in _TYPES))

    # nouns -------------------------------------------------------------------------------------------------------

    @classmethod
    def from_accounts(cls, accounts: Iterable[Account], *, as_of: datetime | None = None) -> Book:
        """The book of these accounts; numbers are rounded once to floats.

        ``as_of`` decides whether bonus credit that expires still counts; needed where one does. A reduce-only order
        holds no margin under any rule; one that settles where the account has nothing is left out.
        """
        columns = _Columns()
        for account in accounts:
            columns.add(account, as_of)
        return columns.book()

    def to_accounts(self, *, profile: str, rows: Iterable[int] | None = None) -> Iterator[Account]:
        """The accounts of the book, or those whose purses are among ``rows``, with every number as its shortest
        decimal.

        What :meth:`from_accounts` summed stays summed: ``wallet_balance`` is net of accrued interest.
        """
        wanted = range(self.purses) if rows is None else rows
        found: dict[int, list[int]] = {}
        for row in wanted:
            found.setdefault(int(self.account[row]), []).append(row)
        for number, purses in found.items():
            yield self._account(number, purses, profile)

    def _account(self, number: int, purses: Sequence[int], profile: str) -> Account:
        balances: dict[str, Balance] = {}
        positions: list[Position] = []
        orders: list[OpenOrder] = []
        for purse in purses:
            pocket = bool(self.isolated[purse])
            for holding in range(self.holding_start[purse], self.holding_start[purse + 1]):
                amount = decimal(self.amount[holding])
                if not pocket:
                    balances[self.assets[self.asset[holding]]] = Balance.model_construct(
                        wallet_balance=amount,
                        bonus_credit=decimal(self.bonus_credit[holding]),
                        use_as_collateral=bool(self.use_as_collateral[holding]),
                    )
                rows = range(self.position_start[holding], self.position_start[holding + 1])
                positions += self._positions(rows, amount if pocket else None)
                orders += self._orders(range(self.order_start[holding], self.order_start[holding + 1]))
        name = str(number) if self.account_ids is None else str(self.account_ids[number])
        return Account.model_construct(
            id=name, profile=profile, balances=balances, positions=tuple(positions), open_orders=tuple(orders)
        )

    def _orders(self, rows: range) -> Iterator[OpenOrder]:
        for row in rows:
            leverage = self.order_leverage[row]
            yield OpenOrder.model_construct(
                symbol=self.instruments[self.order_instrument[row]],
                quantity=decimal(self.order_quantity[row]),
                price=decimal(self.order_price[row]),
                reduce_only=bool(self.order_reduce_only[row]),
                leverage=None if np.isnan(leverage) else decimal(leverage),
            )

    def _positions(self, rows: range, margin: Decimal | None) -> Iterator[Position]:
        for row in rows:
            code, leverage = self.instrument[row], self.leverage[row]
            two = (row > rows.start and self.instrument[row - 1] == code) or (
                row + 1 < rows.stop and self.instrument[row + 1] == code
            )
            yield Position.model_construct(
                symbol=self.instruments[code],
                quantity=decimal(self.quantity[row]),
                entry_price=decimal(self.entry_price[row]),
                leverage=None if np.isnan(leverage) else decimal(leverage),
                margin_mode="cross" if margin is None else "isolated",
                isolated_margin=margin,
                position_side="net" if not two else ("long" if self.quantity[row] > 0 else "short"),
            )

    # parts -------------------------------------------------------------------------------------------------------

    def take(self, rows: Iterable[int] | NDArray[np.int64] | slice) -> Book:
        """The book of some purses, in this order: a shard, or the rows somebody asks about."""
        purses = np.arange(self.purses)[rows if isinstance(rows, slice) else np.fromiter(rows, np.int64)]
        holdings, holding_start = _children(self.holding_start, purses)
        positions, position_start = _children(self.position_start, holdings)
        orders, order_start = _children(self.order_start, holdings)
        columns = {"holding_start": holding_start, "position_start": position_start, "order_start": order_start}
        for name in _TYPES:
            if name in ("account", "isolated", "open_orders"):
                columns[name] = getattr(self, name)[purses]
            elif name in ("asset", "amount", "bonus_credit", "use_as_collateral"):
                columns[name] = getattr(self, name)[holdings]
            elif name.startswith("order_") and name not in columns:
                columns[name] = getattr(self, name)[orders]
            elif name not in columns:
                columns[name] = getattr(self, name)[positions]
        return self.with_columns(columns)

    def without_orders(self) -> Book:
        """The same book with its orders marked instead of held: what depends on them is then unknown.

        For questions that do not follow what orders hold as prices move.
        """
        if not self.orders:
            return self
        held = np.add.reduceat(np.append(~self.order_reduce_only, False), self.order_start[:-1])
        held = (held > 0) & (np.diff(self.order_start) > 0)
        counts = np.concatenate([[0], np.cumsum(held)])
        marked = counts[self.holding_start[1:]] > counts[self.holding_start[:-1]]
        none = {name: np.empty(0, _TYPES[name]) for name in ("order_start", "order_instrument", *_ORDER)}
        return self.with_columns({"open_orders": self.open_orders | marked, **none})

    def with_columns(self, columns: Mapping[str, NDArray[Any]]) -> Book:
        """The same names of accounts, instruments and assets over other columns, by the names of the fields.

        Raises :class:`AccountError` where they do not fit the rest.
        """
        given: dict[str, Any] = dict(columns)
        return replace(self, **given)

    def equals(self, other: Book) -> bool:
        """Whether two books have the same rows under the same names, bit for bit; unknown equals unknown."""
        same_ids = (self.account_ids is None) == (other.account_ids is None) and (
            self.account_ids is None or other.account_ids is None or list(self.account_ids) == list(other.account_ids)
        )
        return (
            same_ids
            and self.instruments == other.instruments
            and self.assets == other.assets
            and all(np.array_equal(getattr(self, n), getattr(other, n), equal_nan=n in _FLOATS) for n in _TYPES)
        )


_FLOATS = {name for name, dtype in _TYPES.items() if dtype is np.float64}
assert set(_TYPES) < {field.name for field in fields(Book)}


def decimal(value: float) -> Decimal:
    """The shortest decimal that a float stands for: 0.1 is 0.1."""
    return Decimal(repr(float(value)))


def _children(start: Offsets, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Offsets]:
    """The rows below some rows, in order, and their new offsets."""
    counts = start[rows + 1] - start[rows]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts) + np.repeat(start[rows], counts)
    return places, offsets


class _Holding(NamedTuple):
    asset: int
    amount: float
    bonus: float
    use: bool
    positions: list[tuple[int, float, float, float]]
    orders: list[tuple[int, float, float, float, bool]]


class _Columns:
    """The columns of a book as accounts are added."""

    def __init__(self) -> None:
        self.instruments: dict[str, int] = {}
        self.assets: dict[str, int] = {}
        self.ids: list[str] = []
        self.purses: list[tuple[int, bool, list[_Holding]]] = []

    def add(self, account: Account, as_of: datetime | None) -> None:
        if account.pockets:
            why = "a book holds no pockets of borrowed coins; judge this account by itself"
            raise AccountError(f"account {account.id}", (Fault("pockets", account.pockets[0].symbol, why),))
        number = len(self.ids)
        self.ids.append(account.id)
        shared: dict[str, _Holding] = {}
        for name, balance in account.balances.items():
            shared[name] = self._holding(account, name, balance, as_of)
        ordered: dict[str, list[Position]] = {}
        for position in account.positions:
            if position.margin_mode == "cross":
                ordered.setdefault(position.symbol, []).append(position)
        for symbol, legs in ordered.items():
            settle = parse_symbol(symbol).settle
            if settle not in shared:
                shared[settle] = self._holding(account, settle, Balance(), as_of)
            shared[settle].positions.extend(self._row(leg) for leg in legs)
        for order in account.open_orders:
            settle = parse_symbol(order.symbol).settle
            if settle not in shared and not order.reduce_only:
                shared[settle] = self._holding(account, settle, Balance(), as_of)
            if settle in shared:
                leverage = np.nan if order.leverage is None else float(order.leverage)
                code, quantity = self._code(self.instruments, order.symbol), float(order.quantity)
                shared[settle].orders.append((code, quantity, float(order.price), leverage, order.reduce_only))
        if shared:
            self.purses.append((number, False, list(shared.values())))
        for position in account.positions:
            if position.margin_mode == "isolated":
                own = self._code(self.assets, parse_symbol(position.symbol).settle)
                margin = float(position.isolated_margin or 0)
                self.purses.append((number, True, [_Holding(own, margin, 0.0, True, [self._row(position)], [])]))

    def _holding(self, account: Account, name: str, balance: Balance, as_of: datetime | None) -> _Holding:
        if balance.bonus_expires is not None and as_of is None:
            why = "expires, so the book needs as_of to say whether it still counts"
            raise AccountError(f"account {account.id}", (Fault(f"balances.{name}.bonus_credit", "", why),))
        lent = as_of is None or not balance.expired(as_of)
        return _Holding(
            asset=self._code(self.assets, name),
            amount=float(balance.wallet_balance - balance.accrued_interest),
            bonus=float(balance.bonus_credit) if lent else 0.0,
            use=balance.use_as_collateral,
            positions=[],
            orders=[],
        )

    def _row(self, position: Position) -> tuple[int, float, float, float]:
        leverage = np.nan if position.leverage is None else float(position.leverage)
        code = self._code(self.instruments, position.symbol)
        return code, float(position.quantity), float(position.entry_price), leverage

    def _code(self, names: dict[str, int], name: str) -> int:
        return names.setdefault(name, len(names))

    def book(self) -> Book:
        holdings = [holding for _, _, own in self.purses for holding in own]
        positions = [row for holding in holdings for row in holding.positions]
        table = np.array(positions, dtype=np.float64).reshape(-1, 4)
        resting = np.array([row for holding in holdings for row in holding.orders], np.float64).reshape(-1, 5)
        return Book(
            instruments=tuple(self.instruments),
            assets=tuple(self.assets),
            account_ids=tuple(self.ids),
            account=np.array([number for number, _, _ in self.purses], np.int64),
            isolated=np.array([isolated for _, isolated, _ in self.purses], np.bool_),
            open_orders=np.zeros(len(self.purses), np.bool_),
            holding_start=np.cumsum([0, *(len(own) for _, _, own in self.purses)], dtype=np.int64),
            asset=np.array([holding.asset for holding in holdings], np.int32),
            amount=np.array([holding.amount for holding in holdings], np.float64),
            bonus_credit=np.array([holding.bonus for holding in holdings], np.float64),
            use_as_collateral=np.array([holding.use for holding in holdings], np.bool_),
            position_start=np.cumsum([0, *(len(holding.positions) for holding in holdings)], dtype=np.int64),
            instrument=table[:, 0].astype(np.int32),
            quantity=table[:, 1],
            entry_price=table[:, 2],
            leverage=table[:, 3],
            order_start=np.cumsum([0, *(len(holding.orders) for holding in holdings)], dtype=np.int64),
            order_instrument=resting[:, 0].astype(np.int32),
            order_quantity=resting[:, 1],
            order_price=resting[:, 2],
            order_leverage=resting[:, 3],
            order_reduce_only=resting[:, 4].astype(np.bool_),
        )
