"""The service as it is started: from the command to the first answer, with its own store and the example accounts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from crossmargin.apps.server.hub import Hub
from crossmargin.apps.server.routes import stream
from crossmargin.apps.server.settings import Settings

from .conftest import account


@contextlib.contextmanager
def served(*words: str, home: Path) -> Iterator[str]:
    """The address of a service that is ended afterwards."""
    command = [sys.executable, "-m", "crossmargin.apps.cli", "serve", "--port", "0", "--no-open", *words]
    environment = {**os.environ, "XDG_DATA_HOME": str(home), "HOME": str(home)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        try:
            yield said.split()[3].rstrip("/")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def fetch(url: str, body: Any = None, method: str = "GET") -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_it_starts_with_everything_and_keeps_what_it_was_given(tmp_path: Path) -> None:
    with served(home=tmp_path) as url:
        told = fetch(f"{url}/v1/accounts")["accounts"]
        # the article's accounts: 3.1 is liquidated, the others stand
        assert {row["id"]: row["status"] for row in told if row["id"].startswith("article")} == {
            "article-2.1-cross": "healthy",
            "article-2.1-isolated": "warning",
            "article-3.1": "liquidation",
        }
        with connect(f"{url.replace('http', 'ws')}/v1/stream") as listening:
            fetch(f"{url}/v1/accounts/mine", account(), "PUT")
            assert json.loads(listening.recv(timeout=20))["accounts"][0]["id"] == "mine"
        page = urllib.request.urlopen(f"{url}/")
        assert page.headers["content-type"].startswith("text/html")
        page.close()
    assert (tmp_path / "crossmargin" / "service.db").exists()
    with served(home=tmp_path) as url:
        assert "mine" in {row["id"] for row in fetch(f"{url}/v1/accounts")["accounts"]}


def test_it_can_start_empty_and_with_tokens_of_a_file(tmp_path: Path) -> None:
    store = str(tmp_path / "own.db")
    with served("--empty", "--store", store, home=tmp_path) as url:
        assert fetch(f"{url}/v1/accounts") == {"accounts": []}
    secret = "s" * 43
    (tmp_path / "tokens").write_text(f"# the desk\nfund-a read {secret}\n")
    with served("--store", store, "--token-file", str(tmp_path / "tokens"), home=tmp_path) as url:
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetch(f"{url}/v1/accounts")
        assert refused.value.code == 401
        refused.value.close()
        asked = urllib.request.Request(f"{url}/v1/session", headers={"Authorization": f"Bearer {secret}"})
        with urllib.request.urlopen(asked) as answer:
            assert json.load(answer)["tenant"] == "fund-a"


def test_it_says_that_it_listens_only_when_it_does(tmp_path: Path) -> None:
    """What fails on the way is told instead; a configuration of the monitor gives the channels."""
    command = [sys.executable, "-m", "crossmargin.apps.cli", "serve", "--port", "0", "--no-open"]
    words = [*command, "--store", str(tmp_path / "own.db"), "--monitor", str(tmp_path / "none.toml")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "none.toml" in ended.stderr
    (tmp_path / "monitor.toml").write_text('[accounts.a]\ntenant = "local"\n[channels.desk]\nkind = "log"\n')
    with served("--empty", "--monitor", str(tmp_path / "monitor.toml"), home=tmp_path) as url:
        assert fetch(f"{url}/v1/alert-rules")["channels"] == ["desk"]


def test_who_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_PATIENCE", 0.05)
    closed: list[int] = []

    class Stuck:
        """A socket whose other side never reads."""

        async def send_text(self, _text: str) -> None:
            await asyncio.Event().wait()

        async def close(self, code: int, _why: str) -> None:
            closed.append(code)

    async def story() -> None:
        hub = Hub(Settings())
        listener = hub.join("one")
        hub.publish("one", {"type": "alert"})
        await stream._send(Stuck(), listener)

    asyncio.run(story())
    assert closed == [1013]
