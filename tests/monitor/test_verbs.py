"""``monitor`` and ``watch`` on the command line: a run, what it leaves, exit codes, every fault at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from crossmargin.apps.cli import app
from crossmargin.apps.monitor.config import load_config
from crossmargin.errors import ProfileError

LIQUIDATED, HEALTHY = "examples/article-3.1.toml", "examples/article-2.1-cross.toml"


def said(*given: str) -> Result:
    return CliRunner().invoke(app, list(given))


def config(tmp_path: Path, more: str = "") -> str:
    path = tmp_path / "monitor.toml"
    path.write_text(
        f"""
        store = "{tmp_path / "monitor.db"}"
        [accounts.main]
        file = "{LIQUIDATED}"
        [[rules]]
        id = "level"
        kind = "level"
        limit = "liquidation"
        {more}
        """
    )
    return str(path)


def test_run_list_acknowledge(tmp_path: Path) -> None:
    path = config(tmp_path, f'[heartbeat]\nfile = "{tmp_path / "alive"}"')
    assert said("monitor", "check", path).exit_code == 0
    first = said("monitor", "run", path, "--once", "--quiet")
    # it is liquidated, and its data is old
    assert "1 accounts judged; 2 alerts stand; 2 messages sent, 0 waiting" in first.output
    assert first.exit_code == 4
    assert (tmp_path / "alive").exists()
    again = said("monitor", "run", path, "--once", "--quiet")
    assert "2 alerts stand; 0 messages sent" in again.output  # a restart tells nothing twice
    listed = said("monitor", "alerts", path, "--json")
    assert listed.exit_code == 4
    alerts = json.loads(listed.output)["alerts"]
    assert {one["rule"] for one in alerts} == {"level", "stale"}
    assert {one["state"] for one in alerts} == {"open"}
    for one in alerts:
        assert said("monitor", "acknowledge", path, one["id"][:10], "--by", "ann").exit_code == 0
    assert said("monitor", "alerts", path, "--state", "open").exit_code == 0
    shown = json.loads(said("monitor", "alerts", path, "--json", "--state", "acknowledged").output)["alerts"]
    assert {one["acknowledged_by"] for one in shown} == {"ann"}
    assert isinstance(said("monitor", "acknowledge", path, "zz").exception, ProfileError)


def test_every_fault_at_once(tmp_path: Path) -> None:
    path = tmp_path / "monitor.toml"
    path.write_text(
        """
        every_seconds = 0
        colour = "red"
        [accounts.a]
        file = "x"
        venue = "binance"
        [accounts.b]
        venue = "mtgox"
        [[rules]]
        id = "x"
        kind = "distance"
        [[rules]]
        id = "y"
        kind = "margin_ratio"
        limit = 0.5
        clear = "0.7"
        [channels.c]
        kind = "slack"
        url = "https://hooks.slack.com/services/T0/B0/hush"
        [channels.d]
        kind = "pigeon"
        """
    )
    with pytest.raises(ProfileError) as caught:
        load_config(str(path))
    text = str(caught.value)
    for where in (
        "every_seconds",
        "colour",
        "accounts.a",
        "accounts.b",
        "rules[0]",
        "rules[1]",
        "channels.c",
        "channels.d",
    ):
        assert where in text, where
    assert "hush" not in text


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('[[rules]]\nid = "level"\nkind = "rules"', "stands more than once"),
        ('escalation = [{ channels = ["phone"] }]', "phone is named by a rule and not set"),
        ('[accounts.two]\nfile = "nowhere.toml"', "is not there"),
        ('[channels.hook]\nkind = "webhook"\nurl = "http://x"\nsecret = "env:NOT_SET_ANYWHERE"', "nothing is kept at"),
        ('[channels.hook]\nkind = "webhook"\nurl = "http://x"\nsecret = "env:HOME"', "must begin with https://"),
        ('[accounts.two]\nbook = "x"', "needs prices and a profile"),
        ("[heartbeat]\nevery_seconds = 5", "must name a file or a url"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, more: str, why: str) -> None:
    found = said("monitor", "check", config(tmp_path, more))
    assert isinstance(found.exception, ProfileError)
    assert why in str(found.exception)


def test_the_example_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERTS_SECRET", "hush")
    found = said("monitor", "check", "examples/monitor.toml", "--json")
    assert found.exit_code == 0
    assert {rule["kind"] for rule in json.loads(found.output)["rules"]} >= {"level", "stale", "unknown", "lag"}
    assert "hush" not in found.output


def test_the_test_button(tmp_path: Path) -> None:
    dead = '[channels.dead]\nkind = "webhook"\nurl = "https://127.0.0.1/"\nsecret = "env:HOME"'
    path = config(tmp_path, f'[channels.log]\nkind = "log"\n{dead}')
    found = said("monitor", "test", path)
    assert found.exit_code == 6
    assert "log: sent" in found.output
    assert "dead: NOT SENT: url: leads to an address that is private" in found.output
    assert said("monitor", "test", path, "--channel", "log").exit_code == 0
    assert isinstance(said("monitor", "test", path, "-c", "other").exception, ProfileError)


# watch ----------------------------------------------------------------------------------------------------------------


def rows(*given: str) -> tuple[int, dict[str, Any]]:
    found = said("watch", "--json", *given)
    return found.exit_code, {row["account"]: row for row in json.loads(found.output)["accounts"]}


def test_watch_once(tmp_path: Path) -> None:
    forever = ["--stale", "1000000000"]
    code, found = rows(HEALTHY, *forever)
    assert code == 0
    # 2,000 of equity and 45 of maintenance margin
    assert (found[HEALTHY]["status"], found[HEALTHY]["margin_ratio"]) == ("healthy", "0.0225")
    assert "falling" in found[HEALTHY]["nearest"]
    code, found = rows(HEALTHY, LIQUIDATED, *forever)
    assert (code, found[LIQUIDATED]["status"]) == (4, "liquidation")
    code, found = rows(HEALTHY, str(tmp_path / "nothing.toml"), *forever)
    assert code == 5
    assert found[str(tmp_path / "nothing.toml")]["status"] == "unknown"
    code, found = rows("examples/article-2.1-isolated.toml", *forever)
    assert (code, found["examples/article-2.1-isolated.toml"]["status"]) == (3, "warning")


def test_watch_never_calls_old_data_healthy() -> None:
    code, found = rows(HEALTHY, "--stale", "1")
    assert (code, found[HEALTHY]["status"]) == (5, "stale")
    code, found = rows(LIQUIDATED, "--stale", "1")
    assert (code, found[LIQUIDATED]["status"]) == (4, "liquidation")


def test_watch_a_venue_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CROSSMARGIN_BINANCE_KEY", raising=False)
    code, found = rows("binance")
    assert (code, found["binance"]["status"]) == (5, "unknown")
    assert "CROSSMARGIN_BINANCE_KEY" in found["binance"]["nearest"]


def test_watch_prints_a_table() -> None:
    found = said("watch", "--once", HEALTHY, "--stale", "1000000000")
    assert found.exit_code == 0
    assert "nearest liquidation" in found.output
    assert "2.25 %" in found.output
