"""Money that moves without a trade: deposits, withdrawals, margin between pools, bonus credit, funding, interest."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal

from crossmargin.clearing import events
from crossmargin.clearing.commands import (
    INSURANCE_FUND,
    AccrueInterest,
    CloseTransfer,
    Deposit,
    GrantBonus,
    Receive,
    Send,
    SettleFunding,
    Transfer,
    Withdraw,
)
from crossmargin.clearing.events import stamp, text
from crossmargin.clearing.ledger import BONUS, OUTSIDE, VENUE, WALLET, Entry, exact
from crossmargin.clearing.state import AccountState, State, as_account, pocket, pool_of
from crossmargin.clearing.trading import (
    Decision,
    account_of,
    charged,
    must_be_fresh,
    must_have_room,
    venue_booked,
)
from crossmargin.clearing.watch import Payment, Watch, judged, stale
from crossmargin.engine import formulas
from crossmargin.engine.boundary import largest
from crossmargin.engine.reference import PoolState, removable
from crossmargin.engine.rooms import tightest
from crossmargin.errors import CommandRejected
from crossmargin.model.account import Account, Balance
from crossmargin.model.instrument import parse_symbol

_ZERO = Decimal(0)


def _in_quanta(state: State, asset: str, amount: Decimal) -> None:
    quantum = state.quantum(asset)
    if amount % quantum:
        most = text(amount.quantize(quantum, ROUND_FLOOR))
        raise CommandRejected(asset, "wrong_size", f"is finer than {text(quantum)} {asset}", {"amount": most})


_OUT = (OUTSIDE, WALLET)
_TRANSIT = (VENUE, "in_transit")


def deposit(state: State, _watch: Watch, command: Deposit) -> Decision:
    """Money arrives; nothing can get worse by it."""
    return _arrived(state, command, _OUT, "deposit")


def _arrived(state: State, command: Deposit | Receive, source: tuple[str, str], why: str) -> Decision:
    _in_quanta(state, command.asset, command.amount)
    if command.account != INSURANCE_FUND:
        account_of(state, command.account)
    entries = [
        Entry(*source, command.asset, -command.amount),
        Entry(*_place(command.account), command.asset, command.amount),
    ]
    return Decision([events.posted(why, entries)], dirty=_if_judged_anew(state, command.account, command.asset))


def _place(name: str) -> tuple[str, str]:
    """Where the money of an account, or of the insurance fund, lies."""
    return (VENUE, "insurance_fund") if name == INSURANCE_FUND else (name, WALLET)


def grant_bonus(state: State, _watch: Watch, command: GrantBonus) -> Decision:
    """The venue lends margin."""
    own = account_of(state, command.account)
    _in_quanta(state, command.asset, command.amount)
    entries = [
        Entry(VENUE, BONUS, command.asset, -command.amount),
        Entry(own.id, BONUS, command.asset, command.amount),
    ]
    return Decision([events.posted("bonus granted", entries)], dirty=_if_judged_anew(state, own.id, command.asset))


def _if_judged_anew(state: State, name: str, asset: str) -> frozenset[str]:
    """More money changes no verdict but that of a pool which has reached a level, or whose coin is new to it: then
    one more price decides about the pool, and while that is not known nothing is."""
    own = state.accounts.get(name)
    if own is None:
        return frozenset()
    held = any(state.ledger.balance(name, place, asset) for place in (WALLET, BONUS))
    return frozenset() if held and not own.levels else frozenset([name])


# out of the pool ------------------------------------------------------------------------------------------------------


def withdraw(state: State, _watch: Watch, command: Withdraw) -> Decision:
    """Money leaves if the pool keeps its lines and the venue's withdrawal rule is met."""
    return _left(state, command, _OUT, "withdrawal")


def _left(state: State, command: Withdraw | Send, target: tuple[str, str], why: str) -> Decision:
    _in_quanta(state, command.asset, command.amount)
    _not_halted(state)
    if command.account == INSURANCE_FUND:
        _fund_must_hold(state, command)
        entries = [
            Entry(*_place(INSURANCE_FUND), command.asset, -command.amount),
            Entry(*target, command.asset, command.amount),
        ]
        return Decision([events.posted(why, entries)])
    own = account_of(state, command.account)
    rules = state.rules[own.profile]
    account = as_account(state, own)
    _must_leave(state, own, account, command.asset, command.amount, leaving=True)
    entries = [
        Entry(own.id, WALLET, command.asset, -command.amount),
        Entry(*target, command.asset, command.amount),
    ]
    bonus = state.ledger.balance(own.id, BONUS, command.asset)
    if bonus and rules.slots.bonus is not None and rules.slots.bonus.forfeited_on_transfer:
        entries += [Entry(own.id, BONUS, command.asset, -bonus), Entry(VENUE, BONUS, command.asset, bonus)]
    return Decision([events.posted(why, entries)], dirty=frozenset([own.id]))


def _fund_must_hold(state: State, command: Withdraw | Send) -> None:
    held = state.ledger.balance(VENUE, "insurance_fund", command.asset)
    if command.amount > held:
        why = f"the insurance fund holds {text(held)} {command.asset}"
        raise CommandRejected(command.account, "insufficient_balance", why, {"amount": text(held)})


# between partitions ---------------------------------------------------------------------------------------------------


def send(state: State, _watch: Watch, command: Send) -> Decision:
    """Money leaves for another partition, by the rules of a withdrawal."""
    if state.venue.partition is None:
        raise CommandRejected(command.account, "wrong_state", "these books are no partition of a venue")
    decision = _left(state, command, _TRANSIT, "sent")
    sent: events.Event = {
        "event": "sent",
        "transfer_id": command.transfer_id,
        "account": command.account,
        "asset": command.asset,
        "amount": text(command.amount),
    }
    return decision._replace(events=[*decision.events, sent])


def receive(state: State, _watch: Watch, command: Receive) -> Decision:
    """Money arrives from another partition."""
    if state.venue.partition != command.to_partition:
        why = f"these are the books of partition {state.venue.partition}"
        raise CommandRejected(command.account, "wrong_state", why, {"to_partition": str(state.venue.partition)})
    return _arrived(state, command, _TRANSIT, "received")


def close_transfer(state: State, _watch: Watch, command: CloseTransfer) -> Decision:
    """A transfer has arrived, or comes back to where it was sent from."""
    sent = state.sent.get(command.transfer_id)
    if sent is None:
        raise CommandRejected(command.transfer_id, "unknown_name", "no transfer of that id is under way")
    closed: events.Event = {"event": "transfer_closed", "transfer_id": command.transfer_id}
    if command.arrived:
        return Decision([closed])
    entries = [Entry(*_TRANSIT, sent.asset, -sent.amount), Entry(*_place(sent.account), sent.asset, sent.amount)]
    return Decision(
        [events.posted("sent back", entries), closed], dirty=_if_judged_anew(state, sent.account, sent.asset)
    )


def _not_halted(state: State) -> None:
    if state.halted:
        raise CommandRejected("venue", "halted", "trading is stopped: no money leaves a pool")


def _must_leave(
    state: State, own: AccountState, account: Account, asset: str, amount: Decimal, *, leaving: bool
) -> None:
    """Refuse an amount that may not leave the shared pool; the answer says the largest that may.

    ``leaving``: out of the account altogether, where the withdrawal rule and unrealized profit have their say.
    """
    wallet = account.balances.get(asset, Balance()).wallet_balance
    rule = state.rules[own.profile].slots.withdrawal
    profit_may_leave = leaving and rule is not None and rule.kind == "keep_share"
    most = amount if profit_may_leave else min(amount, max(wallet, _ZERO))
    pools = judged(state, account)
    idle = wallet >= amount and not any(
        a.exposures for pool in pools.values() for a in pool.pool.assets if not pool.pool.isolated
    )
    lent = account.balances.get(asset, Balance()).bonus_credit
    if idle and not lent and all(one.wallet_balance >= 0 for one in account.balances.values()):
        return

    def after(less: Decimal) -> PoolState | None:
        balances = dict(account.balances)
        balances[asset] = balances.get(asset, Balance()).model_copy(update={"wallet_balance": wallet - less})
        found = judged(state, account.model_copy(update={"balances": balances}))
        return found.get("account") or found.get(asset)

    def room(less: Decimal) -> Decimal:
        pool = after(less)
        assert pool is not None  # it holds the asset
        left = tightest(pool)
        if left is None:  # unknown admits nothing
            return -state.quantum(asset)
        free = removable(pool) if leaving else None
        return left if free is None else min(left, free)

    pool = after(_ZERO)
    assert pool is not None
    must_be_fresh(state, account, pool)
    if most == amount and room(amount) >= 0:
        return
    best = _largest(room, most).quantize(state.quantum(asset), ROUND_FLOOR)
    why = f"{text(best)} {asset} may leave now"
    if wallet < amount and not profit_may_leave:
        raise CommandRejected(own.id, "insufficient_balance", why, {"amount": text(best)})
    raise CommandRejected(own.id, "insufficient_margin", why, {"amount": text(best)})


def _largest(room: Callable[[Decimal], Decimal], most: Decimal) -> Decimal:
    return largest(room, most) if most > 0 and room(_ZERO) >= 0 else _ZERO


def transfer(state: State, _watch: Watch, command: Transfer) -> Decision:
    """Margin into a pocket from the shared pool, or back."""
    own = account_of(state, command.account)
    key = (command.symbol, command.position_side)
    settle = parse_symbol(command.symbol).settle
    _in_quanta(state, settle, command.amount)
    if key not in own.isolated:
        why = f"{command.symbol} {command.position_side} has no pocket: it is held cross"
        raise CommandRejected(own.id, "wrong_state", why, {"first": "set_margin_mode isolated"})
    account = as_account(state, own)
    if command.amount > 0:
        _not_halted(state)
        _must_leave(state, own, account, settle, command.amount, leaving=False)
    else:
        _must_leave_pocket(state, own, account, command)
    entries = [
        Entry(own.id, WALLET, settle, -command.amount),
        Entry(own.id, pocket(*key), settle, command.amount),
    ]
    return Decision([events.posted("transfer", entries)], dirty=frozenset([own.id]))


def _must_leave_pocket(state: State, own: AccountState, account: Account, command: Transfer) -> None:
    key = (command.symbol, command.position_side)
    settle, taken = parse_symbol(command.symbol).settle, -command.amount
    held = state.ledger.balance(own.id, pocket(*key), settle)
    if taken > held:
        raise CommandRejected(own.id, "insufficient_balance", f"the pocket holds {text(held)}", {"amount": text(-held)})
    if any((order.symbol, order.position_side) == key and not order.reduce_only for order in own.orders.values()):
        raise CommandRejected(own.id, "wrong_state", "orders rest on the pocket", {"first": "cancel_order"})
    position = next((one for one in account.positions if (one.symbol, one.position_side) == key), None)
    if position is None:
        return
    _not_halted(state)

    def pool_after(less: Decimal) -> PoolState:
        thinner = position.model_copy(update={"isolated_margin": held - less})
        positions = tuple(thinner if one is position else one for one in account.positions)
        name = f"{key[0]}{'' if key[1] == 'net' else ' ' + key[1]} isolated"
        return judged(state, account.model_copy(update={"positions": positions}))[name]

    pool = pool_after(taken)
    must_be_fresh(state, account, pool)
    room = tightest(pool)
    if room is not None and room < 0:
        best = _largest(lambda less: tightest(pool_after(less)) or _ZERO, taken)
        best = best.quantize(state.quantum(settle), ROUND_FLOOR)
        why = f"{text(best)} {settle} may leave the pocket now"
        raise CommandRejected(own.id, "insufficient_margin", why, {"amount": text(-best)})
    must_have_room(state, own.id, pool)


# by the calendar ------------------------------------------------------------------------------------------------------


def settle_funding(state: State, _watch: Watch, command: SettleFunding) -> Decision:
    """Funding of one interval, once, for everybody who holds the contract: what payers pay goes to the receivers.

    Payment = notional x rate (:func:`crossmargin.engine.formulas.funding_payment`). Payers pay
    rounded up, receivers get rounded down; what is left, and what one side has too much, stands at ``@venue funding``
    and ``rounding``.
    """
    last = state.funded.get(command.symbol)
    if last is not None and command.interval_end <= last:
        why = f"funding of {command.symbol} is settled up to {stamp(last)}"
        raise CommandRejected(command.symbol, "late", why, {"interval_end": f"after {stamp(last)}"})
    if command.interval_end > state.now:
        why = f"the interval has not ended: it is {stamp(state.now)}"
        raise CommandRejected(command.symbol, "implausible", why, {"interval_end": f"up to {stamp(state.now)}"})
    symbol = parse_symbol(command.symbol)
    holders = sorted(state.holders.get(command.symbol, ()))
    entries: list[Entry] = []
    payments: list[Payment] = []
    for name in holders:
        own = state.accounts[name]
        rules = state.rules[own.profile]
        slot = rules.slots.funding
        cap = None if slot is None else slot.cap_of(command.symbol)
        if cap is not None and abs(command.rate) > cap:
            why = f"{rules.profile} caps funding at {text(cap)} an interval"
            raise CommandRejected(command.symbol, "implausible", why, {"rate": f"-{text(cap)} to {text(cap)}"})
        source = symbol.base if slot is not None and slot.price == "oracle" else command.symbol
        if stale(state, [source]):
            raise CommandRejected(command.symbol, "stale_prices", f"no fresh price of {source}", {"first": source})
        price = (state.marks[source] if "/" in source else state.indexes[source]).price
        contract_size = rules.contract_size(command.symbol) or Decimal(1)
        notional = formulas.inverse_notional if symbol.kind == "inverse" else formulas.linear_notional
        for key in sorted(own.positions):
            if key[0] != command.symbol:
                continue
            size = own.positions[key].quantity * contract_size
            payment = exact(formulas.funding_payment(size, notional(size, price), command.rate))
            place = pocket(*key) if key in own.isolated else WALLET
            pool = pool_of(rules, *key, isolated=key in own.isolated)
            payments.append(Payment(name, pool, symbol.settle, payment))
            entries += charged(state, own, symbol.settle, {"funding": payment}, place)
            entries.append(Entry(VENUE, "funding", symbol.settle, payment))
    done = [
        {
            "event": "funding_settled",
            "symbol": command.symbol,
            "interval_end": stamp(command.interval_end),
            "rate": text(command.rate),
        },
        events.posted("funding", venue_booked(state, _merged(entries))),
    ]
    return Decision(done, payments=tuple(payments))


def _merged(entries: list[Entry]) -> list[Entry]:
    """The venue's side in one entry for each place."""
    own = [entry for entry in entries if entry.owner != VENUE]
    total: dict[tuple[str, str], Decimal] = {}
    for entry in entries:
        if entry.owner == VENUE:
            key = (entry.place, entry.asset)
            total[key] = total.get(key, _ZERO) + entry.amount
    return own + [Entry(VENUE, place, asset, amount) for (place, asset), amount in sorted(total.items())]


def accrue_interest(state: State, _watch: Watch, command: AccrueInterest) -> Decision:
    """Interest of one interval on every debt of an asset, once: debt x rate, rounded up."""
    last = state.accrued.get(command.asset)
    if last is not None and command.interval_end <= last:
        why = f"interest on {command.asset} is accrued up to {stamp(last)}"
        raise CommandRejected(command.asset, "late", why, {"interval_end": f"after {stamp(last)}"})
    if command.interval_end > state.now:
        why = f"the interval has not ended: it is {stamp(state.now)}"
        raise CommandRejected(command.asset, "implausible", why, {"interval_end": f"up to {stamp(state.now)}"})
    entries: list[Entry] = []
    for name in sorted(state.accounts):
        debt = -state.ledger.balance(name, WALLET, command.asset)
        if debt > 0:
            owed = exact(formulas.share_of(debt, command.rate))
            entries += [Entry(name, WALLET, command.asset, -owed), Entry(VENUE, "interest", command.asset, owed)]
    done = [
        {
            "event": "interest_accrued",
            "asset": command.asset,
            "interval_end": stamp(command.interval_end),
            "rate": text(command.rate),
        },
        events.posted("interest", venue_booked(state, _merged(entries))),
    ]
    return Decision(done, dirty=frozenset(entry.owner for entry in entries if entry.owner != VENUE))
