"""Was the funding that a venue took the one that size, price and rate come to?"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from crossmargin.engine import formulas
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.number import plain
from crossmargin.model.payment import PaidFunding
from crossmargin.model.profile import Rules
from crossmargin.model.reported import unit_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """What a payment should have been, in its currency, and how far the printed rate and value leave it open.

    ``payment`` is None where the row does not carry what it takes, with the ``reason``. ``slack`` is one unit of the
    rate's last printed digit on the value, and one of the value's at the rate.
    """

    payment: Decimal | None
    slack: Decimal
    reason: str | None


def recompute(paid: PaidFunding, rules: Rules) -> Recomputed:
    """The payment by the row's own figures: value x rate, paid by longs and received by shorts.

    The value is the printed one, else size x price with the contract size of the rules. Nothing is raised: what is
    missing is the reason. Source: :func:`crossmargin.engine.formulas.funding_payment`.
    """
    notional, why = _notional(paid, rules)
    rate = paid.fee_rate if paid.fee_rate is not None else paid.funding_rate
    if rate is None or notional is None:
        missing = [word for word, known in (("rate", rate), ("value", notional)) if known is None]
        return Recomputed(payment=None, slack=Decimal(0), reason=f"the row carries no {' and no '.join(missing)}{why}")
    # a value that was printed is known to its last digit; a product is as exact as what it is made of
    slack = unit_of(rate) * notional + (unit_of(paid.notional) * abs(rate) if paid.notional is not None else Decimal(0))
    if paid.fee_rate is not None:
        return Recomputed(payment=formulas.share_of(notional, rate), slack=slack, reason=None)
    if paid.long is None:
        return Recomputed(payment=None, slack=slack, reason="the row does not say whether a long or a short paid")
    size = Decimal(1) if paid.long else Decimal(-1)
    return Recomputed(payment=formulas.funding_payment(size, notional, rate), slack=slack, reason=None)


def words_of_slack(paid: PaidFunding) -> str:
    """Why a payment within the slack is no difference."""
    rate = paid.fee_rate if paid.fee_rate is not None else paid.funding_rate
    return f"the rate {plain(rate or Decimal(0))} is printed to {plain(unit_of(rate))}, which leaves this much open"


def _notional(paid: PaidFunding, rules: Rules) -> tuple[Decimal | None, str]:
    if paid.notional is not None:
        return paid.notional, ""
    if paid.quantity is None or paid.price is None:
        missing = [word for word, known in (("size", paid.quantity), ("price", paid.price)) if known is None]
        return None, f" (it prints no {' and no '.join(missing)})"
    if paid.symbol is None:
        return None, " (it names no contract, so the size of one is unknown)"
    contract_size = rules.contract_size(paid.symbol)
    if contract_size is None:
        return None, f" ({rules.profile} does not know the contract size; add [[instruments]] with contract_size)"
    inverse = parse_symbol(paid.symbol).kind == "inverse"
    value = formulas.inverse_notional if inverse else formulas.linear_notional
    found: Decimal = value(paid.quantity * contract_size, paid.price)
    return found, ""
