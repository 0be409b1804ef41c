"""What Redis promises beyond the contract: its scripts, clients, prefix, expiry and index of owners."""

import threading
import time
from datetime import timedelta

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel
from servers import PASSWORD, Redis, free_port

from wsgisessions import ConfigurationError, Outcome, Patch, RedisStore, StoreUnavailable
from wsgisessions.record import utc_now
from wsgisessions.stores import redis as redis_store

MILLISECOND = timedelta(milliseconds=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def url(server_url):
    return server_url("redis")


@pytest.fixture
def client(url):
    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield client


@pytest.fixture
def prefix(make_key):
    return make_key()[:8] + ":"


@pytest.fixture
def store(url, prefix, open_fresh):
    return open_fresh("redis", url, prefix=prefix)


def test_making_a_store_connects_to_nothing():
    for url in ("redis://nowhere", "redis+cluster://nowhere", "redis+sentinel://nowhere/service"):
        RedisStore(url)


def test_every_key_has_the_prefix_and_expires_with_its_session(store, client, prefix, make_key, make_record):
    key = make_key()
    store.create(key, make_record({"a": "1"}, owner="ann"))
    store.acquire(key, "token", HOUR)
    assert sorted(client.keys(f"{prefix}*")) == sorted([prefix + key, f"{prefix}owner:ann"])
    for name in client.keys(f"{prefix}*"):
        assert abs(client.pexpiretime(name) / 1000 - time.time() - 3600) < 60
    store.update(key, Patch(expires_at=utc_now() + 2 * HOUR))
    for name in client.keys(f"{prefix}*"):
        assert abs(client.pexpiretime(name) / 1000 - time.time() - 7200) < 60


def test_the_server_expires_to_the_millisecond(store, client, prefix, make_key, make_record):
    key = make_key()
    record = make_record(lives=HOUR)
    store.create(key, record)
    deadline = record.expires_at.timestamp() * 1000
    assert 0 <= client.pexpiretime(prefix + key) - deadline < 1.001


def test_a_value_is_a_field_that_a_person_can_read(store, client, prefix, make_key, make_record):
    key = make_key()
    store.create(key, make_record({"a": '"x"'}))
    store.update(key, Patch(set={"b": "2"}))
    fields = client.hgetall(prefix + key)
    assert (fields["=a"], fields["=b"]) == ('"x"', "2")


def test_scripts_are_loaded_again_when_the_server_forgot_them(store, client, make_key, make_record):
    key = make_key()
    for _ in range(2):
        client.script_flush()
        store.delete(key)
        assert store.create(key, make_record({"a": "1"}))
        client.script_flush()
        assert store.update(key, Patch(set={"a": "2"})) is Outcome.DONE


def test_a_patch_of_thousands_of_keys_is_one_script(store, make_key, make_record):
    key = make_key()
    values = {f"key {number}": "x" * 10 for number in range(20_000)}
    assert store.create(key, make_record(values))
    assert store.update(key, Patch(set=dict.fromkeys(values, "y"), expect=values)) is Outcome.DONE
    assert store.update(key, Patch(remove=values)) is Outcome.DONE
    assert store.load(key).values == {}


@pytest.mark.parametrize("decodes", [True, False])
def test_a_ready_made_client_or_pool_serves(decodes, url, prefix, make_key, make_record):
    retry = Retry(NoBackoff(), 0)
    with redis.Redis.from_url(url, decode_responses=decodes, retry=retry) as client:
        for server in (client, client.connection_pool):
            store = RedisStore(server, prefix=prefix)
            key, new_key = make_key(), make_key()
            record = make_record({"é": "1"}, owner="änn")
            assert store.create(key, record)
            assert store.rename(key, new_key, Patch(set={"b": "2"}, expect={"é": "1"})) is Outcome.DONE
            assert [(found, each.values, each.owner) for found, each in store.find("änn")] == [
                (new_key, {"é": "1", "b": "2"}, "änn")
            ]
            assert store.acquire(new_key, "token", HOUR)
            assert store.release(new_key, "token")
            assert store.delete_owner("änn") == 1
            store.close()
            assert client.ping()


def test_a_ready_made_cluster_client_serves(server_url, prefix, make_key, make_record):
    host, port = server_url("redis_cluster").rpartition("@")[2].split(",")[0].split(":")
    with redis.RedisCluster(host=host, port=int(port), password=PASSWORD) as client:
        store = RedisStore(client, prefix=prefix)
        key, new_key = make_key(), make_key()
        assert store.create(key, make_record({"a": "1"}, owner="ann"))
        assert store.rename(key, new_key, Patch(set={"b": "2"})) is Outcome.DONE
        assert [found for found, _ in store.find("ann")] == [new_key]


def test_a_ready_made_sentinel_client_serves(server_url, prefix, make_key, make_record):
    host, port = server_url("redis_sentinel").rpartition("@")[2].split("/")[0].split(":")
    sentinel = Sentinel([(host, int(port))], sentinel_kwargs={"password": PASSWORD}, password=PASSWORD)
    store = RedisStore(sentinel.master_for("main"), prefix=prefix)
    key = make_key()
    assert store.create(key, make_record({"a": "1"}))
    assert store.load(key).values == {"a": "1"}


def test_connections_to_a_master_that_became_a_replica_are_not_kept(server_url, open_fresh, make_key, make_record):
    server_url("redis")
    with Redis() as server:
        store, key = open_fresh("redis", server.url), make_key()
        store.create(key, make_record())
        server.run("REPLICAOF", "127.0.0.1", str(free_port()))
        with pytest.raises(StoreUnavailable):
            store.update(key, Patch(set={"a": "1"}))
        # The one that asks.
        assert len(server.run("CLIENT", "LIST", "TYPE", "normal").splitlines()) == 1


def test_waiting_for_a_connection_ends_with_the_time_out(url, open_fresh, make_key):
    store = open_fresh("redis", url, max_connections=1, timeout=0.2)
    pool = store._clients.get().connection_pool
    borrowed, outcomes = pool.get_connection(), []

    def load():
        with pytest.raises(StoreUnavailable):
            store.load(make_key())
        outcomes.append("unavailable")

    waiting = threading.Thread(target=load, daemon=True)
    waiting.start()
    waiting.join(10)
    pool.release(borrowed)
    assert outcomes == ["unavailable"]


class TestInterrupted:
    """A request that is cut short, by a signal say, leaves no answer for the next one."""

    def test_the_next_call_gets_its_own_answer(self, url, prefix, make_key, make_record, monkeypatch):
        store = RedisStore(url, prefix=prefix)
        first, second = make_key(), make_key()
        store.create(first, make_record({"n": "1"}))
        store.create(second, make_record({"n": "2"}))

        def interrupt(*arguments, **options):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(redis.Connection, "read_response", interrupt)
            with pytest.raises(KeyboardInterrupt):
                store.load(first)
        assert store.load(second).values == {"n": "2"}
        store.close()


class TestMovesInACluster:
    """A rename to a key on another node is one step to everyone else."""

    @pytest.fixture
    def other(self, server_url, prefix, open_fresh):
        return open_fresh("redis", server_url("redis_cluster"), prefix=prefix)

    @pytest.fixture
    def moving(self, server_url, prefix, open_fresh, monkeypatch):
        """Return a store that does something between the steps of a rename."""

        def make(*, before_copy=lambda: None, after_copy=lambda: None):
            store = open_fresh("redis", server_url("redis_cluster"), prefix=prefix)
            create = store._create

            def between(key, fields):
                before_copy()
                created = create(key, fields)
                after_copy()
                return created

            monkeypatch.setattr(store, "_create", between)
            return store

        return make

    @pytest.mark.parametrize("when", ["before_copy", "after_copy"])
    @pytest.mark.parametrize("how", ["delete", "delete_owner"])
    def test_a_session_that_is_deleted_meanwhile_stays_deleted(self, when, how, moving, other, make_key, make_record):
        key, new_key = make_key(), make_key()
        other.create(key, make_record({"a": "1"}, owner="ann"))
        end = {"delete": lambda: other.delete(key), "delete_owner": lambda: other.delete_owner("ann")}[how]
        store = moving(**{when: end})
        outcome = store.rename(key, new_key, Patch())
        alive = [each for each in (key, new_key) if other.load(each) is not None]
        assert (outcome, alive) == (Outcome.GONE, [])

    def test_a_copy_whose_acknowledgement_is_lost_leaves_one_session(self, moving, other, make_key, make_record):
        def lose():
            raise StoreUnavailable("the answer was lost")

        key, new_key = make_key(), make_key()
        other.create(key, make_record({"a": "1"}))
        with pytest.raises(StoreUnavailable):
            moving(after_copy=lose).rename(key, new_key, Patch(set={"a": "2"}))
        assert other.load(new_key) is None
        assert other.load(key).values == {"a": "1"}

    def test_it_is_absent_under_way_and_the_old_key_stays_taken(self, moving, other, make_key, make_record):
        key, seen = make_key(), []
        other.create(key, make_record({"a": "1"}, owner="ann"))

        def look():
            seen.extend([other.load(key), other.update(key, Patch(set={"a": "2"})), other.create(key, make_record())])
            seen.append(list(other.find("ann")))

        assert moving(before_copy=look).rename(key, make_key(), Patch()) is Outcome.DONE
        assert seen == [None, Outcome.GONE, False, []]


class TestOwnersInACluster:
    """The index of an owner's sessions is on another node than they are."""

    @pytest.fixture
    def store(self, server_url, prefix, open_fresh):
        return open_fresh("redis", server_url("redis_cluster"), prefix=prefix)

    def test_no_session_gets_an_owner_by_whom_it_cannot_be_found(self, store, make_key, make_record, monkeypatch):
        key, run = make_key(), store._run
        store.create(key, make_record())

        def lose_what_is_told_afterwards(script, *rest):
            answer = run(script, *rest)
            if script is redis_store._patch:
                monkeypatch.setattr(store, "_run", refuse)
            return answer

        def refuse(*rest):
            raise StoreUnavailable("the index's node does not answer")

        monkeypatch.setattr(store, "_run", lose_what_is_told_afterwards)
        with pytest.raises(StoreUnavailable):
            store.update(key, Patch(owner="ann"))
        monkeypatch.undo()
        assert store.load(key).owner == "ann"
        assert store.delete_owner("ann") == 1
        assert store.load(key) is None

    def test_a_touch_of_which_the_index_was_not_told_is_outlasted(self, store, make_key, make_record):
        key, record = make_key(), make_record(lives=HOUR, owner="ann")
        store.create(key, record)
        score = store._send("ZSCORE", store._index("ann"), store._prefix + key)
        assert float(score) / 1000 > (record.expires_at + 0.9 * HOUR).timestamp()


class TestOwners:
    """The index of an owner's sessions heals by itself."""

    def test_it_drops_what_has_expired(self, store, client, prefix, make_key, make_record):
        for _ in range(5):
            store.create(make_key(), make_record(lives=20 * MILLISECOND, owner="ann"))
        time.sleep(0.03)
        key = make_key()
        store.create(key, make_record(owner="ann"))
        assert client.zrange(f"{prefix}owner:ann", 0, -1) == [prefix + key]

    def test_it_is_gone_with_its_last_session(self, store, client, prefix, make_key, make_record):
        store.create(make_key(), make_record(lives=20 * MILLISECOND, owner="ann"))
        time.sleep(0.03)
        assert client.keys(f"{prefix}*") == []

    def test_it_follows_a_touch_a_new_owner_a_new_id_and_a_deletion(self, store, client, prefix, make_key, make_record):
        def index(owner):
            return client.zrange(f"{prefix}owner:{owner}", 0, -1, withscores=True)

        key, new_key = make_key(), make_key()
        store.create(key, make_record(owner="ann"))
        later = utc_now() + 5 * HOUR
        store.update(key, Patch(expires_at=later))
        ((name, deadline),) = index("ann")
        assert (name, round(deadline / 1000)) == (prefix + key, round(later.timestamp()))
        store.update(key, Patch(owner="bob"))
        assert (index("ann"), [name for name, _ in index("bob")]) == ([], [prefix + key])
        store.rename(key, new_key, Patch())
        assert [name for name, _ in index("bob")] == [prefix + new_key]
        store.delete(new_key)
        assert index("bob") == []

    @pytest.mark.parametrize("kind", ["redis", "redis_cluster"])
    def test_find_and_delete_pass_over_what_is_not_the_owners(
        self, kind, server_url, open_fresh, prefix, make_key, make_record
    ):
        store = open_fresh("redis", server_url(kind), prefix=prefix)
        mine, strange, gone = make_key(), make_key(), make_key()
        store.create(mine, make_record(owner="ann"))
        store.create(strange, make_record(owner="bob"))
        client = store._clients.get()
        later = int(time.time() * 1000) + 3_600_000
        client.zadd(f"{prefix}owner:ann", {prefix + strange: later, prefix + gone: later})
        assert [found for found, _ in store.find("ann")] == [mine]
        assert client.zcard(f"{prefix}owner:ann") == 1
        client.zadd(f"{prefix}owner:ann", {prefix + strange: later, prefix + gone: later})
        assert store.delete_owner("ann") == 1
        assert store.load(strange) is not None


@pytest.mark.parametrize(
    ("server", "options", "message"),
    [
        (redis.asyncio.Redis(), {}, r"not one of redis\.asyncio"),
        (object(), {}, "takes a redis:// URL, a redis.Redis.* got object"),
        ("redis+sentinel://host:26379", {}, "names its service"),
        ("redis+sentinel://host/main?password=x", {}, "sentinel_username and sentinel_password only; got password"),
        ("redis+cluster://host:port", {}, "lists its hosts as host:port,host:port"),
        ("http://host", {}, "cannot read its URL"),
        ("redis://host/0?nonsense=1", {}, "cannot read its URL"),
        ("redis://:pa/ss@host", {}, "with %XX for what is special in the password"),
        ("redis+cluster://host?ssl=true", {}, "give RedisStore a redis.RedisCluster"),
        ("redis+sentinel://host/main/x", {}, "names its service"),
        ("redis://host", {"max_connections": 0}, "1 or more; got 0"),
        ("redis://host", {"timeout": 0}, "in seconds, above 0; got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(server, options, message):
    with pytest.raises(ConfigurationError, match=message):
        RedisStore(server, **options)
