"""Keys of venues: read from the environment or the keyring, shown nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import NoReturn

from crossmargin.errors import Fault, VenueError

_PARTS = {"key": "apiKey", "secret": "secret", "password": "password", "wallet": "walletAddress"}
"""What is asked for, and the client's name for it."""
SERVICE = "crossmargin"


class Secret:
    """A text that does not show itself: not in a print, a log, an error, a traceback or a pickle.

    >>> Secret("hush")
    Secret('***')
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text itself, for the one call that signs with it."""
        return self.__text

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.__text == self.__text

    def __hash__(self) -> int:
        return hash((type(self), self.__text))

    def hidden_in(self, text: str) -> str:
        """A text with this secret blacked out, for the words of a library that may repeat it."""
        return text.replace(self.__text, "***") if self.__text else text


def credentials(venue: str, environment: Mapping[str, str] | None = None) -> dict[str, Secret]:
    """The parts of a venue's key: ``CROSSMARGIN_<VENUE>_KEY``, ``_SECRET``, ``_PASSWORD``, ``_WALLET``.

    Parts that the environment lacks are looked up in the system's keyring (service ``crossmargin``, user
    ``<venue>-key`` and so on) where the library keyring is installed. Raises :class:`VenueError` where there is none.
    """
    given = os.environ if environment is None else environment
    found = {}
    for part, name in _PARTS.items():
        text = given.get(f"CROSSMARGIN_{venue.upper()}_{part.upper()}") or _from_keyring(f"{venue}-{part}")
        if text:
            found[name] = Secret(text)
    if not found.get("apiKey") and not found.get("walletAddress"):
        names = f"CROSSMARGIN_{venue.upper()}_KEY and CROSSMARGIN_{venue.upper()}_SECRET"
        why = f"is not known; set {names} to a read-only key, or keep it in the keyring as {venue}-key"
        raise VenueError(venue, (Fault("key", "", why),))
    return found


def is_reference(text: str) -> bool:
    """Whether a text of a configuration says where a secret is kept: ``env:NAME`` or ``keyring:NAME``."""
    place, _, name = text.partition(":")
    return place in ("env", "keyring") and bool(name)


def referenced(reference: str, environment: Mapping[str, str] | None = None) -> Secret:
    """The secret behind ``env:NAME`` or ``keyring:NAME`` (service ``crossmargin``).

    Raises :class:`VenueError` where nothing is kept there, or where the text is no reference.
    """
    place, _, name = reference.partition(":")
    given = os.environ if environment is None else environment
    found = given.get(name) if place == "env" else _from_keyring(name) if is_reference(reference) else None
    if not found:
        why = f"is not known: nothing is kept at {reference}" if is_reference(reference) else "must be env: or keyring:"
        raise VenueError("secret", (Fault("reference", "", why),))
    return Secret(found)


def _from_keyring(user: str) -> str | None:
    try:
        keyring = import_module("keyring")
    except ImportError:
        return None
    try:
        found = keyring.get_password(SERVICE, user)
    except Exception:  # a keyring without a backend is one that has no key; its words may hold paths
        return None
    return found if isinstance(found, str) else None
