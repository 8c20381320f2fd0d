"""Every formula of the field, once, as a small scalar function.

Written with operators, ``min`` and ``max`` only, so that the same text runs on exact decimals (the judge), on
floats (back-tests, the compiled runner) and on numbers along a line of prices (:mod:`crossmargin.engine.ray`).

Units: ``size`` is signed and counts coins (linear) or quote units (inverse): contracts x contract size. PnL,
notional and requirements are in the settle asset. Rates are fractions.
"""

from __future__ import annotations

from typing import Any

# Any: decimals, floats and rays share operators but no common static type
Num = Any


def linear_pnl(size: Num, entry_price: Num, price: Num) -> Num:
    """PnL of a linear contract: size x (price - entry). Source: every venue's USDT-margined contract page.

    >>> linear_pnl(-2, 100, 90)
    20
    """
    return size * (price - entry_price)


def inverse_pnl(size: Num, entry_price: Num, price: Num) -> Num:
    """PnL of an inverse contract in the coin: size x (1/entry - 1/price). Source: Binance COIN-M FAQ ceccfcfb….

    >>> inverse_pnl(100.0, 50.0, 100.0)
    1.0
    """
    return size * (1 / entry_price - 1 / price)


def linear_notional(size: Num, price: Num) -> Num:
    """Value of a linear contract: |size| x price, 0 or more.

    >>> linear_notional(-3, 10)
    30
    """
    return abs(size) * price


def inverse_notional(size: Num, price: Num) -> Num:
    """Value of an inverse contract in the coin: |size| / price, 0 or more.

    >>> inverse_notional(-100, 50)
    2.0
    """
    return abs(size) / price


def bracket_deduction(floor: Num, rate: Num, previous_rate: Num, previous_deduction: Num) -> Num:
    """The deduction that keeps a marginal table continuous at ``floor``. Source: Binance FAQ b3c689c1… (cum).

    >>> bracket_deduction(250000, 0.01, 0.005, 50)
    1300.0
    """
    return previous_deduction + floor * (rate - previous_rate)


def bracket_requirement(notional: Num, rate: Num, deduction: Num) -> Num:
    """Margin in one bracket of a marginal table: notional x rate - deduction.

    >>> bracket_requirement(50000, 0.005, 50)
    200.0
    """
    return notional * rate - deduction


def share_of(value: Num, rate: Num) -> Num:
    """A share of a value: a fee, a step bracket, a fraction of the initial margin.

    >>> share_of(200, 0.5)
    100.0
    """
    return value * rate


def leverage_requirement(notional: Num, leverage: Num) -> Num:
    """Initial margin at a leverage: notional / leverage, leverage 1 or more.

    >>> leverage_requirement(40000, 50)
    800.0
    """
    return notional / leverage


def size_rate(rate: Num, slope: Num, size: Num) -> Num:
    """A rate that grows with the size: rate + slope x |size|. Source: Deribit linear perpetuals, 25944738177565.

    >>> size_rate(0.01, 0.00005, -25)
    0.01125
    """
    return rate + slope * abs(size)


def half_of_max_leverage(max_leverage: Num) -> Num:
    """Maintenance rate as half the initial rate at the maximum leverage. Source: Hyperliquid margin tiers.

    >>> half_of_max_leverage(40)
    0.0125
    """
    return 1 / (2 * max_leverage)


def cross_bankruptcy_value(entry_value: Num, loss_sign: int, leverage: Num) -> Num:
    """Value of a position where a loss of 1/leverage has used its initial margin: entry x (1 + sign/leverage).

    ``loss_sign`` is the direction of value that loses: -1 for a linear long or an inverse short, +1 for a linear
    short or an inverse long. Source: Bybit, bankruptcy price EP x (1 -/+ 1/leverage).

    >>> cross_bankruptcy_value(60000, -1, 50)
    58800.0
    """
    return entry_value * (1 + loss_sign / leverage)


def isolated_bankruptcy_value(entry_value: Num, loss_sign: int, margin: Num, fee_rate: Num) -> Num:
    """Value at which a pocket's margin, net of the fee to close there, is used up; 0 where it never is.

    Solves margin - fee x value = loss(value). Source: Bybit's isolated liquidation price with extra margin / (1 - f).

    >>> isolated_bankruptcy_value(40000.0, -1, 800.0, 0.0)
    39200.0
    """
    return max(0 * entry_value, (entry_value + loss_sign * margin) / (1 + loss_sign * fee_rate))


def value_against(value: Num, loss_sign: int, share: Num) -> Num:
    """Value of a position after a move against it that costs ``share`` of the value: value x (1 + sign x share).

    ``loss_sign`` as in :func:`cross_bankruptcy_value`. With the pool's equity over the value of all its positions as
    the share, it is the value at which the pool is left with nothing. Source: the pro-rata rule of docs/cascade.md.

    >>> value_against(8000, -1, 0.125)
    7000.0
    """
    return value * (1 + loss_sign * share)


def deleveraging_rank(pnl: Num, entry_value: Num, value: Num, equity: Num) -> Num:
    """Place in the queue of auto-deleveraging: profit over entry value x value over account equity, highest first.

    Source: Bybit and Binance rank by profit x effective leverage; Hyperliquid by price ratio x the same leverage.

    >>> deleveraging_rank(2000, 10000, 8000, 4000)
    0.4
    """
    return pnl / entry_value * value / equity


def open_loss(size: Num, mark_price: Num, order_price: Num) -> Num:
    """Loss an order would open with: max(0, size x (order - mark)) for a linear contract. Source: Binance 87fa7ee3….

    >>> open_loss(1, 9259.84, 9253.3)
    0
    """
    return max(0, size * (order_price - mark_price))


def tier_credit(floor: Num, ratio: Num, previous_ratio: Num, previous_credit: Num) -> Num:
    """The credit that keeps a marginal collateral table continuous at ``floor``.

    >>> tier_credit(10, 0.5, 1, 0)
    5.0
    """
    return previous_credit + floor * (previous_ratio - ratio)


def tier_amount(amount: Num, ratio: Num, credit: Num) -> Num:
    """What a positive amount counts for in one tier of a marginal collateral table: amount x ratio + credit.

    >>> tier_amount(20, 0.5, 2)
    12.0
    """
    return amount * ratio + credit


def flat_amount(amount: Num, collateral_ratio: Num, liability_ratio: Num) -> Num:
    """Amount after haircut; a debt counts ``liability_ratio``: min(amount x ratio, amount x liability ratio).

    Exact for ratio <= liability ratio, whatever the sign. Source: Binance Portfolio Margin FAQ 4868b2f1….

    >>> flat_amount(-2, 0.9, 1)
    -2
    """
    return min(amount * collateral_ratio, amount * liability_ratio)


def debt_rate(rate: Num, fee: Num) -> Num:
    """What a debt holds of its value, the fee to buy it back included: (1 + rate)(1 + fee) - 1.

    Source: OKX isolated margin mode 6997123251341, liquidation price = assets / (debt x (1 + MMR) x (1 + taker fee)).

    >>> debt_rate(0.5, 0.5)
    1.25
    """
    return (1 + rate) * (1 + fee) - 1


def bid_ask_value(amount: Num, bid_rate: Num, ask_rate: Num) -> Num:
    """Value of an amount: owned at the bid rate, owed at the ask rate. Source: Binance Multi-Assets c983a926….

    >>> bid_ask_value(-10, 0.98, 1.02)
    -10.2
    """
    return min(amount * bid_rate, amount * ask_rate)


def funding_payment(size: Num, notional: Num, rate: Num) -> Num:
    """Funding that one interval costs: notional x rate, paid by longs and received by shorts; below 0 = received.

    Source: Bybit, funding fee = position value x funding rate.

    >>> funding_payment(-2, 100, 0.5)
    -50.0
    """
    return notional * rate if size > 0 else -(notional * rate)


def spot_offset(net_value: Num, spot_value: Num) -> Num:
    """How much of a net contract value spot of the same coin hedges, 0 or more: opposite sides, the smaller one.

    Source: OKX portfolio margin, spot-derivatives offset (2025-01-02); Bybit, spot hedging.

    >>> spot_offset(-10, 15)
    10
    """
    return max(0, min(-net_value, spot_value)) + max(0, min(net_value, -spot_value))


def assuming_price(order_price: Num, mark_price: Num, last_price: Num, markup: Num) -> Num:
    """The price a resting sell is taken at: max(last x (1 + markup), mark, its own). Source: Binance 87fa7ee3… (2026).

    >>> assuming_price(100, 99, 98, 0.0)
    100
    """
    return max(last_price * (1 + markup), mark_price, order_price)


def burnt_bonus(cost: Num, bonus: Num, own: Num, share: Num, first: bool) -> Num:
    """How much of a cost bonus credit pays: its share of it, before own funds or only beyond them, at most what it is.

    Source: MEXC futures bonus 360054857791 (bonus first), BingX trial fund 11494211324943 (own funds first, shares).

    >>> burnt_bonus(3, 2, 10, 1, True)
    2
    """
    return max(0, min(bonus, (cost if first else cost - max(0, own)) * share))


def headroom(equity: Num, requirement: Num) -> Num:
    """Equity minus requirement: above 0 the pool stands.

    >>> headroom(4500, 5000)
    -500
    """
    return equity - requirement
