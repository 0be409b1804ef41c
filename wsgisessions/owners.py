"""Whose sessions these are: what an owner may be, and how a namespace keeps apart those of two apps."""

from __future__ import annotations

from .errors import ConfigurationError, SessionError
from .surrogates import has_lone_surrogate

_SEPARATOR = "\x1f"
"""The ASCII unit separator. Neither a namespace nor an owner may hold it, so no two pairs of them look the same."""


def check_owner(owner: object) -> None:
    """Refuse what is no owner: engines would differ in what they make of it.

    :raises SessionError: it is no str, or holds NUL, the unit separator (U+001F) or a lone surrogate.
    """
    if not isinstance(owner, str):
        raise SessionError(f"an owner is a str, such as str(user.id); got {type(owner).__name__}")
    if "\0" in owner or _SEPARATOR in owner or has_lone_surrogate(owner):
        raise SessionError("an owner cannot hold a NUL character or a lone surrogate, nor U+001F")


def check_namespace(namespace: object) -> None:
    """Refuse what is no namespace.

    :raises ConfigurationError: it is no str, or holds a control character or a lone surrogate.
    """
    if not isinstance(namespace, str):
        raise ConfigurationError(
            f'namespace is a str that names the app, such as "shop"; got {type(namespace).__name__}'
        )
    if any(character < " " for character in namespace) or has_lone_surrogate(namespace):
        raise ConfigurationError("namespace cannot hold control characters or lone surrogates")


def stored_owner(owner: str, namespace: str) -> str:
    """Return how a store names an app's owner."""
    return f"{namespace}{_SEPARATOR}{owner}" if namespace else owner


def app_owner(owner: str, namespace: str) -> str:
    """Return how the app names a store's owner."""
    return owner.removeprefix(namespace + _SEPARATOR) if namespace else owner
