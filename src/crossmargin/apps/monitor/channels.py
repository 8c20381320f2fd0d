"""The ways an alert reaches people: the log, a signed webhook, Telegram, Slack, Discord and e-mail.

A channel's secrets are references (``env:NAME``, ``keyring:NAME``), read when a message is sent and held nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field

from crossmargin.apps.monitor.judge import Event
from crossmargin.apps.monitor.outward import DEADLINE, Policy, Resolve, checked, checked_host, connected, post, resolved
from crossmargin.apps.monitor.rules import Settings
from crossmargin.errors import CrossmarginError, VenueError
from crossmargin.files.secret import Secret, is_reference, referenced
from crossmargin.model.number import plain
from crossmargin.model.report import to_plain

LOG = logging.getLogger("crossmargin.monitor")
REPLAY_WINDOW = 300
"""Seconds within which a receiver takes a webhook; an older timestamp is a replay."""
LONGEST_PAUSE = 900.0


def _secret(text: str) -> str:
    if not is_reference(text):
        raise ValueError("must be a reference such as env:SLACK_URL or keyring:slack-url: it holds a secret")
    return text


Reference = Annotated[str, Field(max_length=200), AfterValidator(_secret)]
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class LogChannel(Settings):
    """The program's own log (logger ``crossmargin.monitor``)."""

    kind: Literal["log"] = "log"


class WebhookChannel(Settings):
    """A POST of JSON, signed with ``secret``. ``url`` is an address, or a reference where it holds a secret."""

    kind: Literal["webhook"]
    url: Line
    secret: Reference


class SlackChannel(Settings):
    """An incoming webhook of Slack."""

    kind: Literal["slack"]
    url: Reference


class DiscordChannel(Settings):
    """A webhook of a Discord channel."""

    kind: Literal["discord"]
    url: Reference


class TelegramChannel(Settings):
    """A Telegram bot that writes to ``chat_id``; ``base`` is another server of the bot interface."""

    kind: Literal["telegram"]
    token: Reference
    chat_id: Line
    base: Line = "https://api.telegram.org"


class EmailChannel(Settings):
    """E-mail through an SMTP server: TLS from the start on port 465, STARTTLS elsewhere.

    ``security`` ``none`` sends in clear text and is taken only where private targets are allowed.
    """

    kind: Literal["email"]
    host: Line
    port: int = Field(default=465, ge=1, le=65535)
    sender: Line
    recipients: tuple[Line, ...] = Field(min_length=1, max_length=50)
    user: Line | None = None
    password: Reference | None = None
    security: Literal["tls", "starttls", "none"] | None = None


Channel = Annotated[
    LogChannel | WebhookChannel | SlackChannel | DiscordChannel | TelegramChannel | EmailChannel,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a channel sends. ``id`` is the delivery's: the same on every try, so that a receiver can drop a repeat."""

    id: str
    title: str
    text: str
    severity: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a try ended: ``sent``; else ``why``, and whether (and after how many seconds at least) to try again."""

    sent: bool
    why: str = ""
    again: bool = False
    after: float = 0.0


def message_of(event: Event, delivery: str) -> Message:
    """The words of an event: what, who, how bad, and the figure beside its limit."""
    alert = event.alert
    title = f"{alert.severity.upper()} {event.name}: {alert.account}: {alert.rule}"
    figure = f"{alert.kind} {plain(alert.value)}, limit {plain(alert.limit)}"
    text = f"{title}\n{figure}\n{alert.words}\nsince {_stamp(alert.raised_at)}, alert {alert.id}"
    body = {
        "id": delivery,
        "event": event.name,
        "at": _stamp(event.at),
        "alert": {**to_plain(alert), "state": alert.state},
    }
    return Message(
        id=delivery,
        title=title,
        text=text,
        severity="info" if event.name == "cleared" else alert.severity,
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
    )


def trial_message(delivery: str, at: datetime) -> Message:
    """What the test button sends."""
    title = "TEST: crossmargin monitor"
    text = f"{title}\nThis is a test; nothing is wrong.\nsent {_stamp(at)}"
    body = {"id": delivery, "event": "test", "at": _stamp(at), "alert": None}
    return Message(id=delivery, title=title, text=text, severity="info", body=json.dumps(body, separators=(",", ":")))


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


# signing --------------------------------------------------------------------------------------------------------------


def signature(secret: Secret, timestamp: int, body: bytes) -> str:
    """``v1=`` and the hexadecimal HMAC-SHA256, under the secret, of the timestamp, a point and the body.

    >>> signature(Secret("key"), 0, b"{}")
    'v1=7314351dd949aa7ec06f50fc2c96e618291447672c9b7f10b49d1ce46dad00b3'
    """
    digest = hmac.new(secret.reveal().encode(), b"%d." % timestamp + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"


def verified(secret: Secret, timestamp: int, body: bytes, given: str, *, now: int) -> bool:
    """Whether a webhook is ours and of now: its signature fits and its timestamp is within the replay window."""
    fits = hmac.compare_digest(signature(secret, timestamp, body).encode(), given.encode())
    return fits and abs(now - timestamp) <= REPLAY_WINDOW


# sending --------------------------------------------------------------------------------------------------------------


class Post(NamedTuple):
    """One request over https."""

    url: Secret
    headers: Mapping[str, str]
    body: bytes


class Outside(NamedTuple):
    """What sending needs of the world: where requests may go, how names resolve, and how secrets are read."""

    policy: Policy = Policy()
    resolve: Resolve = resolved
    secret: Callable[[str], Secret] = referenced
    tls: ssl.SSLContext | None = None
    deadline: float = DEADLINE


def send(channel: Channel, message: Message, outside: Outside, *, now: int) -> Outcome:
    """Try once to send a message; ``now``: seconds since 1970, for the signature. Never raises for the other side."""
    try:
        if isinstance(channel, LogChannel):
            LOG.log(
                _LOG_LEVEL[message.severity], "%s", message.text.replace("\n", " | "), extra={"delivery": message.id}
            )
            return Outcome(sent=True)
        if isinstance(channel, EmailChannel):
            return _mail(channel, message, outside)
        request = _REQUESTS[channel.kind](channel, message, outside, now)
        target = checked(request.url.reveal(), outside.policy, outside.resolve)
        headers = {"User-Agent": "crossmargin-monitor", "Content-Type": "application/json", **request.headers}
        answer = post(target, headers, request.body, deadline=outside.deadline, tls=outside.tls)
    except CrossmarginError as error:
        fault = error.faults[0]
        # a name that does not resolve today may do so tomorrow; an address that is refused stays refused
        return Outcome(sent=False, why=f"{fault.path}: {fault.why}", again="resolve" in fault.why)
    except OSError as error:
        final = isinstance(error, smtplib.SMTPResponseException) and error.smtp_code >= 500
        return Outcome(sent=False, why=_problem(error), again=not final)
    if 200 <= answer.status < 300:
        return Outcome(sent=True)
    if answer.status in (408, 425, 429) or answer.status >= 500:
        pause = min(answer.retry_after or 0.0, LONGEST_PAUSE)
        return Outcome(sent=False, why=f"answered {answer.status}", again=True, after=pause)
    redirected = ", a redirect, which is not followed" if 300 <= answer.status < 400 else ""
    return Outcome(sent=False, why=f"answered {answer.status}{redirected}")


_LOG_LEVEL = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


def _problem(error: OSError) -> str:
    """What went wrong below, in words that hold no address and no secret."""
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or type(error).__name__}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered {error.smtp_code}"
    return str(error.strerror or (error if type(error) is OSError else type(error).__name__))


def _webhook(channel: Any, message: Message, outside: Outside, now: int) -> Post:
    body = message.body.encode()
    headers = {
        "X-Crossmargin-Id": message.id,
        "X-Crossmargin-Timestamp": str(now),
        "X-Crossmargin-Signature": signature(outside.secret(channel.secret), now, body),
    }
    url = outside.secret(channel.url) if is_reference(channel.url) else Secret(channel.url)
    return Post(url, headers, body)


def _slack(channel: Any, message: Message, outside: Outside, now: int) -> Post:
    text = message.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Post(outside.secret(channel.url), {}, _json(text=text[:30_000]))


def _discord(channel: Any, message: Message, outside: Outside, now: int) -> Post:
    return Post(outside.secret(channel.url), {}, _json(content=message.text[:2000], allowed_mentions={"parse": []}))


def _telegram(channel: Any, message: Message, outside: Outside, now: int) -> Post:
    url = f"{channel.base}/bot{outside.secret(channel.token).reveal()}/sendMessage"
    return Post(Secret(url), {}, _json(chat_id=channel.chat_id, text=message.text[:4096]))


_REQUESTS: Mapping[str, Callable[[Any, Message, Outside, int], Post]] = {
    "webhook": _webhook,
    "slack": _slack,
    "discord": _discord,
    "telegram": _telegram,
}


def _json(**fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


# e-mail ---------------------------------------------------------------------------------------------------------------

_MAIL_PORTS = (25, 465, 587, 2525)


def _mail(channel: EmailChannel, message: Message, outside: Outside) -> Outcome:
    security = channel.security or ("tls" if channel.port == 465 else "starttls")
    policy = outside.policy
    if security == "none" and not policy.private:
        return Outcome(sent=False, why="clear text is sent in a private network only")
    ports = policy.ports if policy.private else ()
    host, addresses = checked_host(
        channel.host, channel.port, policy._replace(ports=_MAIL_PORTS + ports), outside.resolve
    )
    letter = EmailMessage()
    letter["Subject"] = message.title
    letter["From"] = channel.sender
    letter["To"] = ", ".join(channel.recipients)
    letter["Message-ID"] = f"<{message.id}@crossmargin>"
    letter.set_content(message.text)
    tls = outside.tls or ssl.create_default_context()
    with _Mailer(host, channel.port, addresses, tls if security == "tls" else None, outside.deadline) as mailer:
        if security == "starttls":
            mailer.starttls(context=tls)
        if channel.user and channel.password:
            mailer.login(channel.user, outside.secret(channel.password).reveal())
        mailer.send_message(letter)
    return Outcome(sent=True)


class _Mailer(smtplib.SMTP):
    """A connection to a checked address of a mail server that names its host."""

    def __init__(
        self, host: str, port: int, addresses: tuple[str, ...], tls: ssl.SSLContext | None, timeout: float
    ) -> None:
        self._addresses = addresses
        self._tls = tls
        super().__init__(host, port, local_hostname="localhost", timeout=timeout)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        found = connected(self._addresses, port, timeout)
        return found if self._tls is None else self._tls.wrap_socket(found, server_hostname=host)


def faults_of_secrets(name: str, channel: Channel, read: Callable[[str], Secret] = referenced) -> list[Any]:
    """The references of a channel that lead nowhere."""
    faults = []
    for field in ("url", "secret", "token", "password"):
        value = getattr(channel, field, None)
        if isinstance(value, str) and is_reference(value):
            try:
                read(value)
            except VenueError as error:
                faults += [fault.__class__(f"channels.{name}.{field}", value, fault.why) for fault in error.faults]
    return faults
