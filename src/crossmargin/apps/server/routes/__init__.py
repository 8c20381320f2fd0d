"""One module a group of routes; :data:`ROUTES` is every one of them."""

from __future__ import annotations

ROUTES = (
    "page",
    "session",
    "questions",
    "figures",
    "saving",
    "accounts",
    "prices",
    "alerts",
    "imports",
    "funds",
    "profiles",
    "stream",
    "tenancy",
    "clearing",
)
"""Modules of this package; each has a ``router``."""
