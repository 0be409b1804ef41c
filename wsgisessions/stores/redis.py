"""Sessions in Redis or Valkey: one server, a cluster, or servers that Sentinel watches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from hashlib import sha1
from typing import Any

import redis
from redis import exceptions

from ..errors import StoreError, StoreUnavailable
from ..forking import OnePerProcess
from ..record import Outcome, Patch, Record, utc_now
from .base import Store
from .damage import absent_if_damaged
from .limits import check_limits
from .redis_clients import make_connector

# A session is a Redis hash: its fields, each with "=" before its name; created_at, touched_at and expires_at in
# microseconds since 1970; and perhaps owner, lease_token and lease_until. The hash expires with the session.
# An owner's sessions are a sorted set of their hashes' names by deadline, in milliseconds, that expires with
# the last of them. Its name is made in the script from the owner that the hash names; in a cluster, where a
# script must stay on its keys' node, the prefix is empty and the client follows up.
#
# A full server refuses the commands of a script that need memory, and runs the others: so the former come
# first, and a refused script has changed nothing.

_START = """
local session, owners = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function integer(number) return string.format('%.0f', number) end
local function milliseconds(microseconds) return integer(math.ceil(microseconds / 1000)) end

local function enter(index, name, expires_at)
    redis.call('ZADD', index, milliseconds(expires_at), name)
    redis.call('ZREMRANGEBYSCORE', index, '-inf', milliseconds(now))
    local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')
    if last[2] then redis.call('PEXPIREAT', index, integer(last[2])) end
end
"""

# ARGV: index prefix, expires_at, owner or ''; what is in the hash: name, text, name, text ...
_CREATE = """
local expires_at, owner = ARGV[2], ARGV[3]
if redis.call('EXISTS', session) == 1 then return 0 end
for i = 4, #ARGV, 2 do redis.call('HSET', session, ARGV[i], ARGV[i + 1]) end
if owner ~= '' and owners ~= '' then enter(owners .. owner, session, expires_at) end
redis.call('PEXPIREAT', session, milliseconds(expires_at))
return 1
"""

# ARGV: index prefix, token or '', how many texts are expected, how many fields must be absent; these.
_CHECK = """
local token = ARGV[2]
local old = redis.call('HMGET', session, 'expires_at', 'owner', 'lease_token', 'lease_until')
if not old[1] then return {'GONE'} end
if token ~= '' and (old[3] ~= token or tonumber(old[4]) <= now) then return {'CONFLICT'} end
local at = 5
for i = 1, ARGV[3] do
    if redis.call('HGET', session, ARGV[at]) ~= ARGV[at + 1] then return {'CONFLICT'} end
    at = at + 2
end
for i = 1, ARGV[4] do
    if redis.call('HEXISTS', session, ARGV[at]) == 1 then return {'CONFLICT'} end
    at = at + 1
end
"""

# KEYS: the hash, and what to rename it to, if anything.
# ARGV: after those of the check, expires_at or '', owner or '', how many fields are removed; these, and the fields
# to set with their texts.
# Returns what became of it, and if the client must tell the index of it, whose session it is until when.
_PATCH = """
local expires_at, owner = ARGV[at], ARGV[at + 1]
local removed = at + 3
local set = removed + ARGV[at + 2]
local renamed = KEYS[2] or session
if renamed ~= session and redis.call('EXISTS', renamed) == 1 then return {'CONFLICT'} end

local new_owner = owner ~= '' and owner or old[2]
local new_expires_at = expires_at ~= '' and expires_at or old[1]
local moves = renamed ~= session or owner ~= '' or expires_at ~= ''
if new_owner and moves and owners ~= '' then enter(owners .. new_owner, renamed, new_expires_at) end
if owner ~= '' then redis.call('HSET', session, 'owner', owner) end
if expires_at ~= '' then redis.call('HSET', session, 'touched_at', integer(now), 'expires_at', expires_at) end
local kept = {}
for i = set, #ARGV, 2 do
    redis.call('HSET', session, ARGV[i], ARGV[i + 1])
    kept[ARGV[i]] = true
end
for i = removed, set - 1 do
    if not kept[ARGV[i]] then redis.call('HDEL', session, ARGV[i]) end
end
if renamed ~= session then redis.call('RENAME', session, renamed) end
if expires_at ~= '' then redis.call('PEXPIREAT', renamed, milliseconds(expires_at)) end
if old[2] and owners ~= '' and (renamed ~= session or old[2] ~= new_owner) then
    redis.call('ZREM', owners .. old[2], session)
end
if new_owner and moves then return {'DONE', new_owner, new_expires_at} end
return {'DONE'}
"""

# In a cluster, a session whose new ID hash is on another node leaves its old one in three steps. From the first on it
# is absent under the old ID hash, though still there to be deleted: expires_at is called leaving. When it has been
# copied, the last step tells whether it was deleted meanwhile, and the copy must go too.
_LEAVE = """
redis.call('HSET', session, 'leaving', old[1])
redis.call('HDEL', session, 'expires_at')
redis.call('PEXPIRE', session, 60000)
return {'DONE', integer(now), redis.call('HGETALL', session)}
"""

_STAY = """
local expires_at = redis.call('HGET', session, 'leaving')
if not expires_at then return 0 end
redis.call('HSET', session, 'expires_at', expires_at)
redis.call('HDEL', session, 'leaving')
redis.call('PEXPIREAT', session, milliseconds(expires_at))
return 1
"""

_LEFT = """
if redis.call('HEXISTS', session, 'leaving') == 0 then return 0 end
return redis.call('DEL', session)
"""

# ARGV: index prefix, if empty or '', if owned by or ''
_DELETE = """
local if_empty, if_owned = ARGV[2], ARGV[3]
local names = redis.call('HKEYS', session)
if #names == 0 then return 0 end
local owner = redis.call('HGET', session, 'owner')
if if_owned ~= '' and owner ~= if_owned then return 0 end
if if_empty ~= '' then
    if owner then return 0 end
    for _, name in ipairs(names) do
        if string.sub(name, 1, 1) == '=' and string.sub(name, 1, 14) ~= '=wsgisessions.' then return 0 end
    end
end
redis.call('DEL', session)
if owner and owners ~= '' then redis.call('ZREM', owners .. owner, session) end
return 1
"""

# ARGV: index prefix, token, lease in microseconds
_ACQUIRE = """
local token, lease = ARGV[2], ARGV[3]
local old = redis.call('HMGET', session, 'expires_at', 'lease_token', 'lease_until')
if not old[1] then return 0 end
if old[2] and old[2] ~= token and tonumber(old[3]) > now then return 0 end
redis.call('HSET', session, 'lease_token', token, 'lease_until', integer(now + lease))
return 1
"""

# ARGV: index prefix, token
_RELEASE = """
local old = redis.call('HMGET', session, 'lease_token', 'lease_until')
if old[1] ~= ARGV[2] or tonumber(old[2]) <= now then return 0 end
return redis.call('HDEL', session, 'lease_token', 'lease_until') > 0 and 1 or 0
"""

# KEYS: the index. ARGV: index prefix, owner, the name to keep or ''
_DELETE_OWNER = """
local deleted = 0
for _, name in ipairs(redis.call('ZRANGE', session, 0, -1)) do
    if name ~= ARGV[3] then
        if redis.call('HGET', name, 'owner') == ARGV[2] then deleted = deleted + redis.call('DEL', name) end
        redis.call('ZREM', session, name)
    end
end
return deleted
"""

# KEYS: the index. ARGV: index prefix, name, expires_at
_ENTER = "enter(session, ARGV[2], ARGV[3])"

_LONG_ENOUGH = timedelta(days=200)

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

_REFUSALS = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)
_PASSING = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.ClusterError,
    exceptions.TryAgainError,
    exceptions.RedisClusterException,
)
_PASSING_REPLIES = ("BUSY ", "MISCONF ", "NOREPLICAS ")


class _ForgottenScript(Exception):
    """The server has been told to forget its scripts, or is another one."""


class _Script:
    """A script and the name that the server gives it."""

    def __init__(self, text: str) -> None:
        self.text = _START + text
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_create, _patch, _delete = _Script(_CREATE), _Script(_CHECK + _PATCH), _Script(_DELETE)
_leave, _stay, _left = _Script(_CHECK + _LEAVE), _Script(_STAY), _Script(_LEFT)
_acquire, _release = _Script(_ACQUIRE), _Script(_RELEASE)
_delete_owner, _enter = _Script(_DELETE_OWNER), _Script(_ENTER)


class RedisStore(Store):
    """Sessions as hashes that the server expires by itself, to the millisecond; each method one script.

    What an acknowledged write survives is the server's configuration: `appendfsync always` is for those
    that must survive its death. Replication is asynchronous, so a failover may lose the last moments.

    In a cluster `rename` takes three round trips, writing an owner three, and touching an owner's session two.

    :param server: a URL, `redis://`, `rediss://`, `unix://`, `redis+cluster://host:port,host:port` or
        `redis+sentinel://host:port,host:port/service` (with `?sentinel_password=` if these want one); or a
        `redis.Redis`, `redis.RedisCluster` or `redis.ConnectionPool` that is already there. A
        cluster's client should not retry by itself (`retry=Retry(NoBackoff(), 0)`), lest it applies a patch
        twice.
    :param prefix: what the names of the server's keys start with.
    :param max_connections: how many connections a process opens at most, in a cluster to each node.
    :param timeout: how many seconds a method waits for a connection, and again for its answer, before
        `StoreUnavailable`; in a cluster of which every node hangs, for each node that it tries, one thread
        after the other. For a client that was already there, its own time-outs hold.
    :raises ConfigurationError: an option makes no sense.
    """

    def __init__(
        self,
        server: str | redis.Redis | redis.RedisCluster | redis.ConnectionPool,
        *,
        prefix: str = "wsgisessions:",
        max_connections: int = 100,
        timeout: float = 5,
    ) -> None:
        check_limits(self, timeout=timeout, max_connections=max_connections)
        self._prefix = prefix
        self._is_ours = isinstance(server, str)
        self._clients = OnePerProcess(make_connector(server, timeout, max_connections))
        self._is_cluster = (
            server.lower().startswith("redis+cluster:") if isinstance(server, str) else hasattr(server, "keyslot")
        )
        self._local_index = "" if self._is_cluster else self._index("")

    def create(self, id_hash: str, record: Record) -> bool:
        """Store a new session."""
        stored = {
            "created_at": _to_integer(record.created_at),
            "touched_at": _to_integer(record.touched_at),
            "expires_at": _to_integer(record.expires_at),
            **_from_fields(record.fields),
        }
        if record.owner is not None:
            stored["owner"] = record.owner
        return self._create(id_hash, stored)

    def load(self, id_hash: str) -> Record | None:
        """Return a session, or None if it is absent or expired."""
        stored = self._send("HGETALL", self._prefix + id_hash)
        return _to_record(stored) if stored else None

    def update(self, id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch, whole or not at all."""
        if patch.owner is not None:
            self._enter(id_hash, patch.owner, _to_integer(patch.expires_at or utc_now() + _LONG_ENOUGH))
        answer = self._run(_patch, [self._prefix + id_hash], *_conditions(patch), *_changes(patch))
        outcome, *indexed = map(_text, answer)
        if indexed:
            self._enter(id_hash, *indexed)
        return Outcome[outcome]

    def rename(self, id_hash: str, new_id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch and move the session to a new ID hash."""
        if self._is_cluster:
            return self._move(id_hash, new_id_hash, patch)
        names = [self._prefix + id_hash, self._prefix + new_id_hash]
        outcome, *_ = self._run(_patch, names, *_conditions(patch), *_changes(patch))
        return Outcome[_text(outcome)]

    def delete(self, id_hash: str, *, if_empty: bool = False) -> bool:
        """Delete a session, and tell whether there was one."""
        return self._says_yes(_delete, [self._prefix + id_hash], "1" if if_empty else "", "")

    def delete_expired(self, limit: int = 1000) -> int:
        """Return 0: the server deletes them by itself."""
        return 0

    def acquire(self, id_hash: str, token: str, lease: timedelta) -> bool:
        """Take the lease on a session until `lease` from now."""
        return self._says_yes(_acquire, [self._prefix + id_hash], token, str(lease // _MICROSECOND))

    def release(self, id_hash: str, token: str) -> bool:
        """Let go of a lease."""
        return self._says_yes(_release, [self._prefix + id_hash], token)

    def find(self, owner: str) -> Iterator[tuple[str, Record]]:
        """Yield an owner's live sessions with their ID hashes; one round trip, and another for each."""
        for name in self._names(owner):
            stored = self._send("HGETALL", name)
            record = _to_record(stored) if stored else None
            if record is not None and record.owner == owner:
                yield name.removeprefix(self._prefix), record
            else:
                self._expel(owner, name)

    def delete_owner(self, owner: str, *, keep: str | None = None) -> int:
        """Delete an owner's live sessions, all but one; in a cluster, one after the other."""
        kept = "" if keep is None else self._prefix + keep
        if not self._is_cluster:
            return int(self._run(_delete_owner, [self._index(owner)], owner, kept))
        deleted = 0
        # A session that has moved meanwhile is in the index under its new name.
        while names := [name for name in self._names(owner) if name != kept]:
            for name in names:
                deleted += self._says_yes(_delete, [name], "", owner)
                self._expel(owner, name)
        return deleted

    def close(self) -> None:
        """Close this process's idle connections, if the store opened them."""
        client = self._clients.take() if self._is_ours else None
        if client is not None:
            _close_idle(client)

    def _create(self, id_hash: str, stored: Mapping[str, str]) -> bool:
        owner = stored.get("owner", "")
        pairs = [each for pair in stored.items() for each in pair]
        if owner:
            self._enter(id_hash, owner, stored["expires_at"])
        is_created = self._says_yes(_create, [self._prefix + id_hash], stored["expires_at"], owner, *pairs)
        if is_created and owner:
            self._enter(id_hash, owner, stored["expires_at"])
        return is_created

    def _move(self, id_hash: str, new_id_hash: str, patch: Patch) -> Outcome:
        names = [self._prefix + id_hash]
        outcome, *left = self._run(_leave, names, *_conditions(patch))
        if not left:
            return Outcome[_text(outcome)]
        now, stored = left
        try:
            is_copied = self._create(new_id_hash, _patched(_to_texts(stored), patch, _text(now)))
        except BaseException:
            # It may be there all the same; only if it surely is not, the session can stay what it was.
            self.delete(new_id_hash)
            self._says_yes(_stay, names)
            raise
        if not is_copied:
            self._says_yes(_stay, names)
            return Outcome.CONFLICT
        if self._says_yes(_left, names):
            return Outcome.DONE
        self.delete(new_id_hash)
        return Outcome.GONE

    # --- owners

    def _index(self, owner: str) -> str:
        return f"{self._prefix}owner:{owner}"

    def _names(self, owner: str) -> list[str]:
        return [_text(name) for name in self._send("ZRANGE", self._index(owner), 0, -1)]

    def _expel(self, owner: str, name: str) -> None:
        self._send("ZREM", self._index(owner), name)
        # It may have become the owner's since it was looked at.
        expires_at, owner_now = self._send("HMGET", name, "expires_at", "owner")
        if expires_at is not None and owner_now is not None and _text(owner_now) == owner:
            self._run(_enter, [self._index(owner)], name, _text(expires_at))

    def _enter(self, id_hash: str, owner: str, expires_at: str) -> None:
        """Tell a cluster's index of a session, before it gets its owner and again afterwards.

        Before, lest nobody finds it if the index cannot be told afterwards; afterwards, for a look in between may
        have taken the entry out. It stays for twice the session's time, and so outlasts touches of which the index
        could not be told.
        """
        if self._is_cluster:
            life = int(expires_at) - int(_to_integer(utc_now()))
            last = str(int(expires_at) + max(0, life))
            self._run(_enter, [self._index(owner)], self._prefix + id_hash, last)

    # --- commands

    def _says_yes(self, script: _Script, names: Sequence[str], *arguments: Any) -> bool:
        return bool(self._run(script, names, *arguments) == 1)

    def _run(self, script: _Script, names: Sequence[str], *arguments: Any) -> Any:
        keys_and_arguments = (len(names), *names, self._local_index, *arguments)
        try:
            return self._send("EVALSHA", script.sha, *keys_and_arguments)
        except _ForgottenScript:
            return self._send("EVAL", script.text, *keys_and_arguments)

    def _send(self, *command: Any) -> Any:
        try:
            client = self._clients.get()
            if self._is_cluster:
                return client.execute_command(*command)
            return _exchange(client, command)
        except exceptions.NoScriptError as error:
            raise _ForgottenScript from error
        except (exceptions.RedisError, exceptions.RedisClusterException, UnicodeDecodeError) as error:
            raise _explain(error) from error


def _exchange(client: Any, command: Sequence[Any]) -> Any:
    """Send a command and return its answer.

    The client's own way would take a fifth longer, and would try a patch again that may have arrived.
    """
    pool = client.connection_pool
    try:
        connection = pool.get_connection()
    except Exception:
        raise
    except BaseException:
        # Interrupted: one of the idle connections may be half made.
        _close_idle(client)
        raise
    try:
        connection.send_command(*command)
        return connection.read_response(disconnect_on_error=True)
    except exceptions.ReadOnlyError:
        # The server has become a replica; its successor may be behind the same address.
        connection.disconnect()
        _close_idle(client)
        raise
    except exceptions.ResponseError:
        raise
    except BaseException:
        # The answer may still come, and must not be taken for that to another command.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _close_idle(client: Any) -> None:
    if hasattr(client, "connection_pool"):
        client.connection_pool.disconnect(inuse_connections=False)
    else:
        client.close()


def _conditions(patch: Patch) -> list[Any]:
    present: list[str] = []
    absent: list[str] = []
    for name, text in patch.expect.items():
        if text is None:
            absent.append("=" + name)
        else:
            present += ("=" + name, text)
    return [patch.token or "", len(present) // 2, len(absent), *present, *absent]


def _changes(patch: Patch) -> list[Any]:
    expires_at = "" if patch.expires_at is None else _to_integer(patch.expires_at)
    changes = [expires_at, patch.owner or "", len(patch.remove)]
    changes += ["=" + name for name in patch.remove]
    for name, text in patch.set.items():
        changes += ("=" + name, text)
    return changes


def _patched(stored: dict[str, str], patch: Patch, now: str) -> dict[str, str]:
    """Return a leaving session's hash with a patch applied."""
    patched = {name: text for name, text in stored.items() if name[:1] != "="}
    patched["expires_at"] = patched.pop("leaving")
    if patch.expires_at is not None:
        patched |= {"touched_at": now, "expires_at": _to_integer(patch.expires_at)}
    if patch.owner is not None:
        patched["owner"] = patch.owner
    return patched | _from_fields(patch.applied_to(_to_fields(stored)))


def _explain(error: Exception) -> StoreError:
    if isinstance(error, _REFUSALS):
        return StoreError(f"Redis refused the connection or a command: {error}")
    if isinstance(error, exceptions.OutOfMemoryError):
        return StoreUnavailable("Redis is full (maxmemory), and its policy is to evict nothing")
    if isinstance(error, _PASSING) or str(error).startswith(_PASSING_REPLIES):
        return StoreUnavailable(f"Redis cannot serve now: {str(error).partition(' : ')[0]}")
    return StoreError(f"Redis failed: {type(error).__name__}")


def _text(answer: str | bytes) -> str:
    return answer.decode() if isinstance(answer, bytes) else answer


def _to_texts(answer: Any) -> dict[str, str]:
    """Return a hash that came as a mapping (RESP3) or a list (RESP2), decoded or not."""
    stored = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
    # Only a client that was there already may answer in bytes.
    return {_text(name): _text(text) for name, text in stored.items()} if b"created_at" in stored else stored


def _to_fields(stored: Mapping[str, str]) -> dict[str, str]:
    return {name[1:]: text for name, text in stored.items() if name[:1] == "="}


def _from_fields(fields: Mapping[str, str]) -> dict[str, str]:
    return {"=" + name: text for name, text in fields.items()}


def _to_integer(instant: datetime) -> str:
    return str((instant - _EPOCH) // _MICROSECOND)


@absent_if_damaged
def _to_record(answer: Any) -> Record | None:
    stored = _to_texts(answer)
    if "leaving" in stored:
        return None
    return Record(
        _to_fields(stored),
        _EPOCH + timedelta(microseconds=int(stored["created_at"])),
        _EPOCH + timedelta(microseconds=int(stored["touched_at"])),
        _EPOCH + timedelta(microseconds=int(stored["expires_at"])),
        stored.get("owner"),
    )
