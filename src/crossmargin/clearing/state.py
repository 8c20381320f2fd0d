"""The state of the books: what is derived from events, and :func:`evolve`, the one way it changes.

Plain dictionaries and slotted objects. Balances stand in the ledger and nowhere else; a position's isolated margin is
its pocket in the ledger. ``holders`` is the one index kept beside what it is derived from; the audit compares them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from crossmargin.clearing import events
from crossmargin.clearing.commands import Start
from crossmargin.clearing.events import Event, stamp, text
from crossmargin.clearing.ledger import BONUS, WALLET, Ledger
from crossmargin.model.account import Account, Balance, OpenOrder, Position
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.noun import made
from crossmargin.model.profile import Rules

_ZERO = Decimal(0)
_RULES: TypeAdapter[Rules] = TypeAdapter(Rules)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Key = tuple[str, str]
"""(symbol, position side): an account has at most one position there."""


class Price(NamedTuple):
    """A mark with the last price, or an index with bid and ask, and their time; None where a venue quotes none."""

    price: Decimal
    at: datetime
    bid_rate: Decimal | None = None
    ask_rate: Decimal | None = None
    last_price: Decimal | None = None


class Episode(NamedTuple):
    """Where a liquidation stands: the place in the programme, and when it may go on."""

    at: int
    wait_until: datetime


class Sent(NamedTuple):
    """A transfer that has left for another partition and is not closed."""

    account: str
    asset: str
    amount: Decimal


@dataclass(slots=True)
class AccountState:
    """One account but for its money."""

    id: str
    profile: str
    positions: dict[Key, Position] = field(default_factory=dict)
    orders: dict[str, OpenOrder] = field(default_factory=dict)
    leverage: dict[str, Decimal] = field(default_factory=dict)
    isolated: set[Key] = field(default_factory=set)
    levels: dict[str, str] = field(default_factory=dict)
    episodes: dict[str, Episode] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """The books after some record. :func:`evolve` changes it, nothing else does."""

    settings: Start | None = None
    now: datetime = EPOCH
    halted: bool = False
    liquidate_from: datetime = EPOCH
    rules: dict[str, Rules] = field(default_factory=dict)
    accounts: dict[str, AccountState] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    marks: dict[str, Price] = field(default_factory=dict)
    indexes: dict[str, Price] = field(default_factory=dict)
    funded: dict[str, datetime] = field(default_factory=dict)
    accrued: dict[str, datetime] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    holders: dict[str, set[str]] = field(default_factory=dict)
    rules_text: dict[str, Any] = field(default_factory=dict)
    """The rules as the event brought them, to be written again without turning them round."""
    max_age: timedelta = timedelta(0)
    max_step: timedelta = timedelta(0)

    @property
    def venue(self) -> Start:
        """The settings, once the books are started."""
        assert self.settings is not None  # every command but start is refused before it
        return self.settings

    def quantum(self, asset: str) -> Decimal:
        """The smallest amount of an asset that an account is booked in."""
        return self.venue.quantum.get(asset, self.venue.default_quantum)

    def fresh(self, price: Price | None) -> bool:
        """Whether a price may decide anything now."""
        return price is not None and self.now - price.at <= self.max_age


def pocket(symbol: str, side: str) -> str:
    """The ledger's place of the margin of an isolated position.

    >>> pocket("BTC/USDT:USDT", "net")
    'BTC/USDT:USDT net'
    """
    return f"{symbol} {side}"


def pool_of(rules: Rules, symbol: str, side: str, *, isolated: bool) -> str:
    """The name that the judge gives the pool a position belongs to."""
    if isolated:
        return f"{symbol}{'' if side == 'net' else ' ' + side} isolated"
    return "account" if rules.slots.pooling.kind == "unified" else parse_symbol(symbol).settle


# what the judge sees --------------------------------------------------------------------------------------------------


def as_account(state: State, own: AccountState, *, every_order: bool = False) -> Account:
    """The account as the judge takes it; orders of pockets are not the shared pool's and come only on request."""
    wallets: dict[str, dict[str, Any]] = {}
    ledger = state.ledger.of(own.id)
    for (place, asset), amount in ledger.items():
        if place in _FIELDS:
            wallets.setdefault(asset, {})[_FIELDS[place]] = amount
    positions = []
    for key in sorted(own.positions):
        held = own.positions[key]
        if held.margin_mode == "isolated":
            margin = ledger.get((pocket(*key), parse_symbol(held.symbol).settle), _ZERO)
            held = held.model_copy(update={"isolated_margin": margin})
        positions.append(held)
    resting = (own.orders[order_id] for order_id in sorted(own.orders))
    orders = tuple(one for one in resting if every_order or (one.symbol, one.position_side) not in own.isolated)
    return Account.model_construct(
        id=own.id,
        profile=own.profile,
        balances={asset: Balance.model_construct(**wallets[asset]) for asset in sorted(wallets)},
        positions=tuple(positions),
        open_orders=orders,
    )


def symbols_of(account: Account) -> set[str]:
    """The contracts that an account holds or has orders in."""
    return {one.symbol for one in account.positions} | {one.symbol for one in account.open_orders}


_FIELDS = {WALLET: "wallet_balance", BONUS: "bonus_credit"}


def as_market(state: State, account: Account) -> Market:
    """The prices that the books know and an account may need."""
    symbols = symbols_of(account)
    assets = {*account.balances, *(parse_symbol(symbol).settle for symbol in symbols)}
    quotes = {asset: state.indexes[asset] for asset in assets if asset in state.indexes}
    return Market.model_construct(
        as_of=state.now,
        mark_price={symbol: state.marks[symbol].price for symbol in symbols if symbol in state.marks},
        last_price={s: last for s in symbols if s in state.marks and (last := state.marks[s].last_price) is not None},
        funding_rate={},
        funding_interval={},
        index_price={asset: quote.price for asset, quote in quotes.items()},
        bid_rate={asset: quote.bid_rate for asset, quote in quotes.items() if quote.bid_rate is not None},
        ask_rate={asset: quote.ask_rate for asset, quote in quotes.items() if quote.ask_rate is not None},
    )


# evolving -------------------------------------------------------------------------------------------------------------


def evolve(state: State, event: Event) -> None:
    """Fold one event into the state."""
    _EVOLVE[event["event"]](state, event)


def tick(state: State, at: str | datetime) -> None:
    """The time of a record: the clock of the books never goes back."""
    when = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    state.now = max(state.now, when)


def _started(state: State, event: Event) -> None:
    _set(state, Start.model_validate(event["settings"]))


def _set(state: State, settings: Start) -> None:
    state.settings = settings
    state.max_age = timedelta(seconds=float(settings.max_age_seconds))
    state.max_step = timedelta(seconds=float(settings.max_step_seconds))


def _rules_changed(state: State, event: Event) -> None:
    state.rules[event["profile"]] = rules_of_json(event["rules"])
    state.rules_text[event["profile"]] = event["rules"]


def _account_opened(state: State, event: Event) -> None:
    state.accounts[event["account"]] = AccountState(event["account"], event["profile"])


def _posted(state: State, event: Event) -> None:
    state.ledger.post([(owner, place, asset, Decimal(amount)) for owner, place, asset, amount in event["entries"]])


def _position(state: State, event: Event) -> None:
    account, symbol = event["account"], event["symbol"]
    own = state.accounts[account]
    key = (symbol, event["position_side"])
    if event["quantity"] == "0":
        own.positions.pop(key, None)
        if all(other != symbol for other, _ in own.positions):
            state.holders.get(symbol, set()).discard(account)
        return
    leverage = event["leverage"]
    own.positions[key] = made(
        Position,
        symbol=symbol,
        quantity=Decimal(event["quantity"]),
        entry_price=Decimal(event["entry_price"]),
        leverage=None if leverage is None else Decimal(leverage),
        margin_mode=event["margin_mode"],
        isolated_margin=None,
        position_side=event["position_side"],
    )
    state.holders.setdefault(symbol, set()).add(account)


def _order_resting(state: State, event: Event) -> None:
    leverage = event["leverage"]
    state.accounts[event["account"]].orders[event["order_id"]] = made(
        OpenOrder,
        symbol=event["symbol"],
        quantity=Decimal(event["quantity"]),
        price=Decimal(event["price"]),
        reduce_only=event["reduce_only"],
        position_side=event["position_side"],
        leverage=None if leverage is None else Decimal(leverage),
    )


def _order_gone(state: State, event: Event) -> None:
    del state.accounts[event["account"]].orders[event["order_id"]]


def _leverage(state: State, event: Event) -> None:
    state.accounts[event["account"]].leverage[event["symbol"]] = Decimal(event["leverage"])


def _margin_mode(state: State, event: Event) -> None:
    isolated = state.accounts[event["account"]].isolated
    key = (event["symbol"], event["position_side"])
    if event["margin_mode"] == "isolated":
        isolated.add(key)
    else:
        isolated.discard(key)


def _mark(state: State, event: Event) -> None:
    last = event["last_price"]
    state.marks[event["symbol"]] = Price(
        Decimal(event["price"]),
        datetime.fromisoformat(event["at"]),
        last_price=None if last is None else Decimal(last),
    )


def _index(state: State, event: Event) -> None:
    bid, ask = event["bid_rate"], event["ask_rate"]
    state.indexes[event["asset"]] = Price(
        Decimal(event["price"]),
        datetime.fromisoformat(event["at"]),
        None if bid is None else Decimal(bid),
        None if ask is None else Decimal(ask),
    )


def _funding_settled(state: State, event: Event) -> None:
    state.funded[event["symbol"]] = datetime.fromisoformat(event["interval_end"])


def _interest_accrued(state: State, event: Event) -> None:
    state.accrued[event["asset"]] = datetime.fromisoformat(event["interval_end"])


def _level(state: State, event: Event) -> None:
    own = state.accounts[event["account"]]
    if event["level"] is None:
        own.levels.pop(event["pool"], None)
        own.episodes.pop(event["pool"], None)
    else:
        own.levels[event["pool"]] = event["level"]


def _liquidation(state: State, event: Event) -> None:
    episode = Episode(event["at"], datetime.fromisoformat(event["wait_until"]))
    state.accounts[event["account"]].episodes[event["pool"]] = episode


def _sent(state: State, event: Event) -> None:
    state.sent[event["transfer_id"]] = Sent(event["account"], event["asset"], Decimal(event["amount"]))


def _transfer_closed(state: State, event: Event) -> None:
    del state.sent[event["transfer_id"]]


def _halted(state: State, _event: Event) -> None:
    state.halted = True


def _resumed(state: State, event: Event) -> None:
    state.halted = False
    state.liquidate_from = datetime.fromisoformat(event["liquidate_from"])


def _rejected(_state: State, _event: Event) -> None:
    """A refusal changes nothing."""


_EVOLVE: dict[str, Callable[[State, Event], None]] = {
    "started": _started,
    "rules_changed": _rules_changed,
    "account_opened": _account_opened,
    "posted": _posted,
    "position": _position,
    "order_resting": _order_resting,
    "order_gone": _order_gone,
    "leverage": _leverage,
    "margin_mode": _margin_mode,
    "mark": _mark,
    "index": _index,
    "funding_settled": _funding_settled,
    "interest_accrued": _interest_accrued,
    "level": _level,
    "liquidation": _liquidation,
    "sent": _sent,
    "transfer_closed": _transfer_closed,
    "halted": _halted,
    "resumed": _resumed,
    "rejected": _rejected,
}


def rules_as_json(rules: Rules) -> Any:
    """Rules whole, as JSON has them, the same text for the same rules; :func:`evolve` reads them back.

    Only what they state: a key that a later version knows besides does not change what was written before it.
    """
    return _as_json(_RULES.dump_python(rules, exclude_unset=True))


def rules_of_json(raw: Any) -> Rules:
    """Rules from the JSON of :func:`rules_as_json`."""
    return _RULES.validate_python(raw)


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Decimal):
        return text(value)
    if isinstance(value, datetime):
        return stamp(value)
    return value.isoformat() if isinstance(value, date) else value


# one text, one hash ---------------------------------------------------------------------------------------------------


def dump(state: State) -> str:
    """The whole state as its one JSON text: the same books, the same bytes, whatever order they were made in."""
    body: dict[str, Any] = {
        "settings": None if state.settings is None else settings_as_json(state.settings),
        "now": stamp(state.now),
        "halted": state.halted,
        "liquidate_from": stamp(state.liquidate_from),
        "rules": state.rules_text,
        "accounts": [_dump_account(state.accounts[name]) for name in sorted(state.accounts)],
        "ledger": [
            [owner, place, asset, text(amount)]
            for owner in sorted(state.ledger.owners)
            for (place, asset), amount in sorted(state.ledger.owners[owner].items())
        ],
        "marks": {name: _dump_price(price) for name, price in state.marks.items()},
        "indexes": {name: _dump_price(price) for name, price in state.indexes.items()},
        "funded": {name: stamp(when) for name, when in state.funded.items()},
        "accrued": {name: stamp(when) for name, when in state.accrued.items()},
    }
    if state.sent:  # left out where there is none, as in every snapshot from before there were partitions
        body["sent"] = {name: [one.account, one.asset, text(one.amount)] for name, one in state.sent.items()}
    return json.dumps(body, sort_keys=True, separators=(",", ":"), check_circular=False)


def state_hash(state: State) -> str:
    """The SHA-256 of :func:`dump`."""
    return text_hash(dump(state))


def text_hash(body: str) -> str:
    """The SHA-256 of a text."""
    return hashlib.sha256(body.encode()).hexdigest()


def settings_as_json(settings: Start) -> dict[str, Any]:
    """The settings as JSON has them; ``partition`` only where these books are one."""
    found: dict[str, Any] = _as_json(settings.model_dump(exclude_none=True))
    return found


def _dump_price(price: Price) -> list[str | None]:
    return [
        text(price.price),
        stamp(price.at),
        *(None if rate is None else text(rate) for rate in (price.bid_rate, price.ask_rate, price.last_price)),
    ]


def _dump_account(own: AccountState) -> dict[str, Any]:
    return {
        "id": own.id,
        "profile": own.profile,
        "positions": [events.position(own.id, own.positions[key]) for key in sorted(own.positions)],
        "orders": [events.resting(own.id, order_id, own.orders[order_id]) for order_id in sorted(own.orders)],
        "leverage": {symbol: text(value) for symbol, value in own.leverage.items()},
        "isolated": sorted(list(key) for key in own.isolated),
        "levels": own.levels,
        "episodes": {pool: [one.at, stamp(one.wait_until)] for pool, one in own.episodes.items()},
    }


def load(body: str) -> State:
    """The state of a :func:`dump`."""
    raw = json.loads(body)
    state = State(
        now=datetime.fromisoformat(raw["now"]),
        halted=raw["halted"],
        liquidate_from=datetime.fromisoformat(raw["liquidate_from"]),
        rules={name: rules_of_json(rules) for name, rules in raw["rules"].items()},
        rules_text=raw["rules"],
        marks={name: _load_price(price) for name, price in raw["marks"].items()},
        indexes={name: _load_price(price) for name, price in raw["indexes"].items()},
        funded={name: datetime.fromisoformat(when) for name, when in raw["funded"].items()},
        accrued={name: datetime.fromisoformat(when) for name, when in raw["accrued"].items()},
        sent={
            name: Sent(account, asset, Decimal(amount))
            for name, (account, asset, amount) in raw.get("sent", {}).items()
        },
    )
    if raw["settings"] is not None:
        _set(state, Start.model_validate(raw["settings"]))
    for owner, place, asset, amount in raw["ledger"]:
        state.ledger.owners.setdefault(owner, {})[place, asset] = Decimal(amount)
    for one in raw["accounts"]:
        own = AccountState(one["id"], one["profile"])
        state.accounts[own.id] = own
        for event in (*one["positions"], *one["orders"]):
            evolve(state, event)
        own.leverage = {symbol: Decimal(value) for symbol, value in one["leverage"].items()}
        own.isolated = {(symbol, side) for symbol, side in one["isolated"]}
        own.levels = one["levels"]
        own.episodes = {pool: Episode(at, datetime.fromisoformat(w)) for pool, (at, w) in one["episodes"].items()}
    return state


def _load_price(raw: list[str | None]) -> Price:
    price, at, *rates = raw
    assert price is not None and at is not None
    return Price(
        Decimal(price), datetime.fromisoformat(at), *(None if rate is None else Decimal(rate) for rate in rates)
    )
