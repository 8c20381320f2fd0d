"""The same question by the library, the command line and the service: the same bytes, as the service describes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from starlette.testclient import TestClient
from typer.testing import CliRunner

import crossmargin as cm
from crossmargin.analytics.allocation import outline
from crossmargin.apps.cli import app
from crossmargin.apps.questions import QUESTIONS
from crossmargin.apps.server.app import create_app
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.store.store import Store
from crossmargin.apps.verbs.venues import sources_of
from crossmargin.files.accounts import read_table

ROOT = Path(__file__).parents[2]
BTC = "BTC/USDT:USDT"
ACCOUNTS = ("article-2.1-cross", "article-3.1", "delta-neutral-pair", "unified-btc-collateral", "article-2.1-isolated")
FUND, HISTORY = ROOT / "examples/funds/which-collateral.toml", ROOT / "examples/replay-history.csv"
D = Decimal


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    store = Store(str(tmp_path_factory.mktemp("doors") / "service.db"))
    with TestClient(create_app(Settings(timeout=120), store), base_url="http://localhost") as made:
        yield made
    store.close()


def by_command_line(words: list[str]) -> bytes:
    found = CliRunner().invoke(app, words)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.stdout_bytes.removesuffix(b"\n")


def by_service(client: TestClient, name: str, body: dict[str, Any]) -> bytes:
    # as a client would: texts stay texts, and no number is rounded on its way
    answer = client.post(
        f"/v1/questions/{name}", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    described = client.get("/openapi.json").json()
    Draft202012Validator({**described, "$ref": f"#/components/schemas/Answer.{name}"}).validate(answer.json())
    return answer.content


def raw(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = cm.to_plain(read_table(str(path))[0])
    return found


Ask = Callable[[cm.Case], Any]

QUESTION: dict[str, tuple[list[str], dict[str, Any], Ask]] = {
    "evaluate": ([], {}, lambda case: cm.evaluate(*case)),
    "threshold": ([], {}, lambda case: cm.threshold(*case)),
    "explain": (
        [],
        {},
        lambda case: {"lines": cm.evaluate(*case).lines, "sources": sources_of(case.rules)},
    ),
    "stress": (
        ["--move", "BTC=-0.2", "--others", "-0.1", "--historical"],
        {"move": {"BTC": "-0.2"}, "others": "-0.1", "historical": True},
        lambda case: {
            "outcomes": cm.stress(
                *case,
                [cm.Scenario(name="yours", moves={"BTC": D("-0.2")}, others=D("-0.1")), *cm.historical_scenarios()],
            )
        },
    ),
    "sensitivity": (
        ["--move", "0.2", "--threshold", "all"],
        {"move": "0.2", "threshold": ["all"]},
        lambda case: cm.sensitivity(*case, thresholds=None, move=D("0.2")),
    ),
    "runway": ([], {}, lambda case: cm.runway(*case)),
    "hedge": (
        [],
        {},
        lambda case: {"requirements": cm.requirements(*case), "pairs": cm.neutral_pairs(*case)},
    ),
    "whatif": (
        ["--move", "BTC=-0.05", "--deposit", "USDT=100.5"],
        {
            "changes": [
                {"kind": "move_price", "coin": "BTC", "by": "-0.05"},
                {"kind": "deposit", "asset": "USDT", "amount": "100.5"},
            ]
        },
        lambda case: cm.whatif(*case, [cm.MovePrice(coin="BTC", by="-0.05"), cm.Deposit(asset="USDT", amount="100.5")]),
    ),
    "compare": (
        ["--mode", "cross", "--mode", "isolated"],
        {"mode": ["cross", "isolated"]},
        lambda case: cm.compare(*case, modes=["cross", "isolated"]),
    ),
    "cascade": (["--gap", "-0.02"], {"gap": "-0.02"}, lambda case: {"cascades": cm.cascades(
        case.account, case.market, [case.rules], side="down", gap=D("-0.02")
    )}),
}  # fmt: skip
"""Flags, the same as options, and the same of the library; on every account."""


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("name", QUESTION)
def test_every_door_gives_the_same_bytes(client: TestClient, name: str, account: str) -> None:
    path = ROOT / "examples" / f"{account}.toml"
    flags, options, ask = QUESTION[name]
    told = cm.to_json(ask(cm.load(str(path)))).encode()
    assert by_command_line([name, str(path), *flags, "--json"]) == told
    assert by_service(client, name, {"account": raw(path), "options": options}) == told


def test_largest_withdrawal(client: TestClient) -> None:
    path = ROOT / "examples/article-2.1-cross.toml"
    told = cm.to_json(cm.max_withdraw(*cm.load(str(path)), "USDT")).encode()
    assert by_command_line(["max-withdraw", str(path), "USDT", "--json"]) == told
    assert by_service(client, "max-withdraw", {"account": raw(path), "options": {"asset": "USDT"}}) == told


def test_largest_order(client: TestClient) -> None:
    path = ROOT / "examples/article-2.1-cross.toml"
    told = cm.to_json(cm.max_order(*cm.load(str(path)), BTC, "buy", leverage=D(5))).encode()
    assert by_command_line(["max-order", str(path), BTC, "buy", "--leverage", "5", "--json"]) == told
    options = {"symbol": BTC, "side": "buy", "leverage": "5"}
    assert by_service(client, "max-order", {"account": raw(path), "options": options}) == told


def test_reverse_stress(client: TestClient) -> None:
    path = ROOT / "examples/article-2.1-cross.toml"
    daily = {"BTC": "0.04", "ETH": "0.05"}
    flags = [word for coin, move in daily.items() for word in ("--volatility", f"{coin}={move}")]
    covariance = cm.correlated({coin: float(move) for coin, move in daily.items()}, 0.5)
    told = cm.to_json({"reverse_stress": cm.reverse_stress(*cm.load(str(path)), covariance)}).encode()
    assert by_command_line(["reverse-stress", str(path), *flags, "--correlation", "0.5", "--json"]) == told
    options = {"volatility": daily, "correlation": "0.5"}
    assert by_service(client, "reverse-stress", {"account": raw(path), "options": options}) == told


def test_replay(client: TestClient) -> None:
    path = ROOT / "examples/article-2.1-cross.toml"
    bars = cm.load_bars(str(HISTORY))
    told = cm.to_json({"runs": cm.replay(*cm.load(str(path)), bars, modes=["cross", "isolated"])}).encode()
    flags = ["--mode", "cross", "--mode", "isolated"]
    assert by_command_line(["replay", str(path), str(HISTORY), *flags, "--json"]) == told
    header, *lines = HISTORY.read_text().split()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    body = {"account": raw(path), "history": rows, "options": {"mode": ["cross", "isolated"]}}
    assert by_service(client, "replay", body) == told


def test_allocate(client: TestClient) -> None:
    told = cm.to_json(outline(cm.load_fund(str(FUND)))).encode()
    assert by_command_line(["allocate", str(FUND), "--dry-run", "--json"]) == told
    fund = {"id": FUND.stem, **raw(FUND)}
    assert by_service(client, "allocate", {"fund": fund, "options": {"dry_run": True}}) == told


def test_another_profile_and_date_by_every_door(client: TestClient) -> None:
    path = ROOT / "examples/article-2.1-cross.toml"
    case = cm.load(str(path), profile="plain-isolated")
    told = cm.to_json(cm.compare(*case, [cm.load(str(path), profile="plain-cross").rules])).encode()
    flags = ["--profile", "plain-isolated", "--with", "plain-cross", "--json"]
    assert by_command_line(["compare", str(path), *flags]) == told
    body = {"account": raw(path), "profile": "plain-isolated", "options": {"with": ["plain-cross"]}}
    assert by_service(client, "compare", body) == told


def test_every_question_is_asked_here() -> None:
    assert set(QUESTIONS) == {*QUESTION, "max-order", "max-withdraw", "reverse-stress", "replay", "allocate"}
