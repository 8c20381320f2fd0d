"""What can a fund move, and what does each unit of it do to every account?

Every way to act is a decision of 0 or more units, and each unit of it does the same: so many units of an asset leave or
reach a wallet, so many contracts open or close at a price. A plan runs through four stages: reduce and convert, send,
receive and convert, open. The account at a stage is the bookkeeping of :mod:`crossmargin.engine.changes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from crossmargin.engine import formulas
from crossmargin.engine.changes import Books, book, wallet
from crossmargin.model.account import Account, Balance, Position
from crossmargin.model.change import Close, Order, SetLeverage
from crossmargin.model.fund import Conversion, Fund, FundOrder, LeverageChoice, Pocket, Route
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.profile import Rules

Num = Any
REDUCED, SENT, RECEIVED, OPENED = 1, 2, 3, 4
"""The stages of a plan; nothing is in transit at the first and from the third on."""
_ZERO, _ONE = Decimal(0), Decimal(1)
_DIGITS = Decimal(1).scaleb(-18)
QUANTUM = Decimal(1).scaleb(-8)
"""The least unit in which an asset or a contract is moved unless the fund says otherwise."""
FAR = 10
"""An amount that nothing bounds ends at so many times all that is at stake; a plan that goes there has no end."""
FAR_TRADED = 200
"""The same for the value of what is traded: leverage makes a position many times what carries it."""


class Effect(NamedTuple):
    """What a unit of a decision adds to a wallet, or (``pocket``: its pool) to an isolated margin, from a stage on."""

    account: int
    asset: str
    stage: int
    amount: Decimal
    pocket: str | None = None


class Trade(NamedTuple):
    """A fill of the signed ``unit`` of contracts at ``price``; ``entry`` is that of the position it closes, or None."""

    account: int
    symbol: str
    position_side: Literal["net", "long", "short"]
    unit: Decimal
    price: Decimal
    fee_rate: Decimal
    leverage: Decimal | None
    entry: Decimal | None
    held: Decimal
    contract_size: Decimal
    pocket: str | None = None
    """The pool of the isolated position that it closes."""

    @property
    def stage(self) -> int:
        """When it is done: what closes first, what opens last."""
        return OPENED if self.entry is None else REDUCED

    def pnl(self, mark: Num) -> Num:
        """Unrealized PnL that a unit adds at a mark, in the settle asset."""
        inverse = parse_symbol(self.symbol).kind == "inverse"
        gain = formulas.inverse_pnl if inverse else formulas.linear_pnl
        return gain(self.unit * self.contract_size, self.price if self.entry is None else self.entry, mark)

    def notional(self, mark: Num) -> Num:
        """Value of a unit at a mark, in the settle asset."""
        inverse = parse_symbol(self.symbol).kind == "inverse"
        value = formulas.inverse_notional if inverse else formulas.linear_notional
        return value(self.unit * self.contract_size, mark)


class Setting(NamedTuple):
    """Another ``leverage`` for a contract; ``more`` is one more contract of it, at the leverage that it has now."""

    more: Trade
    leverage: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One way to act, in units of its own: contracts, or the asset sent or sold. Money in the fund's currency.

    A ``setting`` is done (1) or not (0).

    ``value``: what a unit is worth (its scale). ``cost``, ``freed``, ``collateral`` (capital put in), ``position``
    (value opened): a unit's share in each aim. ``fee``: what a use costs at all, in units of what arrives at
    ``fee_at``. ``most``: a bound that is no one's choice (a position, a step of impact).
    """

    words: str
    source: Route | Conversion | FundOrder | Pocket | LeverageChoice
    effects: tuple[Effect, ...] = ()
    trade: Trade | None = None
    setting: Setting | None = None
    value: Decimal
    cost: Decimal = _ZERO
    freed: Decimal = _ZERO
    collateral: Decimal = _ZERO
    position: Decimal = _ZERO
    fee: Decimal = _ZERO
    fee_at: Effect | None = None
    fee_cost: Decimal = _ZERO
    fee_freed: Decimal = _ZERO
    minimum: Decimal = _ZERO
    most: Decimal | None = None
    lot: Decimal | None = None
    quantum: Decimal = QUANTUM
    stage: int = RECEIVED

    @property
    def is_switched(self) -> bool:
        """Whether using it at all is a choice of its own: a fee for each use, a least amount."""
        return bool(self.fee or self.minimum)


class Limit(NamedTuple):
    """A bound on a sum of decisions, in units; ``least`` or ``most``. Named as a user would, None = no one's choice."""

    name: str | None
    decisions: tuple[int, ...]
    least: Decimal | None
    most: Decimal | None
    value: Decimal


class Carry(NamedTuple):
    """What a balance earns and a debt costs over the horizon, in the fund's currency for a unit."""

    account: int
    asset: str
    earned: Decimal
    owed: Decimal


@dataclass(slots=True)
class Problem:
    """A fund taken apart: its accounts, decisions, limits and carry."""

    fund: Fund
    books: list[Books]
    prices: dict[str, Decimal]
    decisions: list[Decision] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    carries: list[Carry] = field(default_factory=list)
    neutral: dict[str, dict[int, Decimal]] = field(default_factory=dict)
    """By coin whose amount must not change: the coins that a unit of each decision buys."""
    size: Decimal = _ONE
    """The money at stake, in the fund's currency: what figures are measured against."""
    lowering: dict[tuple[int, str, int], list[int]] = field(default_factory=dict)
    """By pool that lacks room now and stage: what takes from it then. A venue admits that only where room is left."""
    stepped: set[tuple[int, str]] = field(default_factory=set)
    """Contracts whose maintenance margin jumps with their size: it is given to the programme piece by piece."""

    def id(self, account: int) -> str:
        """The name of an account."""
        return self.books[account].account.id

    def most(self, j: int) -> Decimal:
        """The most units of a decision: its own bound, or far beyond all that is at stake."""
        decision = self.decisions[j]
        far = (FAR if decision.trade is None else FAR_TRADED) * self.size / decision.value
        return far if decision.most is None else min(far, decision.most)

    def assets(self, account: int) -> list[str]:
        """The assets that some decision moves in an account's wallets."""
        found = [e.asset for d in self.decisions for e in d.effects if e.account == account and e.pocket is None]
        return list(dict.fromkeys(found))

    def trades(self, account: int, symbol: str | None = None) -> list[tuple[int, Trade]]:
        """The trades in an account's shared pools, in one contract or in all, with the index of their decision."""
        found = [(j, d.trade) for j, d in enumerate(self.decisions) if d.trade is not None and d.trade.pocket is None]
        return [(j, t) for j, t in found if t.account == account and symbol in (None, t.symbol)]

    def closes(self, account: int) -> list[tuple[int, Trade]]:
        """The trades that close isolated positions of an account, with the index of their decision."""
        found = [(j, d.trade) for j, d in enumerate(self.decisions) if d.trade is not None]
        return [(j, t) for j, t in found if t.account == account and t.pocket is not None]

    def settings(self, account: int, symbol: str | None = None) -> list[tuple[int, Setting]]:
        """The leverages that may be set in an account, of one contract or of all, with the index of their decision."""
        found = [(j, d.setting) for j, d in enumerate(self.decisions) if d.setting is not None]
        return [(j, s) for j, s in found if s.more.account == account and symbol in (None, s.more.symbol)]

    def leverage(self, account: int, symbol: str, x: Sequence[Decimal]) -> Decimal | None:
        """The leverage that a plan sets for a contract; None where it sets none."""
        return next((s.leverage for j, s in self.settings(account, symbol) if x[j]), None)

    def both_ways(self) -> dict[tuple[int, str], dict[Decimal, list[int]]]:
        """The contracts, held by no one, that may be bought or sold to open: never both, by contract and way."""
        found: dict[tuple[int, str], dict[Decimal, list[int]]] = {}
        for j, decision in enumerate(self.decisions):
            trade = decision.trade
            if trade is not None and trade.entry is None and trade.position_side == "net":
                found.setdefault((trade.account, trade.symbol), {}).setdefault(trade.unit, []).append(j)
        return {contract: ways for contract, ways in found.items() if len(ways) == 2}

    def is_edged(self, trade: Trade) -> bool:
        """Whether a little more of the contract may be far worse: a jump, or a leverage that is no longer allowed."""
        own = (trade.account, trade.symbol)
        return own in self.stepped or bool(self.settings(*own))

    def sends(self, account: int, pool: str) -> list[int]:
        """The decisions that send an asset out of a pool; what has no room now may send only where it has some then."""
        rules = self.books[account].rules
        return [
            j
            for j, d in enumerate(self.decisions)
            if any(e.account == account and e.stage == SENT and pool_of(rules, e.asset) == pool for e in d.effects)
        ]

    def leaves(self, account: int, stage: int) -> bool:
        """Whether money may leave a pool of an account at a stage, so that its withdrawal rule has a say."""
        sends = any(e.account == account and e.stage == SENT for d in self.decisions for e in d.effects)
        pockets = [d for d in self.decisions if isinstance(d.source, Pocket)]
        moves = any(e.account == account for d in pockets for e in d.effects)
        return (sends and stage == SENT) or (moves and stage in (REDUCED, RECEIVED))

    def amounts(self, account: int, stage: int) -> dict[str, dict[int, Decimal]]:
        """By asset: what a unit of each decision has added to the wallet at a stage; by pocket: to its margin."""
        found: dict[str, dict[int, Decimal]] = {asset: {} for asset in self.assets(account)}
        for j, decision in enumerate(self.decisions):
            for effect in decision.effects:
                if effect.account == account and effect.stage <= stage:
                    own = found.setdefault(effect.pocket or effect.asset, {})
                    own[j] = own.get(j, _ZERO) + effect.amount
        return found

    def account_at(self, account: int, x: Sequence[Decimal], stage: int) -> Account:
        """The account after a stage, when ``x`` units of each decision are done; under the context of the judge."""
        books = self.books[account]
        for j, trade in (*self.trades(account), *self.closes(account)):
            if x[j] and trade.entry is not None:
                books = book(books, close(trade, x[j])).books
        for j, setting in self.settings(account):
            if x[j] and self.decisions[j].stage <= stage:
                books = with_leverage(books, setting)
        moved, pockets = self._moved(account, x, stage)
        after = books.account
        if pockets:
            after = after.model_copy(update={"positions": tuple(_with_margin(p, pockets) for p in after.positions)})
        balances = dict(after.balances)
        for asset, amount in moved.items():
            held = balances.get(asset, Balance())
            balances[asset] = held.model_copy(update={"wallet_balance": held.wallet_balance + amount})
        books = books._replace(account=after.model_copy(update={"balances": balances}))
        if stage >= OPENED:
            for j, trade in self.trades(account):
                if x[j] and trade.entry is None:
                    books = book(books, opening(trade, x[j], self.leverage(account, trade.symbol, x))).books
        return books.account

    def _moved(self, account: int, x: Sequence[Decimal], stage: int) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
        """What transfers and conversions have added to each wallet and to each pocket at a stage."""
        wallets: dict[str, Decimal] = dict.fromkeys(self.assets(account), _ZERO)
        pockets: dict[str, Decimal] = {}
        for j, decision in enumerate(self.decisions):
            if decision.trade is not None or not x[j]:
                continue
            once = () if decision.fee_at is None else ((decision.fee_at, _ONE),)
            for effect, units in (*((effect, x[j]) for effect in decision.effects), *once):
                if effect.account == account and effect.stage <= stage:
                    own, name = (wallets, effect.asset) if effect.pocket is None else (pockets, effect.pocket)
                    own[name] = own.get(name, _ZERO) + effect.amount * units
        return wallets, pockets


def pool_of(rules: Rules, asset: str) -> str:
    """The shared pool in which an asset counts."""
    return "account" if rules.slots.pooling.kind == "unified" else asset


def pocket_name(position: Position | Pocket) -> str:
    """The pool of an isolated position, as :func:`~crossmargin.engine.prepare.prepare` calls it."""
    side = "" if position.position_side == "net" else f" {position.position_side}"
    return f"{position.symbol}{side} isolated"


def _with_margin(position: Position, pockets: Mapping[str, Decimal]) -> Position:
    added = pockets.get(pocket_name(position)) if position.margin_mode == "isolated" else None
    if added is None:
        return position
    return position.model_copy(update={"isolated_margin": (position.isolated_margin or _ZERO) + added})


def close(trade: Trade, units: Decimal) -> Close:
    """The change that closes so many units."""
    return Close(
        symbol=trade.symbol,
        quantity=min(units.quantize(_DIGITS), trade.held),
        price=trade.price,
        fee_rate=trade.fee_rate,
        position_side=trade.position_side,
        margin_mode="cross" if trade.pocket is None else "isolated",
    )


def with_leverage(books: Books, setting: Setting) -> Books:
    """The books with a leverage set; where nothing is held yet the orders that open will bring it."""
    account, symbol = books.account, setting.more.symbol
    if symbol not in {*(p.symbol for p in account.positions), *(o.symbol for o in account.open_orders)}:
        return books
    return book(books, SetLeverage(symbol=symbol, leverage=setting.leverage)).books


def opening(trade: Trade, units: Decimal, leverage: Decimal | None) -> Order:
    """The change that opens so many units, at the leverage that is set or (None) at its own."""
    return Order(
        symbol=trade.symbol,
        quantity=(trade.unit * units).quantize(_DIGITS),
        price=trade.price,
        fee_rate=trade.fee_rate,
        leverage=trade.leverage if leverage is None else leverage,
        position_side=trade.position_side,
        margin_mode="cross",
    )


def own_wallet(problem: Problem, account: int, asset: str) -> Decimal:
    """What the wallet holds now."""
    return wallet(problem.books[account].account, asset)


def own_pocket(problem: Problem, account: int, pocket: str) -> Decimal:
    """The margin that an isolated position has now."""
    positions = problem.books[account].account.positions
    return next(
        (p.isolated_margin or _ZERO for p in positions if pocket_name(p) == pocket and p.isolated_margin), _ZERO
    )


def least_wallet(problem: Problem, account: int, asset: str) -> Decimal | None:
    """The least that the wallet may hold in a plan: what is locked, or a debt as far as one is allowed; None = any."""
    balance = problem.books[account].account.balances.get(asset, Balance())
    for borrow in problem.fund.borrows:
        if borrow.account == problem.id(account) and borrow.asset == asset:
            return None if borrow.maximum is None else min(balance.wallet_balance, _ZERO) - borrow.maximum
    return min(balance.wallet_balance, balance.locked)
