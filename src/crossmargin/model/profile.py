"""A rule profile: one venue's account mode, and the rules in force at a date.

A revision restates only the slots that changed at its date; the loader merges them in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal

from crossmargin.errors import Fault, ProfileError
from crossmargin.model.brackets import AssetRule, Bracket, InstrumentRule
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.programme import Liquidation
from crossmargin.model.slots import Bonus, Borrowing, IsolatedSlots, Slots, Tables
from crossmargin.model.source import RuleNoun, Slot, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules in force for one account at one date: a revision, its tables, and the account file's own overrides."""

    profile: str
    venue: str
    account_mode: str
    reference_currency: str
    since: date
    slots: Slots
    sources: Mapping[str, Source]
    brackets: Mapping[str, tuple[Bracket, ...]]
    contract_sizes: Mapping[str, Decimal]
    assets: Mapping[str, AssetRule]
    taker_fees: Mapping[str, Decimal]
    row_sources: Mapping[str, frozenset[str]]
    """The sources of the table rows of each symbol and asset."""
    overridden: frozenset[str] = frozenset()

    def with_overrides(self, instruments: tuple[InstrumentRule, ...], assets: tuple[AssetRule, ...]) -> Rules:
        """These rules with what an account file restates for single instruments and assets.

        Raises :class:`ProfileError` for a table that is named by its date only and was not looked up.
        """
        if not instruments and not assets:
            return self
        why = "a table of another date is known to account files only; give its brackets here"
        undated = [rule for rule in instruments if rule.brackets_as_of is not None]
        if undated:
            faults = [Fault(f"instruments {r.symbol}.brackets_as_of", str(r.brackets_as_of), why) for r in undated]
            raise ProfileError(f"profile {self.profile}", faults)
        brackets, sizes, fees = dict(self.brackets), dict(self.contract_sizes), dict(self.taker_fees)
        for rule in instruments:
            if rule.brackets is not None:
                brackets[rule.symbol] = rule.brackets
            if rule.contract_size is not None:
                sizes[rule.symbol] = rule.contract_size
            if rule.taker_fee is not None:
                fees[rule.symbol] = rule.taker_fee
        return replace(
            self,
            brackets=brackets,
            contract_sizes=sizes,
            taker_fees=fees,
            assets={**self.assets, **{rule.asset: rule.over(self.assets.get(rule.asset)) for rule in assets}},
            overridden=self.overridden | {r.symbol for r in instruments} | {r.asset for r in assets},
        )

    def slots_for(self, *, isolated: bool) -> Slots:
        """The slots of a shared pool, or of an isolated pocket."""
        own = self.slots.isolated
        if not isolated or own is None:
            return self.slots
        stated = {name: getattr(own, name) for name in IsolatedSlots.model_fields if getattr(own, name) is not None}
        if own.maintenance_margin is not None and own.maintenance_margin.kind != "worst_scenario":
            stated["scenarios"] = None  # a pocket with a rule of its own is no part of the shared pool's scenarios
        return self.slots.model_copy(update=stated)

    def contract_size(self, symbol: str) -> Decimal | None:
        """Coins or quote units in one contract, or None where no rule says.

        A dated contract that no rule names has the size of its pair's perpetual, which is how venues list them.
        """
        parsed = parse_symbol(symbol)
        stated = self.contract_sizes.get(symbol)
        if stated is None and parsed.expiry is not None:
            stated = self.contract_sizes.get(symbol.replace(f"-{parsed.expiry}", ""))
        if stated is not None:
            return stated
        return self.slots.contract_sizes.inverse if parsed.kind == "inverse" else self.slots.contract_sizes.linear

    def taker_fee(self, symbol: str) -> Decimal | None:
        """The fee of a taker as a fraction of value, or None where no rule says."""
        return self.taker_fees.get(symbol, self.slots.fees.taker if self.slots.fees else None)

    def liability_rates(self, asset: str) -> tuple[Decimal, Decimal | None]:
        """What a debt of an asset holds as maintenance margin and to open, of its value; None: no rate of its own.

        The fee to close is that of the dearest contract settled in the asset whose fee is stated, else the venue's.
        """
        slot, rule = self.slots.collateral, self.assets.get(asset)
        kept, opened = slot.liability_maintenance_rate, slot.liability_initial_rate
        if rule is not None and rule.liability_maintenance_rate is not None:
            kept, opened = rule.liability_maintenance_rate, rule.liability_initial_rate
        if slot.liability_close_fee:
            stated = [
                fee for symbol, fee in self.taker_fees.items() if symbol.partition(":")[2].partition("@")[0] == asset
            ]
            general = self.slots.fees.taker if self.slots.fees else None
            kept += max(stated, default=general or Decimal(0))
        return kept, opened

    def assumed(self, names: Iterable[str], *, pairs: Iterable[str] = ()) -> tuple[str, ...]:
        """The titles of what is only assumed in these slots and in the table rows of these symbols and assets.

        ``pairs``: the spot pairs of pockets, which follow the borrowing rule unless the account file restates theirs.
        """
        cited = _cited(self.slots)
        if self.slots.borrowing is not None and set(pairs) - self.overridden:
            cited |= set(self.slots.borrowing.source)
        for name in names:
            if name not in self.overridden:
                cited |= self.row_sources.get(name, frozenset())
        return tuple(
            source.title for key, source in self.sources.items() if key in cited and source.status == "assumed"
        )


def _cited(slots: RuleNoun) -> set[str]:
    """The ids of every source that slots and the slots inside them name; the tables' own rows name theirs.

    What happens after a liquidation, and what bonus credit pays, decide no figure of a report: their sources are cited
    by the walk itself. The borrowing rule counts where there is a pocket that follows it.
    """
    cited: set[str] = set()
    for value in vars(slots).values():
        if isinstance(value, Slot) and not isinstance(value, Tables | Liquidation | Bonus | Borrowing):
            cited |= set(value.source)
        if isinstance(value, RuleNoun):
            cited |= _cited(value)
    return cited


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One venue account mode: its identity and its revisions, oldest first, each with complete rules."""

    id: str
    venue: str
    account_mode: str
    reference_currency: str
    revisions: tuple[Rules, ...]
    aliases: Mapping[str, str]

    def on(self, when: datetime | date) -> Rules:
        """The rules in force at a date (UTC); before the first revision there are none, which is an error."""
        day = when.astimezone(UTC).date() if isinstance(when, datetime) else when
        for rules in reversed(self.revisions):
            if rules.since <= day:
                return rules
        first = self.revisions[0].since
        fault = Fault("as_of", day.isoformat(), f"no rules are known before {first}; use a date from then on")
        raise ProfileError(f"profile {self.id}", (fault,))

    def dated(self, instruments: Iterable[InstrumentRule], when: datetime | date) -> tuple[InstrumentRule, ...]:
        """The same with every ``brackets_as_of`` looked up: the brackets of that date, for an account of ``when``.

        Raises :class:`ProfileError` with every table that is not there, and with those that another rule read then
        (whole positions instead of parts, contracts instead of values): the table alone would not be the old rule.
        """
        found: list[InstrumentRule] = []
        faults: list[Fault] = []
        for rule in instruments:
            day = rule.brackets_as_of
            if day is None:
                found.append(rule)
                continue
            then = self.on(day) if day >= self.revisions[0].since else None
            table = None if then is None else then.brackets.get(rule.symbol)
            why = None
            if then is None or table is None:
                why = f"has no table of it then (rules are known from {self.revisions[0].since}); give its brackets"
            elif _reading(then) != _reading(self.on(when)):
                why = "read its tables by another rule then; a table of that time cannot stand under the present one"
            if why is not None:
                faults.append(Fault(f"instruments {rule.symbol}.brackets_as_of", str(day), f"{self.id} {why}"))
                continue
            found.append(rule.model_copy(update={"brackets": table, "brackets_as_of": None}))
        if faults:
            raise ProfileError(f"profile {self.id}", faults)
        return tuple(found)


def _reading(rules: Rules) -> tuple[tuple[str, str], ...]:
    """How maintenance tables are read, in shared pools and in pockets."""
    slots = (rules.slots_for(isolated=law).maintenance_margin for law in (False, True))
    return tuple((slot.kind, slot.key) for slot in slots)
