"""The article's six accounts through every verb: figures by hand, exit codes by what they say of the account.

The accounts are those of conformance/article.toml; the arithmetic stands beside each figure. H is headroom, x, y the
moves of two coins. Exit codes: 0 healthy, 3 a warning level after the change, 4 liquidatable, 5 unknown.
"""

from __future__ import annotations

import math
from fractions import Fraction as F
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from asking import asked, check, given
from crossmargin.apps.cli import app

BTC, ETH, SOL = (f"{coin}/USDT:USDT" for coin in ("BTC", "ETH", "SOL"))
POOLS = "article-2.1-cross-opens-both"
LOSS = "article-3.1-loss"
COLLATERAL = "article-unified-btc-collateral"
HEDGE = "article-hedge-at-rest"
FUNDING = "article-funding-start"
NEIGHBOUR = "article-neighbour-before"
ACCOUNTS = (POOLS, LOSS, COLLATERAL, HEDGE, FUNDING, NEIGHBOUR)

Case = tuple[str, str, int, dict[str, Any]]
"""(account, verb and options, exit code, figures)."""


def of(symbol: str) -> str:
    return f"thresholds[symbol={symbol}]"


# 1. One pool or two pockets: 2,000; 0.05 BTC at 100,000 (5x) and 1 ETH at 4,000 (8x); 0.5 %.
#    IM 1,000 + 500, MM 25 + 20, H = 1,955 + 4,975 x + 3,980 y (a dollar of BTC moves it by 0.05 x 0.995 = 0.04975)
POOLS_ASKED: list[Case] = [
    (POOLS, "evaluate", 0, {"equity": 2000, "initial_margin": 1500, "maintenance_margin": 45, "headroom": 1955}),
    (POOLS, "explain", 0, {"lines[0].value": 1955}),
    (
        POOLS,
        "threshold",
        0,
        {
            f"{of(BTC)}.below.price": 100000 * (1 - F(1955, 4975)),
            f"{of(ETH)}.below.price": 4000 * (1 - F(1955, 3980)),
            "common_shock.below.distance": -F(1955, 8955),
            "common_shock.above.kind": "never",
        },
    ),
    # one ETH more at the mark: another 500 of IM and 20 of MM. 2,000 of 2,000 is admitted, and stands at the warning
    (
        POOLS,
        f"whatif --order {ETH}=1",
        3,
        {"verdict": "accepted", "after.free_collateral": 0, "difference.headroom": -20},
    ),
    # a tenth of an ETH more than that is refused: 50 short
    (
        POOLS,
        f"whatif --order {ETH}=1.1",
        3,
        {"verdict": "refused", "after.free_collateral": -50, "steps[0].verdict": "refused"},
    ),
    # 500 free at 5x carry 2,500 of BTC
    (POOLS, f"max-order {BTC} buy", 0, {"quantity": F(25, 1000), "binding": "free_collateral of account"}),
    (POOLS, "max-withdraw USDT", 0, {"amount": 500}),
    # in pockets of their own initial margins: 1,000 - 25 and 500 - 20 stand above; 500 stay free either way
    (
        POOLS,
        "compare",
        0,
        {
            "rows[mode=cross].headroom": 1955,
            "rows[mode=isolated].headroom": 480,
            "rows[mode=isolated].free_collateral": 500,
            "rows[mode=cross].largest_scale": F(2000, 1500),
        },
    ),
    # BTC 12 % down is the loss of 600 of the article: 1,400 left, MM 22 + 20
    (POOLS, "stress --move BTC=-0.12 --move ETH=0", 0, {"outcomes[0].equity": 1400, "outcomes[0].headroom": 1358}),
    # b'Sb = (0.0016 x 4,975 + 0.0012 x 3,980) x 4,975 + (0.0012 x 4,975 + 0.0025 x 3,980) x 3,980 = 126,723.2
    (
        POOLS,
        "reverse-stress --volatility BTC=0.04 --volatility ETH=0.05 --correlation 0.6",
        0,
        {"reverse_stress.distance": 1955 / math.sqrt(126723.2), "reverse_stress.proved": True},
    ),
    (POOLS, "sensitivity", 0, {"slopes[kind=coin].up": F(4975, 100000), "account_pool": "account"}),
    (POOLS, "runway", 5, {"runways[0].kind": "unknown"}),  # no funding rate is given
    (POOLS, "hedge", 0, {"requirements[0].marginal_maintenance": 25, "requirements[1].marginal_maintenance": 20}),
    # both fall by 1,955/8,955; equity is then what is required, 0.5 % of what is left of 9,000, and the owner keeps it
    (
        POOLS,
        "cascade",
        0,
        {
            "cascades[0].distance": -F(1955, 8955),
            "cascades[0].equity_at_fill": F(45) * (1 - F(1955, 8955)),
            "cascades[0].equity_after": F(45) * (1 - F(1955, 8955)),
        },
    ),
]

# 2. Three positions, one equity: 10,000 and PnL of 2,000, 0 and -7,500; MM 2 % of 100,000 + 75,000 + 75,000.
LOSS_ASKED: list[Case] = [
    (LOSS, "evaluate", 4, {"equity": 4500, "maintenance_margin": 5000, "headroom": -500, "margin_ratio": F(10, 9)}),
    (LOSS, "explain", 0, {"lines[0].value": -500}),
    (LOSS, "threshold", 4, {f"{of(SOL)}.below.kind": "already", "common_shock.above.kind": "already"}),
    # 600 more: 5,100 against 5,000, but 10,000 would be needed to open: a warning
    (LOSS, "whatif --deposit USDT=600", 3, {"after.headroom": 100, "after.status": "warning"}),
    (LOSS, f"max-order {BTC} buy", 4, {"quantity": 0}),
    (LOSS, "max-withdraw USDT", 4, {"amount": 0}),
    # 4,500 carry 45 % of what needs 10,000 to open
    (LOSS, "compare", 4, {"rows[mode=cross].largest_scale": F(45, 100), "rows[mode=cross].admitted": False}),
    # everything 2 % up: +2,000 + 1,500 + 1,500, MM 5,100
    (LOSS, "stress --others=0.02", 4, {"outcomes[0].equity": 9500, "outcomes[0].headroom": 4400}),
    (LOSS, "reverse-stress --volatility BTC=0.04 --volatility ETH=0.05 --volatility SOL=0.06", 4,
     {"reverse_stress.kind": "already", "reverse_stress.distance": 0}),
    (LOSS, "sensitivity", 4, {"slopes[name=SOL].up": F(500) * F(98, 100)}),
    (LOSS, "runway", 4, {"runways[0].kind": "already"}),
    (LOSS, "hedge", 4, {"requirements[symbol=BTC/USDT:USDT].marginal_maintenance": 2000}),
    # closed at the mark: the 4,500 stay, nothing is owed
    (LOSS, "cascade", 4, {"cascades[0].kind": "already", "cascades[0].equity_after": 4500}),
]  # fmt: skip

# 3. Collateral that moves: 1 BTC at 95 % and a long of 3 from 60,000; 0.5 %. IM 18,000, MM 900.
#    H = 56,100 + (57,000 + 180,000 - 900) x
COLLATERAL_ASKED: list[Case] = [
    (COLLATERAL, "evaluate", 0, {"equity": 57000, "free_collateral": 39000, "headroom": 56100}),
    (COLLATERAL, "explain", 0, {"lines[0].value": 56100}),
    (COLLATERAL, "threshold", 0, {f"{of(BTC)}.below.price": 60000 * (1 - F(56100, 236100))}),
    # with the collateral frozen: 56,100 + (180,000 - 900) x
    (COLLATERAL, "threshold --frozen", 0, {f"{of(BTC)}.below.price": 60000 * (1 - F(56100, 179100))}),
    # 20 % down: 45,600 - 36,000 = 9,600, MM 720; 14,400 would be needed to open
    (COLLATERAL, "whatif --move BTC=-0.2", 3, {"after.equity": 9600, "after.headroom": 8880}),
    (COLLATERAL, f"max-order {BTC} buy", 0, {"quantity": F(39000, 6000)}),
    (COLLATERAL, "max-withdraw BTC", 0, {"amount": F(39000, 57000)}),
    (COLLATERAL, "compare", 0, {"rows[mode=cross].headroom": 56100, "rows[mode=cross].largest_scale": F(57, 18)}),
    (COLLATERAL, "stress --move BTC=-0.5", 0, {"outcomes[0].equity": 28500 - 90000, "outcomes[0].headroom": -61950}),
    (COLLATERAL, "reverse-stress --volatility BTC=0.05", 0, {"reverse_stress.distance": F(56100, 236100) * 20}),
    (COLLATERAL, "sensitivity", 0, {"slopes[kind=coin].up": F(236100, 60000)}),
    (COLLATERAL, "runway", 5, {"runways[0].kind": "unknown"}),
    (COLLATERAL, "hedge", 0, {"requirements[0].headroom_without": 57000}),
    (COLLATERAL, "cascade", 0, {"cascades[0].distance": -F(56100, 236100)}),
]

# 4. A hedge that is none: short 20 ETH from 3,000, long 400 SOL from 150, 10,000; 1 %.
#    IM 3,000 + 3,000, MM 600 + 600, H = 8,800 - 60,600 x + 59,400 y
HEDGE_ASKED: list[Case] = [
    (HEDGE, "evaluate", 0, {"headroom": 8800, "free_collateral": 4000}),
    (HEDGE, "explain", 0, {"lines[0].value": 8800}),
    (
        HEDGE,
        "threshold",
        0,
        {
            f"{of(ETH)}.above.price": 3000 * (1 + F(8800, 60600)),
            f"{of(SOL)}.below.price": 150 * (1 - F(8800, 59400)),
            "common_shock.below.kind": "never",
            "common_shock.above.distance": F(8800, 1200),
        },
    ),
    # ETH 20 % down earns 12,000, SOL 37.5 % down loses 22,500; MM 480 + 375
    (HEDGE, "whatif --move ETH=-0.2 --move SOL=-0.375", 4, {"after.equity": -500, "after.headroom": -1355}),
    (HEDGE, "stress --move ETH=-0.2 --move SOL=-0.375", 0,
     {"outcomes[0].headroom": -1355, "outcomes[0].status": "liquidation"}),
    (HEDGE, f"max-order {ETH} sell", 0, {"quantity": F(4000 * 20, 3000)}),
    (HEDGE, "max-withdraw USDT", 0, {"amount": 4000}),
    # two pockets of 3,000: each stands 2,400 above its 600
    (HEDGE, "compare", 0, {"rows[mode=cross].headroom": 8800, "rows[mode=isolated].headroom": 2400}),
    (HEDGE, "reverse-stress --volatility ETH=0.05 --volatility SOL=0.05 --correlation 0.6", 0,
     {"reverse_stress.distance": 8800 / math.sqrt(0.0025 * (60600**2 + 59400**2 - 1.2 * 60600 * 59400))}),
    (HEDGE, "sensitivity", 0, {"slopes[name=ETH].up": -F(2020, 100), "slopes[name=SOL].up": 396}),
    (HEDGE, "runway", 5, {"runways[0].kind": "unknown"}),
    (HEDGE, "hedge", 0, {"requirements[0].headroom_without": 9400}),
    (HEDGE, "cascade", 0, {"cascades[0].kind": "never", "cascades[0].equity_after": 10000}),
    (HEDGE, "cascade --up", 0, {"cascades[0].distance": F(8800, 1200)}),
]  # fmt: skip

# 5. Funding: a long of 3 BTC at 60,000 (50x) on 10,000; 0.5 %, 0.01 % every 8 hours.
#    IM 3,600, MM 900, H = 9,100 + 179,100 x; a payment is 18
FUNDING_ASKED: list[Case] = [
    (FUNDING, "evaluate", 0, {"headroom": 9100, "free_collateral": 6400}),
    (FUNDING, "explain", 0, {"lines[0].value": 9100}),
    (FUNDING, "threshold", 0, {f"{of(BTC)}.below.price": 60000 * (1 - F(9100, 179100))}),
    # 5,400 paid over 300 intervals: 4,600 left, 3,700 above
    (FUNDING, "whatif --withdraw USDT=5400", 0,
     {"after.headroom": 3700, f"thresholds_after.{of(BTC)}.below.price": 60000 * (1 - F(3700, 179100))}),
    (FUNDING, f"max-order {BTC} buy", 0, {"quantity": F(6400, 1200)}),
    (FUNDING, "max-withdraw USDT", 0, {"amount": 6400}),
    (FUNDING, "compare", 0, {"rows[mode=cross].largest_scale": F(10000, 3600)}),
    # 5 % down: 1,000 left, MM 855
    (FUNDING, "stress --move BTC=-0.05", 0, {"outcomes[0].equity": 1000, "outcomes[0].headroom": 145}),
    (FUNDING, "reverse-stress --volatility BTC=0.05", 0, {"reverse_stress.distance": F(9100, 179100) * 20}),
    (FUNDING, "sensitivity", 0, {"slopes[kind=funding_rate].up": -180000}),
    # 9,100 / 18 = 505.56 payments of 8 hours: gone with the 506th, at midnight, 168 days and 16 hours from 8:00
    (FUNDING, "runway", 0, {"payments[0].payment": 18, "runways[0].hours": F(9100, 18) * 8,
                            "runways[0].interval_end": "2027-05-08T00:00:00Z"}),
    (FUNDING, "hedge", 0, {"requirements[0].marginal_initial": 3600}),
    (FUNDING, "cascade", 0, {"cascades[0].distance": -F(9100, 179100)}),
]  # fmt: skip

# 6. One position moves the other's threshold: 1 BTC at 60,000 and 20 ETH at 3,000 (20x) on 10,000; 0.5 %.
#    IM 3,000 + 3,000, MM 300 + 300, H = 9,400 + 59,700 x + 59,700 y
NEIGHBOUR_ASKED: list[Case] = [
    (NEIGHBOUR, "evaluate", 0, {"headroom": 9400}),
    (NEIGHBOUR, "explain", 0, {"lines[0].value": 9400}),
    (NEIGHBOUR, "threshold", 0, {f"{of(BTC)}.below.price": 60000 * (1 - F(9400, 59700))}),
    # ETH 10 % down takes 6,000: BTC is then safe down to 60,000 (1 - 3,430 / 59,700) only; 5,700 of 4,000 to open
    (NEIGHBOUR, "whatif --move ETH=-0.1", 3,
     {"after.headroom": 3430, f"thresholds_after.{of(BTC)}.below.price": 60000 * (1 - F(3430, 59700))}),
    (NEIGHBOUR, f"max-order {BTC} buy", 0, {"quantity": F(4000, 3000)}),
    (NEIGHBOUR, "max-withdraw USDT", 0, {"amount": 4000}),
    (NEIGHBOUR, "compare", 0, {"rows[mode=isolated].headroom": 2700}),
    (NEIGHBOUR, "stress --others=-0.1", 0, {"outcomes[0].equity": -2000, "outcomes[0].headroom": -2540}),
    # uncorrelated, 5 % each: 9,400 / (59,700 x 0.05 x sqrt(2))
    (NEIGHBOUR, "reverse-stress --volatility BTC=0.05 --volatility ETH=0.05", 0,
     {"reverse_stress.distance": 9400 / (59700 * 0.05 * math.sqrt(2))}),
    (NEIGHBOUR, "sensitivity", 0, {"slopes[name=ETH].up": F(1990, 100)}),
    (NEIGHBOUR, "runway", 5, {"runways[0].kind": "unknown"}),
    (NEIGHBOUR, "hedge", 0, {"requirements[0].marginal_maintenance": 300}),
    (NEIGHBOUR, "cascade", 0, {"cascades[0].distance": -F(9400, 119400)}),
]  # fmt: skip

ASKED = [*POOLS_ASKED, *LOSS_ASKED, *COLLATERAL_ASKED, *HEDGE_ASKED, *FUNDING_ASKED, *NEIGHBOUR_ASKED]
VERBS = {
    "evaluate", "explain", "threshold", "whatif", "max-order", "max-withdraw", "compare", "stress", "reverse-stress",
    "sensitivity", "runway", "hedge", "cascade",
}  # fmt: skip
"""Every verb that answers in JSON; check and report answer otherwise and are asked below."""


@pytest.mark.parametrize(("account", "words", "code", "figures"), ASKED, ids=[f"{a}: {w}" for a, w, *_ in ASKED])
def test_figures_and_exit_codes(account: str, words: str, code: int, figures: dict[str, Any]):
    found = asked(given("article", account), *words.split())
    check(found[1], figures)
    assert found[0] == code


@pytest.mark.parametrize("account", ACCOUNTS)
def test_every_verb_is_asked_of_every_account(account: str):
    assert {words.split()[0] for name, words, *_ in ASKED if name == account} == VERBS


@pytest.mark.parametrize("account", ACCOUNTS)
def test_checked_and_reported(account: str, tmp_path: Path):
    text, page = given("article", account), tmp_path / "page.html"
    good = CliRunner().invoke(app, ["check", "-"], input=text)
    assert good.exit_code == 0 and "good" in good.stdout
    written = CliRunner().invoke(app, ["report", "-", "--html", str(page)], input=text)
    assert written.exit_code == 0
    assert page.read_text().count("Not answered") <= 1  # funding, where no rate is given


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_bad_input_is_2_for_every_verb(verb: str):
    """A position without a price: named, and never a verdict."""
    text = given("article", POOLS).replace(f'"{BTC}": "100000"', "").replace('{, "', '{"')
    options = {"max-order": [BTC, "buy"], "max-withdraw": ["USDT"], "whatif": ["--deposit", "USDT=1"],
               "reverse-stress": ["--volatility", "BTC=0.04", "--volatility", "ETH=0.05"]}  # fmt: skip
    found = CliRunner().invoke(app, [verb, "-", *options.get(verb, [])], input=text)
    code = getattr(found.exception, "exit_code", found.exit_code)
    assert code == 5, found.output  # data that is missing, not a file that is malformed
    malformed = CliRunner().invoke(app, [verb, "-", *options.get(verb, [])], input="profile = ")
    assert getattr(malformed.exception, "exit_code", malformed.exit_code) == 2
