"""Tokens: opaque secrets of 256 bits, kept as their SHA-256, with a tenant, scopes, an end, and a last use."""

from __future__ import annotations

import hmac
import secrets
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from crossmargin.apps.store.store import Store, digest, now
from crossmargin.apps.store.tables import TOKENS
from crossmargin.files.database import sa

_EVERY = timedelta(minutes=1)
"""A last use is written no more often than that."""


class Token(NamedTuple):
    """What is known of a token; never the secret itself. ``scopes`` are words with blanks between."""

    digest: str
    id: str
    tenant: str
    name: str
    scopes: str
    created_at: str
    expires_at: str | None
    used_at: str | None
    revoked_at: str | None


def create_token(
    store: Store, tenant: str, name: str, scopes: tuple[str, ...], *, who: str, days: int | None, secret: str = ""
) -> tuple[str, Token]:
    """Make a token: its secret, which is told here and never again, and what is kept of it.

    ``secret``: one that was made elsewhere and is to be known here.
    """
    secret = secret or secrets.token_urlsafe(32)
    end = None if days is None else _written(datetime.now(UTC) + timedelta(days=days))
    made = Token(digest(secret), secrets.token_hex(6), tenant, name, " ".join(scopes), now(), end, None, None)
    with store.changing(tenant) as tx:
        tx.execute(TOKENS.insert(), made._asdict())
        store.audit(tx, tenant, who, "token.create", made.id, after=f"{name}: {made.scopes}")
    return secret, made


def tokens(tx: sa.Connection, tenant: str | None = None) -> list[Token]:
    """Every token, or those of a tenant, oldest first."""
    query = TOKENS.select() if tenant is None else TOKENS.select().where(TOKENS.c.tenant == tenant)
    return [Token(*row) for row in tx.execute(query.order_by(TOKENS.c.created_at))]


def revoke_token(store: Store, tenant: str | None, token: str, *, who: str) -> Token | None:
    """End a token now; the token as it then is, or None where there is none of that id."""
    with store.changing(tenant) as tx:
        found = next((one for one in tokens(tx, tenant) if one.id == token), None)
        if found is None or found.revoked_at is not None:
            return found
        ended = found._replace(revoked_at=now())
        tx.execute(TOKENS.update().where(TOKENS.c.id == token).values(revoked_at=ended.revoked_at))
        store.audit(tx, found.tenant, who, "token.revoke", token, before=found.scopes)
    return ended


def use_token(store: Store, hashed: str) -> Token | None:
    """The token of this digest where it is in force, its use noted; None where it is not."""
    with store.reading(None) as tx:  # whose it is, is what is asked
        row = tx.execute(TOKENS.select().where(TOKENS.c.digest == hashed)).first()
    if row is None:
        return None
    found, moment = Token(*row), now()
    if not hmac.compare_digest(found.digest, hashed) or found.revoked_at is not None:
        return None
    if found.expires_at is not None and found.expires_at <= moment:
        return None
    if found.used_at is None or found.used_at < _written(datetime.now(UTC) - _EVERY):
        with store.changing(found.tenant) as tx:
            tx.execute(TOKENS.update().where(TOKENS.c.digest == hashed).values(used_at=moment))
    return found


def _written(when: datetime) -> str:
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")
