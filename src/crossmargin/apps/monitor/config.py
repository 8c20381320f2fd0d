"""``monitor.toml``: accounts, rules, channels and the monitor's own settings, every fault of it at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator

from crossmargin.apps.monitor.channels import Channel, LogChannel, Outside, WebhookChannel, faults_of_secrets
from crossmargin.apps.monitor.fleet import BookSource
from crossmargin.apps.monitor.outward import Policy
from crossmargin.apps.monitor.rules import AlertRule, KindName, Name, Settings, with_always
from crossmargin.apps.monitor.sources import ClearingSource, FileSource, Source, StoreSource, VenueSource
from crossmargin.apps.store.store import Store
from crossmargin.errors import Fault, ProfileError
from crossmargin.files.secret import is_reference
from crossmargin.files.text import parse_table, read_bytes
from crossmargin.files.unified import VENUES
from crossmargin.model.noun import faults_of

Whole = Annotated[int, Field(ge=1, le=86_400)]


class AccountSource(Settings):
    """One source of accounts: a ``file`` (and ``prices``), a ``venue``, a ``clearing`` journal, a ``tenant`` of the
    store, or a ``book`` of many accounts (with ``prices`` and ``profile``), which are watched by their level.

    ``keys``: the name under which the key of the venue is kept (``CROSSMARGIN_<KEYS>_KEY``), the venue's own unless
    given.
    """

    file: str | None = None
    prices: str | None = None
    venue: str | None = None
    keys: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,40}$")] | None = None
    allow_trading_key: bool = False
    clearing: str | None = None
    tenant: str | None = None
    book: str | None = None
    profile: str | None = None
    every_seconds: Whole | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("file", "venue", "clearing", "tenant", "book") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("must name one of file, venue, clearing, tenant and book")
        if self.prices is not None and self.file is None and self.book is None:
            raise ValueError("prices: go with a file or a book")
        if (self.book is None) != (self.profile is None) or (self.book is not None and self.prices is None):
            raise ValueError("book: needs prices and a profile, and nothing else takes a profile")
        if (self.keys is not None or self.allow_trading_key) and self.venue is None:
            raise ValueError("keys and allow_trading_key: go with a venue")
        if self.venue is not None and self.venue.partition("-")[0] not in VENUES:
            raise ValueError(f"venue: {self.venue} is none that is read; known are {', '.join(VENUES)}")
        return self


class Heartbeat(Settings):
    """The dead-man signal: a file that is touched, or an address that is asked, as long as the monitor works."""

    every_seconds: Whole = 60
    file: str | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.file is None and self.url is None:
            raise ValueError("must name a file or a url")
        return self


class Outward(Settings):
    """Where messages may go. ``hosts`` empty = any public one."""

    hosts: tuple[str, ...] = ()
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Policy().ports
    allow_private: bool = False

    def policy(self) -> Policy:
        """The same as the door takes it."""
        return Policy(tuple(host.lower() for host in self.hosts), self.ports, self.allow_private)


def _only_log() -> dict[str, Channel]:
    return {"log": LogChannel()}


class MonitorConfig(Settings):
    """The whole file. Paths in it are as seen from the folder in which the monitor is started."""

    store: str = "monitor.db"
    tenant: Name = "local"
    every_seconds: Whole = 5
    history_seconds: Whole = 60
    keep_days: Annotated[int, Field(ge=1, le=3650)] = 30
    accounts: dict[Name, AccountSource] = Field(min_length=1, max_length=100_000)
    rules: tuple[AlertRule, ...] = Field(default=(), max_length=1000)
    channels: dict[Name, Channel] = Field(default_factory=_only_log, max_length=100)
    heartbeat: Heartbeat | None = None
    outward: Outward = Outward()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        ids = [rule.id for rule in self.rules]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"rules: {', '.join(twice)} stands more than once; a rule's id is its own")
        named = {name for rule in self.rules for step in rule.escalation for name in step.channels}
        if unknown := sorted(named - self.channels.keys()):
            raise ValueError(
                f"channels: {', '.join(unknown)} is named by a rule and not set; set are {', '.join(self.channels)}"
            )
        return self

    def all_rules(self) -> tuple[AlertRule, ...]:
        """The rules of the file and those that are always watched; without an escalation every channel is told."""
        return with_always(self.rules, tuple(self.channels))

    def kinds(self) -> frozenset[KindName]:
        """Every kind of figure that is asked for."""
        return frozenset(rule.kind for rule in self.all_rules())

    def outside(self) -> Outside:
        """The world as messages see it."""
        return Outside(self.outward.policy())

    def sources(self, store: Store) -> dict[str, Source]:
        """The sources, by name."""
        return {name: self._source(name, own, store) for name, own in self.accounts.items()}

    def _source(self, name: str, own: AccountSource, store: Store) -> Source:
        every = own.every_seconds
        if own.file is not None:
            return FileSource(name, own.file, prices=own.prices, every_seconds=every or 1)
        if own.book is not None:
            assert own.prices is not None
            assert own.profile is not None
            return BookSource(name, own.book, own.prices, own.profile, every_seconds=every or 1)
        if own.clearing is not None:
            return ClearingSource(name, own.clearing, every_seconds=every or 1)
        if own.tenant is not None:
            return StoreSource(name, store, own.tenant, prefix=f"{name}/", every_seconds=every or 1)
        assert own.venue is not None
        return VenueSource(
            name, own.venue, keys=own.keys, allow_trading_key=own.allow_trading_key, every_seconds=every or 30
        )


def load_config(path: str) -> MonitorConfig:
    """Read a configuration, TOML or JSON. Raises :class:`ProfileError` with every fault and its path."""
    return config_from(parse_table(read_bytes(path, ProfileError), path, ProfileError), path)


def config_from(raw: object, where: str) -> MonitorConfig:
    """A configuration from its keys. Raises :class:`ProfileError` with every fault and its path."""
    try:
        return MonitorConfig.model_validate(raw)
    except ValidationError as error:
        raise ProfileError(where, [_without_secret(fault) for fault in faults_of(error)]) from None


def _without_secret(fault: Fault) -> Fault:
    """A fault that does not repeat what may be a secret that stands where a reference should."""
    sensitive = fault.path.startswith(("channels", "heartbeat", "(whole)"))
    return Fault(fault.path, "", fault.why) if sensitive else fault


def faults_of_surroundings(config: MonitorConfig) -> list[Fault]:
    """What is wrong outside the file: files that are not there, references that lead nowhere, addresses refused."""
    faults = []
    for name, own in config.accounts.items():
        for field in ("file", "prices", "clearing", "book"):
            path = getattr(own, field)
            if path is not None and "://" not in path and not Path(path).exists():
                faults.append(Fault(f"accounts.{name}.{field}", path, "is not there"))
    for name, channel in config.channels.items():
        faults += faults_of_secrets(name, channel)
        if isinstance(channel, WebhookChannel) and not is_reference(channel.url):
            allowed = ("https", "http") if config.outward.allow_private else ("https",)
            if urlsplit(channel.url).scheme not in allowed:
                faults.append(Fault(f"channels.{name}.url", "", f"must begin with {' or '.join(allowed)}://"))
    return faults
