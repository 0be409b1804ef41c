"""How a URL, or what is already there, becomes a client of Redis."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry
from redis.sentinel import Sentinel

from ..errors import ConfigurationError

# They have no type annotations.
cluster_node: Any = ClusterNode
sentinel: Any = Sentinel


def make_connector(server: object, timeout: float, max_connections: int) -> Callable[[], Any]:
    """Return what makes a process's client, without any I/O.

    :raises ConfigurationError: the URL cannot be read, or what is given is no client.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "encoding_errors": "surrogateescape",  # bytes that nobody wrote spoil their own key only
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
    }
    if iscoroutinefunction(getattr(server, "execute_command", None)):
        raise ConfigurationError("RedisStore takes a redis.Redis, not one of redis.asyncio, whose calls are awaited")
    if not isinstance(server, str):
        if callable(getattr(server, "evalsha", None)):
            return lambda: server
        if callable(getattr(server, "get_connection", None)):
            return lambda: redis.Redis(connection_pool=cast("redis.ConnectionPool", server))
        raise ConfigurationError(
            "RedisStore takes a redis:// URL, a redis.Redis, redis.RedisCluster or redis.ConnectionPool;"
            f" got {type(server).__name__}"
        )
    try:
        parts = urlsplit(server)
        if parts.scheme in ("redis+cluster", "redis+sentinel"):
            make = _cluster_connector if parts.scheme == "redis+cluster" else _sentinel_connector
            return make(parts, options | {"max_connections": max_connections})
        pool_of = partial(
            redis.BlockingConnectionPool.from_url, server, max_connections=max_connections, timeout=timeout, **options
        )
        cast("Any", pool_of()).make_connection()  # which connects to nothing yet, and knows its options
    except ConfigurationError:
        raise
    except (ValueError, TypeError):
        # The cause would quote a part of the password.
        raise ConfigurationError(
            "RedisStore cannot read its URL, which is redis://user:password@host:6379/0?option=value with %XX for"
            " what is special in the password"
        ) from None
    return lambda: redis.Redis(connection_pool=pool_of())


def _cluster_connector(parts: SplitResult, options: dict[str, Any]) -> Callable[[], Any]:
    if parts.query or parts.path.strip("/"):
        raise ConfigurationError(
            "a cluster's URL is redis+cluster://user:password@host:port,host:port; for more give RedisStore a"
            " redis.RedisCluster"
        )
    nodes = [cluster_node(*host) for host in _hosts(parts, 6379)]
    cluster_options: Any = options | _credentials(parts)
    return lambda: redis.RedisCluster(startup_nodes=nodes, **cluster_options)


def _sentinel_connector(parts: SplitResult, options: dict[str, Any]) -> Callable[[], Any]:
    service, _, database = parts.path.strip("/").partition("/")
    if not service or not (database or "0").isdecimal():
        raise ConfigurationError(
            "a Sentinel URL names its service: redis+sentinel://host:26379/mymaster, or /mymaster/0"
        )
    query = dict(parse_qsl(parts.query))
    own = {name: query.pop(f"sentinel_{name}") for name in ("username", "password") if f"sentinel_{name}" in query}
    if query:
        raise ConfigurationError(
            f"a Sentinel URL's query has sentinel_username and sentinel_password only; got {', '.join(sorted(query))}"
        )
    hosts, server_options = _hosts(parts, 26379), options | _credentials(parts)

    def connect() -> Any:
        watchers = sentinel(hosts, sentinel_kwargs=options | own, **server_options)
        return watchers.master_for(service, db=int(database or 0))

    return connect


def _credentials(parts: SplitResult) -> dict[str, str]:
    pairs = {"username": parts.username, "password": parts.password}
    return {name: unquote(text) for name, text in pairs.items() if text}


def _hosts(parts: SplitResult, default_port: int) -> list[tuple[str, int]]:
    hosts = []
    for each in parts.netloc.rpartition("@")[2].split(","):
        found = re.fullmatch(r"(?:\[([^]]+)\]|([^:]+))(?::([0-9]{1,5}))?", each)
        if found is None:
            # It may be a part of the password.
            raise ConfigurationError(
                f"a {parts.scheme} URL lists its hosts as host:port,host:port, with %XX for what is special in the"
                " password"
            )
        hosts.append((found[1] or found[2], int(found[3] or default_port)))
    return hosts
