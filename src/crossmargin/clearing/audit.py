"""What must always hold in the books, as checks that anybody can run: after every command in tests, on demand here.

Each :class:`Finding` names the rule it breaks:

* ``conservation``: every asset adds up to zero over all accounts, the venue and the outside;
* ``quanta``: no account holds a part of a quantum;
* ``round trip``: the state is the same after it is written and read;
* ``once``: no interval is settled that has not ended;
* ``index``: who holds a contract is what the positions say; a pocket exists only where its symbol is isolated;
* ``reduce only``: reduce-only orders never exceed their position;
* ``verdict``: a pool with fresh prices has exactly the level that the exact judge gives it, none too early, none
  missed;
* ``admitted``: what was just accepted, and is not a reduction, leaves its account above every line;
* ``rounding``: what a command leaves below the quantum is a few quanta an account, never a fee or a PnL;
* ``standing``: no step of a liquidation is taken on a pool that has headroom;
* ``flat pays nothing``: no account without a position bears the loss of another;
* ``replay``: the journal's commands give the journal's events, and its snapshots are what the replay comes to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext

from crossmargin.clearing.commands import (
    AnyCommand,
    ChangeRules,
    PlaceOrder,
    Send,
    SetMarginMode,
    Transfer,
    Withdraw,
    canonical,
    read,
)
from crossmargin.clearing.decide import apply
from crossmargin.clearing.desk import check
from crossmargin.clearing.events import Event, text
from crossmargin.clearing.journal import GENESIS, Journal, Record, Snapshot
from crossmargin.clearing.ledger import BONUS, VENUE, WALLET
from crossmargin.clearing.state import (
    AccountState,
    State,
    as_account,
    dump,
    load,
    pocket,
    pool_of,
    rules_of_json,
    state_hash,
)
from crossmargin.clearing.watch import Watch, judged, level_of, needed, stale
from crossmargin.engine.rooms import tightest
from crossmargin.errors import CrossmarginError
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.number import CONTEXT

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that must not be: the rule it breaks, where, and what was found."""

    rule: str
    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A journal gone through from its first record: how far it is right, and what is wrong."""

    records: int
    chain: str
    state_hash: str
    findings: tuple[Finding, ...]


def audit(state: State, *, written: bool = True) -> tuple[Finding, ...]:
    """Everything that must hold of a state, whatever led to it; ``written=False`` leaves the round trip out."""
    with localcontext(CONTEXT):
        found = [*_conservation(state), *_structure(state), *_verdicts(state)]
    if written and dump(load(dump(state))) != dump(state):
        found.append(Finding(rule="round trip", where="state", what="is another after it is written and read"))
    return tuple(found)


def _conservation(state: State) -> Iterator[Finding]:
    for asset, total in state.ledger.totals().items():
        yield Finding(rule="conservation", where=asset, what=f"adds up to {text(total)}")
    for own in state.accounts.values():
        for (place, asset), amount in state.ledger.of(own.id).items():
            if amount % state.quantum(asset):
                yield Finding(rule="quanta", where=f"{own.id} {place}", what=f"{text(amount)} {asset}")


def _structure(state: State) -> Iterator[Finding]:
    for name, when in (*state.funded.items(), *state.accrued.items()):
        if when > state.now:
            yield Finding(rule="once", where=name, what=f"is settled up to {when}, it is {state.now}")
    derived: dict[str, set[str]] = {}
    for own in state.accounts.values():
        for symbol, _ in own.positions:
            derived.setdefault(symbol, set()).add(own.id)
        yield from _account(state, own)
    for symbol in sorted({*derived, *state.holders}):
        if derived.get(symbol, set()) != state.holders.get(symbol, set()):
            yield Finding(rule="index", where=symbol, what="holders are not those who hold it")


def _account(state: State, own: AccountState) -> Iterator[Finding]:
    pockets = {(pocket(*key), parse_symbol(key[0]).settle) for key in own.isolated}
    for place, asset in state.ledger.of(own.id):
        if place not in (WALLET, BONUS) and (place, asset) not in pockets:
            yield Finding(rule="index", where=f"{own.id} {place}", what="is a pocket of nothing isolated")
    for key, held in own.positions.items():
        if (held.margin_mode == "isolated") != (key in own.isolated):
            yield Finding(rule="index", where=f"{own.id} {key[0]}", what=f"is {held.margin_mode}")
        reducing = [o for o in own.orders.values() if o.reduce_only and (o.symbol, o.position_side) == key]
        if sum((abs(order.quantity) for order in reducing), _ZERO) > abs(held.quantity):
            yield Finding(rule="reduce only", where=f"{own.id} {key[0]}", what="orders exceed the position")


def _verdicts(state: State) -> Iterator[Finding]:
    for own in state.accounts.values():
        account = as_account(state, own)
        try:
            pools = judged(state, account)
        except CrossmarginError as error:
            if own.positions:
                yield Finding(rule="verdict", where=own.id, what=f"cannot be judged: {error}")
            continue
        for name, pool in pools.items():
            level = level_of(pool)
            if not stale(state, needed(state, account, pool)) and own.levels.get(name) != level:
                what = f"is at {level}, the books say {own.levels.get(name)}"
                yield Finding(rule="verdict", where=f"{own.id} {name}", what=what)


# one command ----------------------------------------------------------------------------------------------------------

_ADMITTED = (PlaceOrder, Withdraw, Send, Transfer, SetMarginMode)
"""Commands that leave their pools above every line; a higher leverage frees margin and may be set below one."""


def audit_command(state: State, command: AnyCommand, events: list[Event]) -> tuple[Finding, ...]:
    """What must hold of a command just applied: ``state`` is the one after it."""
    if events and events[0]["event"] == "rejected":
        return ()
    with localcontext(CONTEXT):
        return (
            *_admitted(state, command, events),
            *_payers(state, events),
            *_rounding(state, events),
            *_standing(events),
        )


def _admitted(state: State, command: AnyCommand, events: list[Event]) -> Iterator[Finding]:
    if not isinstance(command, _ADMITTED):
        return
    own = state.accounts.get(command.account)
    if own is not None and isinstance(command, PlaceOrder) and _reduces(state, own, command):
        return
    if own is None or (isinstance(command, SetMarginMode) and all(event["event"] != "position" for event in events)):
        return  # the insurance fund; a setting of what is not held yet
    concerned = _concerned(state, own, command)
    for pool_name, pool in judged(state, as_account(state, own)).items():
        room = tightest(pool)
        if pool_name in concerned and (room is None or room < 0):
            yield Finding(rule="admitted", where=f"{own.id} {pool_name}", what=f"{command.kind} leaves room {room}")


def _reduces(state: State, own: AccountState, command: PlaceOrder) -> bool:
    """Whether an order can only lower the risk: reduce-only, or against a larger position where resting holds nothing.

    Such an order may rest on a pool that is below its initial margin: filled, it lifts it.
    """
    key = (command.symbol, command.position_side)
    held, isolated = own.positions.get(key), key in own.isolated
    rule = state.rules[own.profile].slots_for(isolated=isolated).initial_margin.orders
    against = held is not None and (held.quantity > 0) != (command.quantity > 0)
    covered = held is not None and against and abs(command.quantity) <= abs(held.quantity)
    return command.reduce_only or (covered and (isolated or rule is None or not rule.value))


def _concerned(
    state: State, own: AccountState, command: PlaceOrder | Withdraw | Send | Transfer | SetMarginMode
) -> set[str]:
    """The pools that a command takes from or moves: a pocket's order is no concern of the shared pool."""
    if isinstance(command, Withdraw | Send):
        return {"account", command.asset}
    key = (command.symbol, command.position_side)
    shared, pocket_of = (pool_of(state.rules[own.profile], *key, isolated=isolated) for isolated in (False, True))
    if isinstance(command, PlaceOrder):
        return {pocket_of if key in own.isolated else shared}
    if isinstance(command, Transfer):
        return {shared if command.amount > 0 else pocket_of}
    return {shared, pocket_of}


def _payers(state: State, events: list[Event]) -> Iterator[Finding]:
    for event in events:
        if event["event"] != "posted" or event["why"] != "loss shared":
            continue
        for owner, _, asset, amount in event["entries"]:
            if owner[0] != "@" and not state.accounts[owner].positions:
                yield Finding(rule="flat pays nothing", where=owner, what=f"{amount} {asset}")


def _standing(events: list[Event]) -> Iterator[Finding]:
    for event in events:
        if event["event"] == "liquidation" and Decimal(event["headroom_before"]) > 0:
            where = f"{event['account']} {event['pool']}"
            yield Finding(rule="standing", where=where, what=f"{event['step']} at headroom {event['headroom_before']}")


def _rounding(state: State, events: list[Event]) -> Iterator[Finding]:
    for event in events:
        for owner, place, asset, amount in event["entries"] if event["event"] == "posted" else ():
            most = 4 * len(state.accounts) * state.quantum(asset)
            if (owner, place) == (VENUE, "rounding") and abs(Decimal(amount)) > most:
                yield Finding(rule="rounding", where=event["why"], what=f"{amount} {asset}, at most {text(most)}")


# one journal ----------------------------------------------------------------------------------------------------------


def verify(journal: Journal, progress: Callable[[int], None] = lambda _: None) -> Verification:
    """Go through a journal from its first record: the chain, every event decided again, every snapshot, the books.

    The first record that is not right ends it; ``records`` counts those before it. The journal is read as it goes: what
    is held at a time is the books and a few thousand records. ``progress`` is told every thousandth place.
    """
    kept = set(journal.snapshot_places())
    state, watch, count, chain = State(), Watch(), 0, GENESIS
    findings: list[Finding] = []
    for record in journal.records():
        wrong = _redone(state, watch, record, count, chain)
        if wrong is not None:
            findings.append(Finding(rule="replay", where=f"record {count + 1}", what=wrong))
            break
        count, chain = record.seq, record.hash
        if count % 1000 == 0:
            progress(count)
        if count in kept and journal.snapshot_at(count) != Snapshot(count, chain, state_hash(state), dump(state)):
            findings.append(Finding(rule="replay", where=f"snapshot {count}", what="is not what the replay comes to"))
    if state.settings is not None:
        findings += audit(state)
    return Verification(records=count, chain=chain, state_hash=state_hash(state), findings=tuple(findings))


def _redone(state: State, watch: Watch, record: Record, count: int, chain: str) -> str | None:
    """Apply a record's command again; what is wrong with the record, or None."""
    try:
        check(record, count, chain)
        stated = json.loads(record.events)

        rules = next((event["rules"] for event in stated if event["event"] == "rules_changed"), None)
        command, words = read(record.command, None if rules is None else lambda _profile, _on: rules_of_json(rules))
        if rules is None and isinstance(command, ChangeRules):
            return None  # refused, so it changed nothing, and its rules are not on record
        events = canonical(apply(state, command, watch))
    except (CrossmarginError, ValueError, KeyError, AssertionError) as error:
        return str(error)
    if words != record.command or command.command_id != record.command_id:
        return "its command is not in canonical form"
    return None if events == record.events else "its command gives other events than are written there"
