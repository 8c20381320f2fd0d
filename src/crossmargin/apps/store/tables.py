"""The tables of the service as statements name them; migrations make them."""

from __future__ import annotations

from crossmargin.files.database import sa

_KNOWN = sa.MetaData()


def _table(name: str, *columns: str) -> sa.Table:
    return sa.Table(name, _KNOWN, *(sa.Column(column) for column in columns))


ACCOUNTS = _table("accounts", "tenant", "id", "snapshot", "taken_at", "summary")
SNAPSHOTS = _table("account_files", "tenant", "account", "id", "file")
HISTORY = _table(
    "history", "tenant", "account", "seq", "taken_at", "snapshot", "currency", "equity", "maintenance_margin",
    "headroom", "status",
)  # fmt: skip
TOKENS = _table(
    "tokens", "digest", "id", "tenant", "name", "scopes", "created_at", "expires_at", "used_at", "revoked_at"
)
ANSWERS = _table("answers", "tenant", "key", "request", "given_at", "status", "etag", "body")
AUDIT = _table("audit", "tenant", "seq", "at", "who", "what", "object", "before", "after", "hash")

ALERT_RULES = _table("alert_rules", "tenant", "id", "place", "body")
MONITOR_STATES = _table("monitor_states", "tenant", "account", "at", "body")
ALERTS = _table(
    "alerts", "tenant", "id", "account", "raised_at", "cleared_at", "acknowledged_at", "acknowledged_by", "body"
)
DELIVERIES = _table(
    "deliveries", "tenant", "id", "alert", "channel", "event", "status", "made_at", "due_at", "tries", "said", "body"
)
READINGS = _table("readings", "tenant", "account", "at", "body")
