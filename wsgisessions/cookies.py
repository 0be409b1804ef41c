"""The session ID in a cookie: what is configured, and which cookie a request gets of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace
from werkzeug.sansio.http import parse_cookie

from .cookie_attributes import FixedCookie, Remedies, has_prefix
from .cookie_protection import Encrypted, Protection, Signed, reveal_all
from .errors import ConfigurationError
from .secret_keys import SecretKeys
from .session_ids import ID_LENGTH, PresentedID
from .transports import Caution, ResponseHeader

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class Cookie:
    """The ID in a cookie, with the attributes of RFC 6265bis and CHIPS.

    :param name: the cookie's name. By default `__Host-id` where `secure`, the path "/" and no domain allow
        it, else `__Secure-id` where only `secure` does, else `id`: a name that tells nothing (OWASP), and a
        prefix that keeps other hosts of the domain from setting it (ASVS 5, 3.3.1). Names with these
        prefixes are checked against the attributes they demand.
    :param path: the path below which the browser sends it, or a function of the environ that returns it.
    :param domain: the domain with its subdomains; None is this host only. Or a function of the environ that
        returns either. Such functions are called when a request sets or removes the cookie.
    :param secure: send over https only (and to localhost). "auto": as the request's scheme says, which is
        `wsgi.url_scheme`; the default name follows it.
    :param http_only: hide it from scripts.
    :param same_site: "Strict", "Lax", "None", or None to leave the attribute out.
    :param partitioned: keep one for each top-level site (CHIPS).
    :param signing_keys: secret keys, the newest first, to sign the ID by: a forged one is refused before
        the store is asked. Each is a str or bytes of 32 characters or more. The first signs, all are
        accepted, and a cookie under an old one is written anew at its next use.
    :param encryption_keys: the same, to encrypt the ID instead, which authenticates it too.
    :raises ConfigurationError: the attributes contradict each other, or a key is too short. What a function
        returns is checked in the request that asks for it.
    """

    vary = "Cookie"
    variables: Sequence[str] = ("HTTP_COOKIE",)
    remedies = Remedies(
        secure="Behind a TLS proxy, pass on its X-Forwarded-Proto (werkzeug's ProxyFix); for development without TLS,"
        ' use transport=Cookie(secure="auto").',
        path='Use Cookie(path="/") or, for an app behind a prefix, a function of the environ such as path=lambda'
        ' environ: environ.get("SCRIPT_NAME") or "/". Behind a proxy that takes a prefix away, pass it on as'
        " X-Forwarded-Prefix (werkzeug's ProxyFix with x_prefix=1).",
        domain="Leave the domain out for this host only or, for several domains, use a function of the environ,"
        " Cookie(domain=...). Behind a proxy, pass on the browser's Host (werkzeug's ProxyFix with x_host=1).",
    )

    def __init__(
        self,
        name: str | None = None,
        path: str | Callable[[WSGIEnvironment], str] = "/",
        domain: str | Callable[[WSGIEnvironment], str | None] | None = None,
        secure: bool | Literal["auto"] = True,
        http_only: bool = True,
        same_site: str | None = "Lax",
        partitioned: bool = False,
        signing_keys: SecretKeys | None = None,
        encryption_keys: SecretKeys | None = None,
    ) -> None:
        if secure not in (True, False, "auto"):
            raise ConfigurationError(f'secure is True, False or "auto"; got {secure!r}')
        same_site = same_site.title() if isinstance(same_site, str) else same_site
        if secure == "auto":
            _check_without_secure(name, same_site, partitioned)
            self.variables = ("HTTP_COOKIE", "wsgi.url_scheme")
        self._path = path
        self._domain = domain
        self._is_computed = callable(path) or callable(domain)
        if self._is_computed and isinstance(name, str) and has_prefix(name, "__Host-"):
            raise ConfigurationError(
                '"__Host-" cookies need path="/" and no domain, and no functions in their place; a "__Secure-" name may'
                " have them"
            )
        is_host_only = path == "/" and domain is None

        def cookie(secure: bool) -> FixedCookie:
            own_name = _default_name(secure, is_host_only) if name is None else name
            return FixedCookie(
                name=own_name,
                path="/" if callable(path) else path,
                domain=None if callable(domain) else domain,
                secure=secure,
                http_only=http_only,
                same_site=same_site,
                partitioned=partitioned,
                protection=_protection(own_name, signing_keys, encryption_keys),
            )

        self._over_https = cookie(secure=bool(secure))
        self._over_http = cookie(secure=False) if secure == "auto" else self._over_https
        self._always = None if secure == "auto" else self._over_https

    def read(self, environ: WSGIEnvironment, limit: int) -> Sequence[PresentedID]:
        """Return the values of all cookies of this name, in the browser's order; one under an old key is outdated."""
        cookie = self._always or self._of_scheme(environ)
        header = environ.get("HTTP_COOKIE", "")
        # Most requests of most sites carry other people's cookies only; parsing those is for nothing.
        if cookie.name not in header:
            return ()
        if cookie.protection is not None:
            return reveal_all(cookie.protection, parse_cookie(header).getlist(cookie.name), limit)
        # The commonest header is our cookie alone, which needs no parser: a tenth of a read's time.
        if len(header) == cookie.length and header.startswith(cookie.start) and ";" not in header:
            return (PresentedID(header[-ID_LENGTH:]),)
        return [PresentedID(text) for text in parse_cookie(header).getlist(cookie.name)]

    def issue(self, environ: WSGIEnvironment, session_id: str, max_age: int | None) -> Iterable[ResponseHeader]:
        """Return one Set-Cookie header, with Max-Age and Expires unless `max_age` is None."""
        return (("Set-Cookie", self._of(environ).issue(session_id, max_age)),)

    def withdraw(self, environ: WSGIEnvironment) -> Iterable[ResponseHeader]:
        """Return a Set-Cookie header that removes the cookie; its other attributes are those of `issue`."""
        return (("Set-Cookie", self._of(environ).withdraw()),)

    def warnings(self, environ: WSGIEnvironment) -> Iterable[Caution]:
        """Tell what browsers do with a cookie whose attributes do not fit the request that sets it."""
        return self._of(environ).cautions(environ, self.remedies)

    def _of(self, environ: WSGIEnvironment) -> FixedCookie:
        """Return the cookie that this request sets."""
        cookie = self._always or self._of_scheme(environ)
        if not self._is_computed:
            return cookie
        path, domain = self._path, self._domain
        try:
            return replace(
                cookie,
                path=path(environ) if callable(path) else path,
                domain=domain(environ) if callable(domain) else domain,
            )
        except ConfigurationError as error:
            raise ConfigurationError(
                f"Cookie was given a function of the environ that returned what is refused: {error}"
            ) from error

    def _of_scheme(self, environ: WSGIEnvironment) -> FixedCookie:
        return self._over_https if environ.get("wsgi.url_scheme") == "https" else self._over_http


def _default_name(secure: bool, is_host_only: bool) -> str:
    if not secure:
        return "id"
    return "__Host-id" if is_host_only else "__Secure-id"


def _check_without_secure(name: str | None, same_site: str | None, partitioned: bool) -> None:
    """Refuse with secure="auto" what browsers drop over plain http."""
    if same_site == "None":
        raise ConfigurationError(
            'same_site="None" needs secure=True, and secure="auto" is not Secure over plain http, where browsers would'
            ' drop the cookie; write secure=True, or same_site="Lax"'
        )
    if partitioned:
        raise ConfigurationError(
            'partitioned=True needs secure=True, and secure="auto" is not Secure over plain http, where browsers would'
            " drop the cookie; write secure=True, or partitioned=False"
        )
    if isinstance(name, str) and (has_prefix(name, "__Host-") or has_prefix(name, "__Secure-")):
        raise ConfigurationError(
            f'the name {name!r} needs secure=True, and secure="auto" is not Secure over plain http, where browsers'
            " would drop the cookie; write secure=True, or leave the name out, and it has a prefix over https only"
        )


def _protection(name: str, signing_keys: SecretKeys | None, encryption_keys: SecretKeys | None) -> Protection | None:
    if signing_keys is not None and encryption_keys is not None:
        raise ConfigurationError("give signing_keys or encryption_keys; what is encrypted is authenticated too")
    if signing_keys is not None:
        return Signed(signing_keys, name)
    return None if encryption_keys is None else Encrypted(encryption_keys, name)
