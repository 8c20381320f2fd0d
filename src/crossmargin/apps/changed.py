"""The account file that says what changes would leave of an account: to be stored, or asked anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

from crossmargin.analytics.whatif import apply_changes
from crossmargin.errors import AccountError, Fault
from crossmargin.files.accounts import Case, case_from
from crossmargin.model.change import Change, ChangeRules
from crossmargin.model.noun import Noun
from crossmargin.model.number import CONTEXT
from crossmargin.model.report import to_plain

_LAST = Decimal("1e-18")
"""The last digit that an account file can say."""
_HELD = ("balances", "positions", "open_orders", "pockets")
_OF_THE_VENUE = ("id", "reported", "funding_payments")
"""What a file says of the account at its venue, and no longer of a changed copy."""


def changed_file(raw: Mapping[str, Any], case: Case, changes: Sequence[Change]) -> dict[str, Any]:
    """The keys of an account file (``raw``, read as ``case``) after a list of changes, in order.

    What no change touches stands as it was written, the rules that it restates too; its ``id`` and what the venue
    reported of it are left out. A changed number is rounded at the eighteenth decimal. Raises as
    :func:`crossmargin.whatif` does, and :class:`AccountError` for a change of rules, which no account file can say.
    """
    of_rules = [index for index, change in enumerate(changes) if isinstance(change, ChangeRules)]
    if of_rules:
        why = "cannot be saved in an account file; leave it out, and name the profile when the file is asked"
        raise AccountError("account", [Fault(f"changes[{index}]", "change_rules", why) for index in of_rules])
    account, market, _ = apply_changes(*case, changes)
    file = {name: value for name, value in raw.items() if name not in _OF_THE_VENUE}
    for name in _HELD:
        if getattr(account, name) != getattr(case.account, name):
            file[name] = _said(getattr(account, name))
    prices = dict(file.get("market") or {})
    for name in prices:
        if getattr(market, name) != getattr(case.market, name):
            prices[name] = _said(getattr(market, name))
    file["market"] = prices
    case_from(file, "account", profile=case.account.profile, on=case.market.as_of)
    plain: dict[str, Any] = to_plain(file)
    return plain


def _said(value: Any) -> Any:
    """A value as a file says it: keys that are not at their defaults, numbers of eighteen decimals."""
    if isinstance(value, Decimal):
        with localcontext(CONTEXT):
            return value if value == value.quantize(_LAST) else value.quantize(_LAST, rounding=ROUND_HALF_EVEN)
    if isinstance(value, Noun):
        return _said(value.model_dump(exclude_defaults=True))
    if is_dataclass(value):
        return {each.name: _said(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {key: _said(item) for key, item in value.items()}
    return [_said(item) for item in value] if isinstance(value, tuple | list) else value
