"""Account files: one account with its market and its own overrides, TOML or JSON, every fault at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from crossmargin.errors import AccountError, CrossmarginError
from crossmargin.files.profiles import load_profile
from crossmargin.files.text import parse_table, read_bytes
from crossmargin.model.account import Account, Balance, OpenOrder, Pocket, Position, short_form
from crossmargin.model.brackets import AssetRule, InstrumentRule
from crossmargin.model.market import Instant, Market, MarketTables
from crossmargin.model.noun import Noun, faults_of
from crossmargin.model.payment import PaidFunding
from crossmargin.model.profile import Rules


class MarketFile(Noun):
    """The wire format of a market: when, its prices, and the rules it restates for single instruments and assets."""

    as_of: Instant | None = None
    market: MarketTables = Field(default_factory=MarketTables)
    instruments: tuple[InstrumentRule, ...] = ()
    assets: tuple[AssetRule, ...] = ()

    @model_validator(mode="after")
    def _stated_once(self) -> Self:
        for name, keys in (
            ("instruments", [rule.symbol for rule in self.instruments]),
            ("assets", [rule.asset for rule in self.assets]),
        ):
            twice = sorted({key for key in keys if keys.count(key) > 1})
            if twice:
                raise ValueError(f"{name}: {', '.join(twice)} stands more than once")
        return self

    def at(self, when: datetime) -> Market:
        """The market of the file."""
        return Market(as_of=when, **{key: getattr(self.market, key) for key in MarketTables.model_fields})


class AccountFile(MarketFile):
    """The wire format of an account: the account, its market, and the rules it restates."""

    id: str = "account"
    profile: str | None = None
    balances: Annotated[dict[str, Balance], BeforeValidator(short_form)] = Field(default_factory=dict)
    positions: tuple[Position, ...] = ()
    open_orders: tuple[OpenOrder, ...] = ()
    pockets: tuple[Pocket, ...] = ()
    funding_payments: tuple[PaidFunding, ...] = ()
    """Funding that the venue took from it, for :func:`crossmargin.reconcile`."""
    reported: dict[str, str] = Field(default_factory=dict)
    """What the venue printed of this account, under our names (:func:`crossmargin.model.reported.reported_from`)."""


class Case(NamedTuple):
    """What one account file says, ready to be judged: ``cm.evaluate(*cm.load(path))``."""

    account: Account
    market: Market
    rules: Rules


def load(path: str, *, profile: str | None = None, on: datetime | None = None) -> Case:
    """Read an account file (``-`` = standard input); ``profile`` and ``on`` override what the file says."""
    return case_from(*read_table(path), profile=profile, on=on)


def read_table(path: str) -> tuple[dict[str, Any], str]:
    """The keys of a TOML or JSON file (``-`` = standard input) as they stand, and what to call it in an error."""
    where = "standard input" if path == "-" else path
    form = "json" if path.endswith(".json") else None
    return parse_table(read_bytes(path, AccountError), where, AccountError, form=form), where


def payments_from(raw: Mapping[str, Any], where: str) -> tuple[PaidFunding, ...]:
    """The ``[[funding_payments]]`` of an account file. Raises :class:`AccountError` with every fault and its path."""
    try:
        return AccountFile.model_validate(raw).funding_payments
    except ValidationError as error:
        raise AccountError(where, faults_of(error)) from None


def case_from(raw: Mapping[str, Any], where: str, *, profile: str | None = None, on: datetime | None = None) -> Case:
    """An account from the keys of an account file. Raises :class:`AccountError` with every fault and its path."""
    try:
        file = AccountFile.model_validate(raw)
    except ValidationError as error:
        raise AccountError(where, faults_of(error)) from None
    name = profile or file.profile
    when = on or file.as_of
    missing = [
        f"{key}: is missing; give it in the file or as {flag}"
        for key, value, flag in (("profile", name, "--profile"), ("as_of", when, "--on"))
        if value is None
    ]
    if missing or name is None or when is None:
        raise AccountError(where, "; ".join(missing))
    try:
        account = Account(
            id=file.id,
            profile=name,
            balances=file.balances,
            positions=file.positions,
            open_orders=file.open_orders,
            pockets=file.pockets,
        )
    except CrossmarginError as error:
        raise AccountError(where, error.faults) from None
    law = load_profile(name)
    rules = law.on(when).with_overrides(law.dated(file.instruments, when), file.assets)
    return Case(account, file.at(when), rules)
