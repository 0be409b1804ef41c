"""The options of `SessionManager`, `SessionMiddleware` and `Sessions`: declared, described and checked here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, get_args

import msgspec
from msgspec.structs import force_setattr

from .changes import check_key
from .codec import Codec, JSONCodec
from .discreet import show_nothing
from .encryption_at_rest import Encryption, encryption_of
from .errors import ConfigurationError
from .expiry import Expiry, OnSessionEnd, dump_expiry
from .leases import ThreadLocks
from .merge import Rule, is_rule
from .owners import check_namespace
from .record import Clock, utc_now
from .seal import SealedCodec
from .secret_keys import SecretKeys
from .session_info import KeepClient
from .stores.base import Store
from .transports import Transport
from .warn_once import WarnOnce

OnConflict = Literal["last-wins", "refuse"]


class Options(TypedDict, total=False):
    """What can be said of sessions wherever they are opened."""

    expiry: Expiry
    """When sessions end: `OnSessionEnd()`, which is the default, `OnInactivity(...)` or `AtDateTime(...)`."""
    codec: Codec | None
    """How values become text; `JSONCodec()` by default."""
    encryption_keys: SecretKeys
    """Secret keys to encrypt the texts of any codec at rest, the newest first, each a str or bytes of 32 random
    characters or more. The first encrypts, all decrypt. `()`, the default, stores in plain."""
    read_plain_until: datetime | None
    """Until when sessions that are stored in plain are read, and encrypted by their next write; an aware datetime. By
    default they are ignored. Until then, whoever writes to the store can forge sessions."""
    namespace: str
    """The app's name among those that share a store: they share no session, unless they give the same name."""
    max_bytes: int | None
    """The most that one session's keys and texts may take, in bytes of UTF-8; no limit by default."""
    on_conflict: OnConflict
    """When two requests change one key that both had read: "last-wins", the default, or "refuse" the later one with
    `SessionConflict` (409)."""
    merges: Mapping[str, Rule] | None
    """Rules that merge two such changes, by session key, such as `{"cart": merge.extend}`."""
    max_per_owner: int | None
    """How many sessions an owner has at most; a login beyond that ends the oldest. No limit by default."""
    keep_client: KeepClient | None
    """Whether a login keeps the user agent and the address for `manager.sessions(owner)`: "plain", or "hashed", which
    tells that two are the same and is no secret against guessing. Behind a proxy, the address needs werkzeug's
    ProxyFix."""
    clock: Clock
    """The present as an aware UTC datetime."""


class MiddlewareOptions(Options, total=False):
    """What can be said of sessions in requests."""

    transport: Transport | Sequence[Transport] | None
    """How the session ID travels; `Cookie()` by default. Given a list, such as `[Header(), Cookie()]`, the first
    transport that the request uses answers; otherwise the last one."""
    environ_key: str
    """The session's place in the environ. Two middlewares with two keys and two cookie names give a request two
    sessions. Of two with one key, the outer one's is the session of both."""


class Settings(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A store and the options for its sessions, checked.

    :raises ConfigurationError: an option makes no sense.
    """

    store: Store
    expiry: Expiry = OnSessionEnd()
    codec: Codec = JSONCodec()
    encryption_keys: SecretKeys = ()
    read_plain_until: datetime | None = None
    namespace: str = ""
    max_bytes: int | None = None
    on_conflict: OnConflict = "last-wins"
    merges: Mapping[str, Rule] = {}
    max_per_owner: int | None = None
    keep_client: KeepClient | None = None
    clock: Clock = utc_now
    encryption: Encryption | None = None
    """What encrypts the texts at rest, if anything does."""
    is_guarded: Callable[[str], bool] | None = None
    """Tells which keys' changes must not overwrite another request's; None: no key's."""
    warn_once: WarnOnce = msgspec.field(default_factory=WarnOnce)
    thread_locks: ThreadLocks = msgspec.field(default_factory=ThreadLocks)

    def __repr__(self) -> str:
        return f"<Settings of sessions on {type(self.store).__name__}>"

    __rich_repr__ = show_nothing

    def __post_init__(self) -> None:
        if not isinstance(self.store, Store):
            raise ConfigurationError(
                "the store is a wsgisessions Store, such as MemoryStore(), RedisStore(client) or open_store(url);"
                f" got {_kind_of(self.store)}"
            )
        if isinstance(self.codec, type) or not hasattr(self.codec, "immutable_types"):
            raise ConfigurationError(f"codec is a Codec, such as JSONCodec(); got {_kind_of(self.codec)}")
        check_namespace(self.namespace)
        if self.on_conflict not in get_args(OnConflict):
            raise ConfigurationError(f'on_conflict is "last-wins" or "refuse"; got {self.on_conflict!r}')
        if self.max_bytes is not None and (not isinstance(self.max_bytes, int) or self.max_bytes <= 0):
            raise ConfigurationError(f"max_bytes is a number of bytes above 0, or None; got {self.max_bytes!r}")
        if self.max_per_owner is not None and (not isinstance(self.max_per_owner, int) or self.max_per_owner < 1):
            raise ConfigurationError(
                f"max_per_owner is a number of sessions, 1 or more, or None; got {self.max_per_owner!r}"
            )
        if self.keep_client not in (*get_args(KeepClient), None):
            raise ConfigurationError(f'keep_client is "plain", "hashed" or None; got {self.keep_client!r}')
        dump_expiry(self.expiry)
        now = self.clock()
        if not isinstance(now, datetime) or now.utcoffset() != timedelta(0):
            raise ConfigurationError(
                f"clock returns an aware datetime in UTC, as datetime.now(timezone.utc) is; got {now!r}"
            )
        if not isinstance(self.merges, Mapping):
            raise ConfigurationError(
                f"merges has a rule for each key: {{'cart': merge.extend}}; got {_kind_of(self.merges)}"
            )
        for key, rule in self.merges.items():
            check_key(key)
            if not is_rule(rule):
                raise ConfigurationError(
                    f"merges[{key!r}] is a function of (base, mine, theirs), such as merge.add or"
                    f" merge.each(merge.add); got {rule!r}"
                )
        encryption = encryption_of(self.encryption_keys, self.read_plain_until, self.clock)
        if encryption is not None:
            force_setattr(self, "encryption", encryption)
            # What shows an object's fields, as rich does in tracebacks, shows no key.
            force_setattr(self, "encryption_keys", ())
            force_setattr(self, "codec", SealedCodec(self.codec))
        if self.on_conflict == "refuse":
            force_setattr(self, "is_guarded", lambda key: True)
        elif self.merges:
            force_setattr(self, "is_guarded", self.merges.__contains__)


def settings_of(store: Store, options: Mapping[str, Any]) -> Settings:
    """Return the settings of a store and options; no codec and no merges are the default.

    :raises ConfigurationError: an option makes no sense.
    :raises TypeError: there is no such option.
    """
    for name in options:
        if name not in Options.__optional_keys__:
            raise TypeError(f"there is no option {name!r}")
    defaults = [name for name in ("codec", "merges") if options.get(name) is None]
    return Settings(store=store, **{name: value for name, value in options.items() if name not in defaults})


def _kind_of(option: object) -> str:
    return f"the class {option.__name__} itself" if isinstance(option, type) else type(option).__name__
