"""How the session ID travels between client and server."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from werkzeug.http import dump_cookie
from werkzeug.sansio.http import parse_cookie

from .cookie_protection import Encrypted, Protection, Signed, reveal_all
from .errors import ConfigurationError
from .keyring import SecretKeys
from .session_ids import ID_LENGTH, PresentedID

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ResponseHeader = tuple[str, str]

MOST_TRIED = 3
"""How many of the IDs that a client presents are looked for: of old cookies of another Path or Domain, any may be
the live one."""


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

    def warning(self, environ: WSGIEnvironment) -> str | None:
        """Return why an ID issued in answer to this request would not come back, if so."""
        ...


class Cookie:
    """The ID in a cookie, with the attributes of RFC 6265bis and CHIPS.

    :param name: the cookie's name. By default `__Host-id` where `secure`, the path "/" and no domain allow
        it, else `__Secure-id` where only `secure` does, else `id`: a name that tells nothing (OWASP), and a
        prefix that keeps other hosts of the domain from setting it (ASVS 5, 3.3.1). Names with these
        prefixes are checked against the attributes they demand.
    :param path: the path below which the browser sends it.
    :param domain: the domain with its subdomains; None is this host only.
    :param secure: send over https only (and to localhost).
    :param http_only: hide it from scripts.
    :param same_site: "Strict", "Lax", "None", or None to leave the attribute out.
    :param partitioned: keep one for each top-level site (CHIPS).
    :param signing_keys: secret keys, the newest first, to sign the ID by: a forged one is refused before
        the store is asked. Each is a str or bytes of 32 characters or more. The first signs, all are
        accepted, and a cookie under an old one is written anew at its next use.
    :param encryption_keys: the same, to encrypt the ID instead, which authenticates it too.
    :raises ConfigurationError: the attributes contradict each other, or a key is too short.
    """

    vary = "Cookie"
    variables = ("HTTP_COOKIE",)

    def __init__(
        self,
        name: str | None = None,
        path: str = "/",
        domain: str | None = None,
        secure: bool = True,
        http_only: bool = True,
        same_site: str | None = "Lax",
        partitioned: bool = False,
        signing_keys: SecretKeys = (),
        encryption_keys: SecretKeys = (),
    ) -> None:
        self.name = _default_name(secure, path, domain) if name is None else name
        self.path = path
        self.domain = domain
        self.secure = secure
        self.http_only = http_only
        self.same_site = same_site.title() if isinstance(same_site, str) else same_site
        self.partitioned = partitioned
        self._check()
        self._start = f"{self.name}="
        self._length = len(self._start) + ID_LENGTH
        self._protection = _protection(self.name, signing_keys, encryption_keys)

    def read(self, environ: WSGIEnvironment, limit: int) -> Sequence[PresentedID]:
        """Return the values of all cookies of this name, in the browser's order; one under an old key is outdated."""
        header = environ.get("HTTP_COOKIE", "")
        # Most requests of most sites carry other people's cookies only; parsing those is for nothing.
        if self.name not in header:
            return ()
        if self._protection is not None:
            return reveal_all(self._protection, parse_cookie(header).getlist(self.name), limit)
        # The commonest header is our cookie alone, which needs no parser: a tenth of a read's time.
        if len(header) == self._length and header.startswith(self._start) and ";" not in header:
            return (PresentedID(header[-ID_LENGTH:]),)
        return [PresentedID(text) for text in parse_cookie(header).getlist(self.name)]

    def issue(self, environ: WSGIEnvironment, session_id: str, max_age: int | None) -> Iterable[ResponseHeader]:
        """Return one Set-Cookie header, with Max-Age and Expires unless `max_age` is None."""
        value = session_id if self._protection is None else self._protection.protect(session_id)
        return (("Set-Cookie", self._dump(value, max_age)),)

    def withdraw(self, environ: WSGIEnvironment) -> Iterable[ResponseHeader]:
        """Return a Set-Cookie header that expires the cookie at the epoch; its other attributes are those of `issue`.

        A browser ignores a removal whose Path, Domain, Secure or Partitioned differ (RFC 6265bis, section 5.7).
        """
        return (("Set-Cookie", self._dump("", 0, expires=0)),)

    def warning(self, environ: WSGIEnvironment) -> str | None:
        """Tell that a browser drops a Secure cookie which it is given over plain http."""
        if not self.secure or environ.get("wsgi.url_scheme") != "http":
            return None
        host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
        if _is_loopback(host):
            return None
        return (
            f"the session cookie {self.name!r} is Secure but is being set over plain http, where browsers"
            " drop it. Behind a TLS proxy, pass on its X-Forwarded-Proto (werkzeug's ProxyFix); with no"
            " TLS at all, use transport=Cookie(secure=False)."
        )

    def _dump(self, value: str, max_age: int | None, expires: int | None = None) -> str:
        return dump_cookie(
            self.name,
            value,
            max_age=max_age,
            expires=expires,
            path=self.path,
            domain=self.domain,
            secure=self.secure,
            httponly=self.http_only,
            samesite=self.same_site,
            partitioned=self.partitioned,
        )

    def _check(self) -> None:
        if not isinstance(self.name, str) or not _is_token(self.name):
            raise ConfigurationError(
                f"a cookie's name is one or more of letters, digits and !#$%&'*+-.^_`|~; got {self.name!r}"
            )
        if not isinstance(self.path, str) or not self.path.startswith("/") or not _is_attribute(self.path):
            raise ConfigurationError(f'a cookie\'s path starts with "/" and holds no ";"; got {self.path!r}')
        if self.domain is not None and not _is_domain(self.domain):
            raise ConfigurationError(
                f'a cookie\'s domain is a bare host name, such as "example.org"; got {self.domain!r}'
            )
        if self.same_site not in ("Strict", "Lax", "None", None):
            raise ConfigurationError(
                f'same_site is "Strict", "Lax", "None" or None (no attribute); got {self.same_site!r}'
            )
        if self.same_site == "None" and not self.secure:
            raise ConfigurationError('same_site="None" needs secure=True: browsers drop the cookie otherwise')
        if self.partitioned and not self.secure:
            raise ConfigurationError("partitioned=True needs secure=True: browsers drop the cookie otherwise")
        if self._has_prefix("__Host-") and not (self.secure and self.path == "/" and self.domain is None):
            raise ConfigurationError(
                f'"__Host-" cookies need secure=True, path="/" and no domain; got secure={self.secure},'
                f" path={self.path!r}, domain={self.domain!r}"
            )
        if self._has_prefix("__Secure-") and not self.secure:
            raise ConfigurationError('"__Secure-" cookies need secure=True; got secure=False')
        try:
            self.withdraw({})
        except ValueError as error:
            raise ConfigurationError(f"a cookie with these attributes cannot be written: {error}") from error

    def _has_prefix(self, prefix: str) -> bool:
        # Browsers compare the prefixes without regard to case (RFC 6265bis, section 5.4).
        return self.name.lower().startswith(prefix.lower())


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
        if not isinstance(name, str) or not _is_token(name):
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

    def warning(self, environ: WSGIEnvironment) -> str | None:
        """Return None: a client that sends the header reads it too."""
        return None


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

    def warning(self, environ: WSGIEnvironment) -> str | None:
        """Ask the transport that the client uses."""
        return self._of(environ).warning(environ)

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

    def warning(self, environ: WSGIEnvironment) -> str | None:
        """Return None."""
        return None


def _default_name(secure: bool, path: str, domain: str | None) -> str:
    if not secure:
        return "id"
    return "__Host-id" if path == "/" and domain is None else "__Secure-id"


def _protection(name: str, signing_keys: SecretKeys, encryption_keys: SecretKeys) -> Protection | None:
    if signing_keys and encryption_keys:
        raise ConfigurationError("give signing_keys or encryption_keys; what is encrypted is authenticated too")
    if signing_keys:
        return Signed(signing_keys, name)
    return Encrypted(encryption_keys, name) if encryption_keys else None


def _is_token(text: str) -> bool:
    return re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", text) is not None


def _is_attribute(text: str) -> bool:
    return re.search(r"[;\x00-\x1f\x7f]", text) is None


def _is_domain(text: str) -> bool:
    return isinstance(text, str) and re.fullmatch(r"\.?[^\s;:/@\x00-\x1f\x7f]+", text) is not None


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    return name == "localhost" or name.endswith(".localhost") or name.startswith("127.") or name == "[::1]"
