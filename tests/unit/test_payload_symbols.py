"""Venue names of contracts and their unified symbols, as each venue's API pages write them."""

import pytest

from crossmargin.files.payloads.symbols import STYLES, unified

NAMES = [
    ("binance", "BTCUSDT", "BTC/USDT:USDT"),
    ("binance", "1000PEPEUSDC", "1000PEPE/USDC:USDC"),
    ("binance", "BTCUSDT_260925", "BTC/USDT:USDT-260925"),
    ("binance", "BTCUSD_PERP", "BTC/USD:BTC"),
    ("binance", "BTCUSD_210625", "BTC/USD:BTC-210625"),
    ("bybit", "BTCPERP", "BTC/USDC:USDC"),
    ("bybit", "BTCUSD", "BTC/USD:BTC"),
    ("bybit", "BTC-26DEC25", "BTC/USDC:USDC-251226"),
    ("bybit", "ETHUSDT-26DEC25", "ETH/USDT:USDT-251226"),
    # the last Friday: 26 December 2025, 27 March 2026
    ("bybit", "BTCUSDZ25", "BTC/USD:BTC-251226"),
    ("kucoin", "XBTMH26", "BTC/USD:BTC-260327"),
    ("kucoin", "XBTUSDTM", "BTC/USDT:USDT"),
    ("kucoin", "XBTUSDM", "BTC/USD:BTC"),
    ("kucoin", "ETHUSDCM", "ETH/USDC:USDC"),
    ("dashed", "BTC-USDT", "BTC/USDT:USDT"),
    ("dashed", "SOL-USD", "SOL/USD:SOL"),
    ("dashed", "LTC/USDT", "LTC/USDT:USDT"),
    ("okx", "BTC-USDT-SWAP", "BTC/USDT:USDT"),
    ("okx", "BTC-USD-240628", "BTC/USD:BTC-240628"),
    ("underscored", "BTC_USDT", "BTC/USDT:USDT"),
    ("underscored", "BTC_USDT_20240628", "BTC/USDT:USDT-240628"),
    ("underscored", "BTC_USD", "BTC/USD:BTC"),
    ("bitget", "BTCUSDT_UMCBL", "BTC/USDT:USDT"),
    ("bitget", "ETHPERP_CMCBL", "ETH/USDC:USDC"),
    ("bitget", "BTCUSDT", "BTC/USDT:USDT"),
    ("deribit", "BTC-PERPETUAL", "BTC/USD:BTC"),
    ("deribit", "SOL_USDC-PERPETUAL", "SOL/USDC:USDC"),
    ("deribit", "BTC-3JAN25", "BTC/USD:BTC-250103"),
    ("hyperliquid", "kPEPE", "kPEPE/USDC:USDC"),
    ("cryptocom", "BTCUSD-PERP", "BTC/USD:USD"),
    ("whitebit", "BTC_PERP", "BTC/USDT:USDT"),
    ("crossex", "BINANCE_FUTURE_ETH_USDT", "ETH/USDT:USDT"),
]


@pytest.mark.parametrize(("style", "name", "symbol"), NAMES)
def test_a_venue_name_becomes_its_unified_symbol(style: str, name: str, symbol: str) -> None:
    assert unified(style, name) == symbol


def test_every_style_has_a_name_here() -> None:
    assert {style for style, _, _ in NAMES} | {"glued"} == set(STYLES)


@pytest.mark.parametrize(
    ("style", "name", "why"),
    [
        ("deribit", "BTC-27DEC24-50000-C", "is an option"),
        ("bybit", "BTC-26DEC25-100000-P-USDT", "is an option"),
        ("okx", "LTC-USDT", "no contract name|not a contract name"),
        ("hyperliquid", "xyz:NVDA", "collateral is apart"),
        ("binance", "HELLO", "not a contract name"),
        ("binance", "", "not a contract name"),
        ("bybit", "BTC-99DEC25", "expires on 99DEC25, which is no date"),
    ],
)
def test_a_name_that_is_no_contract_is_refused_with_the_reason(style: str, name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        unified(style, name)
