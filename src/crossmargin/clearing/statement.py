"""What the books say to somebody who asks: balances, an account as a file, a record as a line. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossmargin.clearing.events import stamp, text
from crossmargin.clearing.journal import Record
from crossmargin.clearing.state import State, as_account, as_market, symbols_of
from crossmargin.errors import AccountError, Fault
from crossmargin.files.accounts import case_from
from crossmargin.model.account import Account
from crossmargin.model.noun import Noun
from crossmargin.model.report import to_plain


def balances(state: State, owner: str | None = None) -> dict[str, Any]:
    """What everybody holds, by owner, place and asset, and the sum of each asset, which is left out where it is zero.

    ``owner``: only this account, ``@venue`` or ``@outside``; the sums are of all.
    """
    rows = [
        {"owner": name, "place": place, "asset": asset, "amount": text(amount)}
        for name in sorted(state.ledger.owners)
        if owner in (None, name)
        for (place, asset), amount in sorted(state.ledger.owners[name].items())
    ]
    return {"balances": rows, "totals": {asset: text(amount) for asset, amount in state.ledger.totals().items()}}


def account_file(state: State, name: str) -> dict[str, Any] | None:
    """An account of the books as an account file, at the prices and the time of the books, so that it can be judged.

    Every resting order is in it; ``instruments`` and ``assets`` are what the books restate over its profile. None where
    there is no such account. Raises :class:`AccountError` where the books go by rules that the profile has not at that
    time: a file cannot say them.
    """
    own = state.accounts.get(name)
    if own is None:
        return None
    account = as_account(state, own, every_order=True)
    market = as_market(state, account)
    found: dict[str, Any] = {
        "id": account.id,
        "profile": account.profile,
        "as_of": stamp(state.now),
        "balances": {asset: _stated(balance) for asset, balance in account.balances.items()},
        "positions": [_stated(position) for position in account.positions],
        "open_orders": [_stated(order) for order in account.open_orders],
        "market": {
            key: dict(sorted(table.items())) for key, table in _stated(market).items() if key != "as_of" and table
        },
        **_restated(state, account),
    }
    file = {key: value for key, value in found.items() if value not in ({}, [])}
    _check_rules(file, state, account)
    return file


def _check_rules(file: Mapping[str, Any], state: State, account: Account) -> None:
    ours, told = state.rules[account.profile], case_from(file, account.id).rules
    tables = ("brackets", "contract_sizes", "taker_fees")
    same = ours.slots == told.slots and all(
        getattr(ours, table).get(symbol) == getattr(told, table).get(symbol)
        for table in tables
        for symbol in symbols_of(account)
    )
    if not same or any(ours.assets.get(asset) != told.assets.get(asset) for asset in account.balances):
        why = f"is after the rules that the books go by, of {ours.since}; send change_rules with those of today"
        raise AccountError(account.id, (Fault("as_of", str(file["as_of"]), why),))


def _restated(state: State, account: Account) -> dict[str, list[dict[str, Any]]]:
    rules = state.rules[account.profile]
    symbols = sorted(symbols_of(account) & rules.overridden)
    tables: Mapping[str, Mapping[str, Any]] = {
        "contract_size": rules.contract_sizes,
        "brackets": {symbol: tuple(map(_stated, rows)) for symbol, rows in rules.brackets.items() if symbol in symbols},
        "taker_fee": rules.taker_fees,
    }
    instruments = [
        {"symbol": symbol, **{key: to_plain(table[symbol]) for key, table in tables.items() if symbol in table}}
        for symbol in symbols
    ]
    assets = [_stated(rules.assets[asset]) for asset in sorted(rules.overridden & rules.assets.keys())]
    return {"instruments": instruments, "assets": assets}


def _stated(noun: Noun) -> dict[str, Any]:
    """What a noun says, as JSON has it; what it leaves open is left out."""
    found: dict[str, Any] = to_plain(noun.model_dump(exclude_none=True))
    return found


def line(record: Record) -> str:
    """A record as the journal's export has it: one JSON line, command and events as they were written."""
    return (
        f'{{"at":"{record.at}","command":{record.command},"events":{record.events},'
        f'"hash":"{record.hash}","seq":{record.seq}}}'
    )
