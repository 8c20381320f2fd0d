"""What other projects show wrong, or show right, asked on the command line: our figure and the arithmetic of it.

The accounts are those of conformance/peers.toml; the peer's own figure stands in the comment.
"""

from __future__ import annotations

from fractions import Fraction as F
from typing import Any

import pytest

from asking import asked, check, given

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


def of(symbol: str) -> str:
    return f"thresholds[symbol={symbol}]"


ASKED: list[tuple[str, str, int, dict[str, Any]]] = [
    # H = 5 - 4.4 + 0.996 (P - 100); with the other 4.0 left out there would be 4.6 of room, down to 95.40
    ("torchtrade-344-long", "threshold", 0, {f"{of(BTC)}.below.price": 100 - F(6, 10) / F(996, 1000)}),
    # 5 - 4.4 - 1.004 (P - 100)
    ("torchtrade-344-short", "threshold", 0, {f"{of(BTC)}.above.price": 100 + F(6, 10) / F(1004, 1000)}),
    # at 97 and at 103, inside the 4.6 that is not there: equity 2, MM 0.388 (0.412) + 4
    ("torchtrade-344-long", f"whatif --price {BTC}=97", 4, {"after.headroom": 2 - F(4388, 1000)}),
    ("torchtrade-344-short", f"whatif --price {BTC}=103", 4, {"after.headroom": 2 - F(4412, 1000)}),
    # 3 % down, the same
    ("torchtrade-344-long", "stress --move BTC=-0.03", 0, {"outcomes[0].status": "liquidation"}),
    # P - 20,025 = 0.05 (P + 20,000); with BTC's own 3 % the peer's view shows 20,625 / 0.97 = 21,262.89
    ("jojo-threshold-t1", "threshold", 0, {f"{of(BTC)}.below.price": F(21025) / F(95, 100)}),
    ("jojo-threshold-t1", f"whatif --price {BTC}=22000", 4, {"after.equity": 1975, "after.maintenance_margin": 2100}),
    # two shorts: 10,000 + 29,997 - P - 2 = 0.05 (P + 20,000), 1.05 P = 38,995; the peer shows 38,247.57
    ("jojo-threshold-t2", "threshold", 0, {f"{of(BTC)}.above.price": F(38995) / F(105, 100)}),
    ("jojo-threshold-t2", f"whatif --price {BTC}=38000", 4, {"after.equity": 1995, "after.maintenance_margin": 2900}),
    # equity 9,000 = 3 % of 300,000 is still safe there, at 0.01 less it is not
    ("jojo-funding-1-t1", "evaluate", 5, {"headroom": 0, "status": "healthy"}),  # 5: no leverage, so no initial margin
    ("jojo-funding-1-t1", f"whatif --price {BTC}=29999.999", 4, {"after.status": "liquidation"}),
    # neutral in price: 2,500 f reaches 20,000 at f = 8, and no fall breaks it
    ("crossex-usdt-only-pair", "threshold", 0, {"common_shock.above.distance": 7, "common_shock.below.kind": "never"}),
    ("crossex-usdt-only-pair", "hedge", 5, {"pairs[0].margin_neutral": False, "pairs[0].above.distance": 7}),
    ("crossex-usdt-only-pair", "stress --move ETH=7.01", 0, {"outcomes[0].headroom": 20000 - 2500 * F(801, 100)}),
    # the peer takes 640 = value / 25 as maintenance too; 0.5 % is 80, and 9.95 P = 6,000
    ("lean-shared-collateral", "evaluate", 0, {"initial_margin": 640, "maintenance_margin": 80}),
    ("lean-shared-collateral", "threshold", 0, {"thresholds[symbol=ETH/USDC:USDC].below.price": F(6000) / F(995, 100)}),
    # half a BTC at 16,000 without a haircut, 20 % down
    ("lean-btc-collateral", "stress --move BTC=-0.2", 0, {"outcomes[0].equity": 6400}),
    # 2,000 lost: 0.05 BTC bring 1,500, the fund pays 500, as the peer has it
    (
        "flox-collateral-short-of-loss",
        "cascade",
        4,
        {
            "cascades[0].steps[step=repay].entries[what=BTC].quantity": F(-5, 100),
            "cascades[0].bills[0].insurance_fund": -500,
            "cascades[0].equity_after": 0,
        },
    ),
    # 50 (P - 100) + 1,000 = 0.05 (50 P + 5,000): 47.5 P = 4,250; at 85 it is closed whole, and 250 are the owner's
    ("flox-solvent", "threshold", 0, {f"{of(BTC)}.below.price": F(4250) / F(475, 10)}),
    ("flox-liquidated", "cascade", 4, {"cascades[0].kind": "already", "cascades[0].equity_after": 250}),
    # a profit on paper of 500 counts as equity, and may leave where 550 stay behind
    ("flox-withdrawal", "evaluate", 0, {"equity": 1500, "free_collateral": 950}),
    # two longs at 759.5: equity 259.5 = 59,500 x 0.5 % - 50 + 12, to the last digit
    ("vibe-cross-at-threshold", "threshold", 4, {"common_shock.below.kind": "already"}),
    # 10 BTC from 50,000 on 100,000, at 42,000: 20,000 against 3 %, which is 12,600; 9.7 P = 400,000
    ("tembolo-1-healthy", "threshold", 0, {f"{of(BTC)}.below.price": F(400000) / F(97, 10)}),
]


@pytest.mark.parametrize(("account", "words", "code", "figures"), ASKED, ids=[f"{a}: {w}" for a, w, *_ in ASKED])
def test_the_true_figure(account: str, words: str, code: int, figures: dict[str, Any]):
    found = asked(given("peers", account), *words.split())
    check(found[1], figures)
    assert found[0] == code


def test_a_haircut_that_is_left_out():
    """Half a BTC at 16,000 counts 8,000 in full and 7,600 at 95 %; 20 % down 6,080."""
    text = given("peers", "lean-btc-collateral")
    with_ratio = text[:-1] + ', "assets": [{"asset": "BTC", "collateral_ratio": "0.95"}]}'
    check(asked(with_ratio, "evaluate")[1], {"collateral_value": 7600})
    check(asked(with_ratio, "stress", "--move", "BTC=-0.2")[1], {"outcomes[0].equity": 6080})


def test_with_an_empty_fund_the_winner_is_closed_at_the_bankruptcy_price():
    """1,000 under 100 contracts from 100, at 80: bankrupt at 90; 10 x 100 are taken back from the other side."""
    broken = given("peers", "flox-bankruptcy-price").replace('"95"', '"80"')
    code, found = asked(broken, "cascade", "--fund", "USDT=0")
    step = "cascades[0].steps[step=auto_deleverage].entries[0]"
    check(found, {f"{step}.price": 90, f"{step}.transfer": 1000, "cascades[0].bills[0].deleveraged": 1000})
    assert code == 4


def test_funding_that_was_paid_has_moved_the_threshold():
    """60,000 (1 - 9,100 / 179,100) at entry; 5,400 later 60,000 (1 - 3,700 / 179,100), the price unchanged."""
    after = given("article", "article-funding-after-300")
    code, found = asked(after, "runway", "--paid", "USDT=5400")
    row = "moved_thresholds[side=below]"
    check(
        found,
        {
            f"{row}.without.price": 60000 * (1 - F(9100, 179100)),
            f"{row}.now.price": 60000 * (1 - F(3700, 179100)),
            "payments[0].payment": 18,
        },
    )
    assert code == 0
    gone = asked(given("article", "article-funding-after-506"), "runway")
    assert gone[0] == 4 and gone[1]["runways"][0]["kind"] == "already"
