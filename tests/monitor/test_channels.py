"""Every channel against a server of this machine, the outbox's retries, the signature, and secrets that stay secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from typing import Any

import pytest
from serving import Served, served
from watching import T0, AtOnce, Time, Told, after, seen

from crossmargin.apps.monitor.channels import (
    DiscordChannel,
    EmailChannel,
    LogChannel,
    Message,
    Outside,
    SlackChannel,
    TelegramChannel,
    WebhookChannel,
    send,
    signature,
    verified,
)
from crossmargin.apps.monitor.config import config_from, faults_of_surroundings
from crossmargin.apps.monitor.loop import Monitor
from crossmargin.apps.monitor.outbox import MOST_TRIES, Outbox
from crossmargin.apps.monitor.outward import Policy
from crossmargin.apps.monitor.rules import with_always
from crossmargin.apps.monitor.running import trial
from crossmargin.apps.store.monitoring import DELIVERED, FAILED, WAITING, Monitoring
from crossmargin.apps.store.store import Store
from crossmargin.errors import ProfileError, VenueError
from crossmargin.files.secret import Secret, referenced

CANARY = "hush-4c5f1b9e-canary"
MESSAGE = Message(
    id="d1",
    title="CRITICAL raised: a: near",
    text="a <b> & @everyone\nsecond line",
    severity="critical",
    body='{"id":"d1"}',
)


def outside(server: Served, **secrets: str) -> Outside:
    """The world in which only this machine is reached, and these secrets are kept."""
    return Outside(
        Policy(ports=(server.port,), private=True),
        lambda *_: ["127.0.0.1"],
        lambda reference: Secret(secrets[reference.removeprefix("env:")]),
        deadline=3.0,
    )


# HMAC-SHA256 vectors, made with `printf '1732521600.BODY' | openssl dgst -sha256 -hmac KEY`
VECTORS = [
    ("key", 0, b"{}", "7314351dd949aa7ec06f50fc2c96e618291447672c9b7f10b49d1ce46dad00b3"),
    ("hush", 1732521600, b'{"id":"d1"}', "811b720df35ee257e29c8e95908eb9bfde19332e4b5919924fc25b2df04256f9"),
    ("Schl\u00fcssel", 1732521600, "{\"words\":\"Caf\u00e9\"}".encode(),
     "e59d25c37448696ae4b489b0a3684122aee0468cd18199a9766fc340da5c7f17"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "timestamp", "body", "digest"), VECTORS)
def test_signatures_are_what_openssl_makes(key: str, timestamp: int, body: bytes, digest: str) -> None:
    assert signature(Secret(key), timestamp, body) == f"v1={digest}"
    good = f"v1={digest}"
    assert verified(Secret(key), timestamp, body, good, now=timestamp + 300)
    assert verified(Secret(key), timestamp, body, good, now=timestamp - 300)
    assert not verified(Secret(key), timestamp, body, good, now=timestamp + 301)
    assert not verified(Secret(key), timestamp + 1, body, good, now=timestamp)
    assert not verified(Secret(key), timestamp, body + b" ", good, now=timestamp)
    assert not verified(Secret(key + "x"), timestamp, body, good, now=timestamp)


def test_webhook() -> None:
    with served() as server:
        channel = WebhookChannel(kind="webhook", url=f"http://hook.example:{server.port}/in?a=b", secret="env:S")
        assert send(channel, MESSAGE, outside(server, S="hush"), now=1732521600).sent
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/in?a=b", b'{"id":"d1"}')
    assert request.headers["host"] == f"hook.example:{server.port}"
    assert request.headers["x-crossmargin-id"] == "d1"
    assert request.headers["x-crossmargin-timestamp"] == "1732521600"
    digest = hmac.new(b"hush", b'1732521600.{"id":"d1"}', hashlib.sha256).hexdigest()
    assert request.headers["x-crossmargin-signature"] == f"v1={digest}"


def test_slack_discord_telegram() -> None:
    with served() as server:
        base = f"http://x.example:{server.port}"
        world = outside(server, SLACK=f"{base}/services/T/B/X", DISCORD=f"{base}/api/webhooks/1/x", BOT="12:ab")
        channels = [
            SlackChannel(kind="slack", url="env:SLACK"),
            DiscordChannel(kind="discord", url="env:DISCORD"),
            TelegramChannel(kind="telegram", token="env:BOT", chat_id="-100", base=base),
        ]
        assert [send(channel, MESSAGE, world, now=0).sent for channel in channels] == [True] * 3
    assert [request.path for request in server.requests] == [
        "/services/T/B/X", "/api/webhooks/1/x", "/bot12:ab/sendMessage",
    ]  # fmt: skip
    slack, discord, telegram = (json.loads(request.body) for request in server.requests)
    assert slack == {"text": "a &lt;b&gt; &amp; @everyone\nsecond line"}
    assert discord == {"content": MESSAGE.text, "allowed_mentions": {"parse": []}}  # nobody is called by a name in it
    assert telegram == {"chat_id": "-100", "text": MESSAGE.text}


def test_email() -> None:
    with served(mail=True) as server:
        channel = EmailChannel(
            kind="email", host="mail.example", port=server.port, sender="m@x.example", recipients=("a@x.example",),
            user="m", password="env:P", security="none",
        )  # fmt: skip
        assert send(channel, MESSAGE, outside(server, P="hush"), now=0).sent
    (said,) = server.mails
    assert "Subject: CRITICAL raised: a: near" in said
    assert "Message-ID: <d1@crossmargin>" in said
    assert "second line" in said
    with served(mail=True) as server:
        closed = outside(server)._replace(policy=Policy())
        assert send(channel, MESSAGE, closed, now=0).why == "clear text is sent in a private network only"
        own = channel.model_copy(update={"security": "starttls", "host": "127.0.0.1", "port": 587})
        assert "private" in send(own, MESSAGE, closed, now=0).why
    assert server.mails == []


@pytest.mark.parametrize(
    ("status", "headers", "again", "pause", "words"),
    [
        (204, {}, None, 0, ""),
        (301, {"Location": "http://127.0.0.1/other"}, False, 0, "answered 301, a redirect, which is not followed"),
        (307, {"Location": "http://127.0.0.1/other"}, False, 0, "answered 307, a redirect, which is not followed"),
        (400, {}, False, 0, "answered 400"),
        (404, {}, False, 0, "answered 404"),
        (408, {}, True, 0, "answered 408"),
        (429, {"Retry-After": "17"}, True, 17, "answered 429"),
        (429, {"Retry-After": "999999"}, True, 900, "answered 429"),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, True, 0, "answered 429"),
        (500, {}, True, 0, "answered 500"),
        (503, {"Retry-After": "-5"}, True, 0, "answered 503"),
    ],
)
def test_what_an_answer_means(
    status: int, headers: dict[str, str], again: bool | None, pause: float, words: str
) -> None:
    with served(answers=[(status, headers)]) as server:
        channel = SlackChannel(kind="slack", url="env:U")
        found = send(channel, MESSAGE, outside(server, U=f"http://x.example:{server.port}/{CANARY}"), now=0)
    assert len(server.requests) == 1
    assert (found.sent, found.again, found.after, found.why) == (again is None, bool(again), pause, words)


def test_what_is_not_there_may_be_there_later() -> None:
    with served() as server:
        world = outside(server, U=f"http://x.example:{server.port}/{CANARY}")
    gone = send(SlackChannel(kind="slack", url="env:U"), MESSAGE, world, now=0)
    assert (gone.sent, gone.again) == (False, True)

    def nowhere(*_: Any) -> list[str]:
        raise OSError("no such name")

    lost = send(SlackChannel(kind="slack", url="env:U"), MESSAGE, world._replace(resolve=nowhere), now=0)
    assert (lost.sent, lost.again, lost.why) == (False, True, "url: does not resolve")
    inside = send(SlackChannel(kind="slack", url="env:U"), MESSAGE, world._replace(policy=Policy()), now=0)
    assert (inside.sent, inside.again) == (False, False)


# the outbox -----------------------------------------------------------------------------------------------------------


def raised(store: Store, channels: tuple[str, ...], time: Time) -> Monitoring:
    """One alert that is to be told to these channels."""
    monitoring, source = Monitoring(store, "local"), Told()
    source.next = [seen("50000")]
    monitor = Monitor(monitoring, {"a": source}, _rules_of(channels), executor=AtOnce(), now=time)
    assert len(monitor.round().deliveries) == len(channels)
    return monitoring


def _rules_of(channels: tuple[str, ...]) -> Any:
    from crossmargin.apps.monitor.rules import AlertRule

    return with_always([AlertRule(id="level", kind="level", limit="liquidation")], channels)


def test_an_outage_delays_and_then_delivers_once_under_one_id(store: Store) -> None:
    time = Time()
    monitoring = raised(store, ("hook",), time)
    with served(answers=[(500, {}), (429, {"Retry-After": "60"}), (200, {})]) as server:
        channel = WebhookChannel(kind="webhook", url=f"http://x.example:{server.port}/", secret="env:S")
        outbox = Outbox(monitoring, {"hook": channel}, outside(server, S="hush"), time)
        tries = []
        for seconds in range(0, 90):
            time.now = after(seconds)
            outbox.pump("hook")
            tries.append(len(server.requests))
    # 500 at 0; 2 s later 429, which asks for 60; at 62 it arrives, and nothing is sent after that
    assert [n for n in range(1, 90) if tries[n] > tries[n - 1]] == [2, 62]
    assert tries[0] == 1
    assert len({request.headers["x-crossmargin-id"] for request in server.requests}) == 1
    (delivery,) = monitoring.deliveries()
    assert (delivery.status, delivery.tries) == (DELIVERED, 3)
    body = json.loads(server.requests[-1].body)
    assert body["id"] == delivery.id
    assert (body["event"], body["alert"]["rule"], body["alert"]["state"]) == ("raised", "level", "open")


def test_a_dead_target_is_given_up_and_said(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    time = Time()
    monitoring = raised(store, ("hook",), time)
    with served(answers=[(503, {})]) as server:
        channel = WebhookChannel(kind="webhook", url=f"http://x.example:{server.port}/", secret="env:S")
        outbox = Outbox(monitoring, {"hook": channel}, outside(server, S="hush"), time)
        for _ in range(40):
            outbox.pump("hook")
            time.later(301)
    assert len(server.requests) == MOST_TRIES
    (delivery,) = monitoring.deliveries()
    assert (delivery.status, delivery.said) == (FAILED, "answered 503")
    assert "IS GIVEN UP" in caplog.text


def test_a_target_that_does_not_answer_holds_up_nobody(store: Store) -> None:
    """The one that hangs is in its own thread; the other is told meanwhile, and rounds go on."""
    time, gate = Time(), threading.Event()
    monitoring = raised(store, ("slow", "quick"), time)
    with served(drip=gate) as slow, served() as quick:
        channels = {
            name: WebhookChannel(kind="webhook", url=f"http://x.example:{server.port}/", secret="env:S")
            for name, server in (("slow", slow), ("quick", quick))
        }
        world = outside(slow, S="hush")._replace(policy=Policy(ports=(slow.port, quick.port), private=True))
        outbox = Outbox(monitoring, channels, world, time)
        outbox.start()
        for _ in range(500):
            if quick.requests and slow.requests and monitoring.deliveries(status=DELIVERED):
                break
            gate.wait(0.01)
        statuses = {one.channel: one.status for one in monitoring.deliveries()}
        assert statuses == {"slow": WAITING, "quick": DELIVERED}
        gate.set()
        outbox.stop()


# secrets --------------------------------------------------------------------------------------------------------------


def test_references() -> None:
    assert referenced("env:A", {"A": CANARY}).reveal() == CANARY
    for wrong in ("env:B", "env:", "A", "file:/etc/passwd", "https://x"):
        with pytest.raises(VenueError) as caught:
            referenced(wrong, {"A": CANARY})
        assert CANARY not in str(caught.value)


def test_a_secret_is_nowhere(
    store: Store, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the store, the log, an outcome, the configuration or an error, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    time = Time()
    names = ("slack", "discord", "telegram", "hook", "mail", "log")
    monitoring = raised(store, names, time)
    with served(answers=[(500, {}), (302, {"Location": f"http://x/{CANARY}"}), (200, {})]) as server:
        url = f"http://x.example:{server.port}/{CANARY}"
        for name in ("SLACK", "DISCORD"):
            monkeypatch.setenv(name, url)
        for name in ("BOT", "S", "P"):
            monkeypatch.setenv(name, CANARY)
        config = config_from(
            {
                "store": where,
                "accounts": {"a": {"file": "a.toml"}},
                "channels": {
                    "slack": {"kind": "slack", "url": "env:SLACK"},
                    "discord": {"kind": "discord", "url": "env:DISCORD"},
                    "telegram": {"kind": "telegram", "token": "env:BOT", "chat_id": "1", "base": "http://192.0.2.1:1"},
                    "hook": {"kind": "webhook", "url": "env:SLACK", "secret": "env:S"},
                    "mail": {"kind": "email", "host": "mail.example", "port": 25, "sender": "a@b",
                             "recipients": ["c@d"],
                             "user": "m", "password": "env:P"},
                    "log": {"kind": "log"},
                },
            },
            "test",
        )  # fmt: skip
        world = Outside(Policy(ports=(server.port,), private=True), lambda *_: ["127.0.0.1"], deadline=2.0)
        outbox = Outbox(monitoring, config.channels, world, time)
        outcomes = []
        for _ in range(3):
            for name in names:
                outbox.pump(name)
            outcomes += [trial(config.channels[name], world) for name in names]
            time.later(301)
        faults = faults_of_surroundings(config)
    assert any(CANARY in request.path for request in server.requests)  # it was really used
    assert CANARY not in repr(outcomes)
    assert CANARY not in caplog.text
    assert CANARY not in repr(config) + config.model_dump_json() + repr(faults)
    assert CANARY not in repr(monitoring.deliveries()) + repr(monitoring.states()) + repr(monitoring.alerts())


@pytest.mark.parametrize("kind", ["slack", "discord"])
def test_a_secret_where_a_reference_should_be_is_refused_unseen(kind: str) -> None:
    with pytest.raises(ProfileError, match="must be a reference") as caught:
        config_from(
            {"accounts": {"a": {"file": "x"}}, "channels": {"c": {"kind": kind, "url": f"https://x/{CANARY}"}}}, "test"
        )
    assert CANARY not in str(caught.value)


def test_the_log_is_a_channel(caplog: pytest.LogCaptureFixture) -> None:
    assert send(LogChannel(), MESSAGE, Outside(), now=int(T0.timestamp())).sent
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("CRITICAL", "a <b> & @everyone | second line")
