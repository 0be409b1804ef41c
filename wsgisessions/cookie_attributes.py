"""One cookie with all its attributes: checked as a browser checks them, and written (RFC 6265bis and CHIPS)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec.structs import force_setattr
from werkzeug.http import dump_cookie

from .cookie_protection import Protection
from .errors import ConfigurationError
from .session_ids import ID_LENGTH
from .transports import Caution, is_token

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


@dataclass(frozen=True)
class Remedies:
    """What to change where a cookie would not come back, in the words of those who configure it."""

    secure: str
    path: str
    domain: str


class FixedCookie(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A cookie whose attributes are all known.

    :raises ConfigurationError: the attributes contradict each other, so that browsers would drop the cookie.
    """

    name: str
    path: str
    domain: str | None
    secure: bool
    http_only: bool
    same_site: str | None
    partitioned: bool
    protection: Protection | None = None
    start: str = ""
    """What a Cookie header begins with that has this cookie first."""
    length: int = 0
    """The length of a Cookie header that has this cookie alone, unprotected."""

    def __post_init__(self) -> None:
        self._check()
        force_setattr(self, "start", f"{self.name}=")
        force_setattr(self, "length", len(self.start) + ID_LENGTH)

    def issue(self, session_id: str, max_age: int | None) -> str:
        """Return the Set-Cookie header's value that hands out an ID."""
        return self._dump(session_id if self.protection is None else self.protection.protect(session_id), max_age)

    def withdraw(self) -> str:
        """Return the Set-Cookie header's value that expires the cookie at the epoch.

        A browser ignores a removal whose Path, Domain, Secure or Partitioned differ (RFC 6265bis, section 5.7).
        """
        return self._dump("", 0, expires=0)

    def cautions(self, environ: WSGIEnvironment, remedies: Remedies) -> Iterator[Caution]:
        """Yield why a browser drops this cookie, or does not send it back, when this request sets it."""
        if self.secure and environ.get("wsgi.url_scheme") == "http" and not _is_loopback(_host_of(environ)):
            yield Caution(
                "secure cookie",
                f"the session cookie {self.name!r} is Secure but is being set over plain http, where browsers drop it."
                f" {remedies.secure}",
            )
        if self.path != "/" and not _path_matches(environ, self.path):
            # The URL is not shown: some hold tokens.
            yield Caution(
                "cookie path",
                f"the session cookie {self.name!r} has the Path {self.path!r} but is being set by a URL outside that"
                " Path: browsers keep it, and do not send it back to this URL nor to any other outside that Path."
                f" {remedies.path}",
            )
        if self.domain is not None and not _domain_matches(_host_of(environ), self.domain):
            yield Caution(
                "cookie domain",
                f"the session cookie {self.name!r} has the Domain {self.domain!r} but is being set by the host"
                f" {_host_of(environ)!r}, which is neither that domain nor below it: browsers drop it."
                f" {remedies.domain}",
            )

    def _dump(self, value: str, max_age: int | None, expires: int | None = None) -> str:
        try:
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
        except ValueError as error:
            raise ConfigurationError(f"a cookie with these attributes cannot be written: {error}") from error

    def _check(self) -> None:
        if not isinstance(self.name, str) or not is_token(self.name):
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
        if has_prefix(self.name, "__Host-") and not (self.secure and self.path == "/" and self.domain is None):
            raise ConfigurationError(
                f'"__Host-" cookies need secure=True, path="/" and no domain; got secure={self.secure},'
                f" path={self.path!r}, domain={self.domain!r}"
            )
        if has_prefix(self.name, "__Secure-") and not self.secure:
            raise ConfigurationError('"__Secure-" cookies need secure=True; got secure=False')
        self.withdraw()  # what cannot be written is found here


def has_prefix(name: str, prefix: str) -> bool:
    """Tell whether a cookie's name has a prefix; browsers compare without regard to case (RFC 6265bis, section 5.4)."""
    return name.lower().startswith(prefix.lower())


def _is_attribute(text: str) -> bool:
    return re.search(r"[;\x00-\x1f\x7f]", text) is None


def _is_domain(text: str) -> bool:
    return isinstance(text, str) and re.fullmatch(r"\.?[^\s;:/@\x00-\x1f\x7f]+", text) is not None


def _host_of(environ: WSGIEnvironment) -> str:
    """Return the host without its port, or an empty text where the client names none."""
    host = str(environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")).lower()
    return re.sub(r":\d*$", "", host) if host.startswith("[") or host.count(":") == 1 else host


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "[::1]", "::1") or host.endswith(".localhost") or host.startswith("127.")


def _path_matches(environ: WSGIEnvironment, path: str) -> bool:
    """Tell whether a browser sends a cookie of this Path to the request's URL (RFC 6265bis, section 5.1.4).

    It compares what is percent-encoded. Servers have decoded it, so the decoded bytes are compared here.
    """
    requested = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "") or "/").encode("latin-1", "replace")
    covered = unquote_to_bytes(path)
    return requested == covered or requested.startswith(covered if covered.endswith(b"/") else covered + b"/")


def _domain_matches(host: str, domain: str) -> bool:
    """Tell whether a browser accepts a cookie of this Domain from the host (RFC 6265bis, section 5.1.3).

    It also refuses public suffixes, whose list is the browser's. A request that names no host is none of a browser's.
    """
    canonical = domain.lstrip(".").lower().encode("idna").decode()
    is_address = re.fullmatch(r"[\d.]+|.*:.*", host) is not None
    return host in ("", canonical) or (host.endswith(f".{canonical}") and not is_address)
