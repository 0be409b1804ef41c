"""How the session ID travels between client and server."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .errors import ConfigurationError
from .session_ids import PresentedID

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ResponseHeader = tuple[str, str]

MOST_TRIED = 3
"""How many of the IDs that a client presents are looked for: of old cookies of another Path or Domain, any may be
the live one."""


class Caution(NamedTuple):
    """Why an ID that is issued will not come back."""

    about: str
    """The kind of caution; of each kind the log is told once."""
    text: str
    """What happens, and what to change."""


class Transport(Protocol):
    """How a session ID travels."""

    @property
    def vary(self) -> str:
        """The request headers on which a response that looked at the session depends, separated by commas."""
        ...

    @property
    def variables(self) -> Collection[str]:
        """The names of the environ's variables that `read` looks at."""
        ...

    def read(self, environ: WSGIEnvironment, limit: int) -> Sequence[PresentedID]:
        """Return what the client presents as session IDs, well-formed or not. Never raises.

        :param limit: how many of them are looked at. A transport for which each one costs a computation
            returns no more.
        """
        ...

    def issue(self, environ: WSGIEnvironment, session_id: str, max_age: int | None) -> Iterable[ResponseHeader]:
        """Return the response headers that hand the client an ID, for `max_age` seconds.

        None: until the browser is closed.
        """
        ...

    def withdraw(self, environ: WSGIEnvironment) -> Iterable[ResponseHeader]:
        """Return the response headers that make the client forget its ID."""
        ...

    def warnings(self, environ: WSGIEnvironment) -> Iterable[Caution]:
        """Return why an ID issued in answer to this request would not come back, if so."""
        ...


class Header:
    """The ID in a header of the request and of the response, for clients that keep no cookies.

    A client that sends the header is answered by it, also when it sends it empty, to be given a session;
    beside a cookie write `transport=[Header(), Cookie()]`, and each client is answered by one of them. An
    empty header in a response says that the session has been ended. For a script of another origin, CORS must
    allow and expose the header.

    :param name: the header's name.
    :raises ConfigurationError: it is no header's name.
    """

    def __init__(self, name: str = "X-Session-Token") -> None:
        if not isinstance(name, str) or not is_token(name):
            raise ConfigurationError(f"a header's name is letters, digits and hyphens; got {name!r}")
        self.name = name
        self.vary = name
        self._variable = f"HTTP_{name.upper().replace('-', '_')}"
        self.variables = (self._variable,)

    def read(self, environ: WSGIEnvironment, limit: int) -> Sequence[PresentedID]:
        """Return the header's value."""
        text = environ.get(self._variable)
        return () if text is None else (PresentedID(text.strip()),)

    def issue(self, environ: WSGIEnvironment, session_id: str, max_age: int | None) -> Iterable[ResponseHeader]:
        """Return the header with the ID; when it ends, `session.expires_at` can tell."""
        return ((self.name, session_id),)

    def withdraw(self, environ: WSGIEnvironment) -> Iterable[ResponseHeader]:
        """Return the header with nothing in it."""
        return ((self.name, ""),)

    def warnings(self, environ: WSGIEnvironment) -> Iterable[Caution]:
        """Return nothing: a client that sends the header reads it too."""
        return ()


class FirstUsed:
    """Several transports: the first that the request uses answers, otherwise the last one.

    :param transports: two or more.
    """

    def __init__(self, transports: Sequence[Transport]) -> None:
        self.vary = ", ".join(each.vary for each in transports)
        self.variables = [name for each in transports for name in each.variables]
        *self._first_choices, self._last_choice = transports

    def read(self, environ: WSGIEnvironment, limit: int) -> Sequence[PresentedID]:
        """Return what the client presents by the transport that it uses."""
        return self._of(environ).read(environ, limit)

    def issue(self, environ: WSGIEnvironment, session_id: str, max_age: int | None) -> Iterable[ResponseHeader]:
        """Return the headers of the transport that the client uses."""
        return self._of(environ).issue(environ, session_id, max_age)

    def withdraw(self, environ: WSGIEnvironment) -> Iterable[ResponseHeader]:
        """Return the headers of the transport that the client uses."""
        return self._of(environ).withdraw(environ)

    def warnings(self, environ: WSGIEnvironment) -> Iterable[Caution]:
        """Ask the transport that the client uses."""
        return self._of(environ).warnings(environ)

    def _of(self, environ: WSGIEnvironment) -> Transport:
        return next((each for each in self._first_choices if each.read(environ, 1)), self._last_choice)


class Given:
    """An ID that came by other ways than a request, and of which nobody is told anything.

    :param session_id: the ID, if there is one.
    """

    vary = ""
    variables = ()

    def __init__(self, session_id: str | None) -> None:
        self._presented = () if session_id is None else (PresentedID(session_id),)

    def read(self, environ: WSGIEnvironment, limit: int) -> Sequence[PresentedID]:
        """Return the ID."""
        return self._presented

    def issue(self, environ: WSGIEnvironment, session_id: str, max_age: int | None) -> Iterable[ResponseHeader]:
        """Return nothing: the caller asks `session.id`."""
        return ()

    def withdraw(self, environ: WSGIEnvironment) -> Iterable[ResponseHeader]:
        """Return nothing."""
        return ()

    def warnings(self, environ: WSGIEnvironment) -> Iterable[Caution]:
        """Return nothing."""
        return ()


def is_token(text: str) -> bool:
    """Tell whether a text can name a header or a cookie (RFC 9110, section 5.6.2)."""
    return re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", text) is not None
