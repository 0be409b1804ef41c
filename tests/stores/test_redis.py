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
def prefix(make_id_hash):
    return make_id_hash()[:8] + ":"


@pytest.fixture
def store(url, prefix, open_fresh):
    return open_fresh("redis", url, prefix=prefix)


def test_making_a_store_connects_to_nothing():
    for url in ("redis://nowhere", "redis+cluster://nowhere", "redis+sentinel://nowhere/service"):
        RedisStore(url)


def test_every_redis_key_has_the_prefix_and_expires_with_its_session(store, client, prefix, make_id_hash, make_record):
    id_hash = make_id_hash()
    store.create(id_hash, make_record({"a": "1"}, owner="ann"))
    store.acquire(id_hash, "token", HOUR)
    assert sorted(client.keys(f"{prefix}*")) == sorted([prefix + id_hash, f"{prefix}owner:ann"])
    for name in client.keys(f"{prefix}*"):
        assert abs(client.pexpiretime(name) / 1000 - time.time() - 3600) < 60
    store.update(id_hash, Patch(expires_at=utc_now() + 2 * HOUR))
    for name in client.keys(f"{prefix}*"):
        assert abs(client.pexpiretime(name) / 1000 - time.time() - 7200) < 60


def test_the_server_expires_to_the_millisecond(store, client, prefix, make_id_hash, make_record):
    id_hash = make_id_hash()
    record = make_record(lives=HOUR)
    store.create(id_hash, record)
    deadline = record.expires_at.timestamp() * 1000
    assert 0 <= client.pexpiretime(prefix + id_hash) - deadline < 1.001


def test_a_person_can_read_each_field(store, client, prefix, make_id_hash, make_record):
    id_hash = make_id_hash()
    store.create(id_hash, make_record({"a": '"x"'}))
    store.update(id_hash, Patch(set={"b": "2"}))
    stored = client.hgetall(prefix + id_hash)
    assert (stored["=a"], stored["=b"]) == ('"x"', "2")


def test_scripts_are_loaded_again_when_the_server_forgot_them(store, client, make_id_hash, make_record):
    id_hash = make_id_hash()
    for _ in range(2):
        client.script_flush()
        store.delete(id_hash)
        assert store.create(id_hash, make_record({"a": "1"}))
        client.script_flush()
        assert store.update(id_hash, Patch(set={"a": "2"})) is Outcome.DONE


def test_a_patch_of_thousands_of_fields_is_one_script(store, make_id_hash, make_record):
    id_hash = make_id_hash()
    fields = {f"field {number}": "x" * 10 for number in range(20_000)}
    assert store.create(id_hash, make_record(fields))
    assert store.update(id_hash, Patch(set=dict.fromkeys(fields, "y"), expect=fields)) is Outcome.DONE
    assert store.update(id_hash, Patch(remove=fields)) is Outcome.DONE
    assert store.load(id_hash).fields == {}


@pytest.mark.parametrize("decodes", [True, False])
def test_a_ready_made_client_or_pool_serves(decodes, url, prefix, make_id_hash, make_record):
    retry = Retry(NoBackoff(), 0)
    with redis.Redis.from_url(url, decode_responses=decodes, retry=retry) as client:
        for server in (client, client.connection_pool):
            store = RedisStore(server, prefix=prefix)
            id_hash, new_id_hash = make_id_hash(), make_id_hash()
            record = make_record({"é": "1"}, owner="änn")
            assert store.create(id_hash, record)
            assert store.rename(id_hash, new_id_hash, Patch(set={"b": "2"}, expect={"é": "1"})) is Outcome.DONE
            assert [(found, each.fields, each.owner) for found, each in store.find("änn")] == [
                (new_id_hash, {"é": "1", "b": "2"}, "änn")
            ]
            assert store.acquire(new_id_hash, "token", HOUR)
            assert store.release(new_id_hash, "token")
            assert store.delete_owner("änn") == 1
            store.close()
            assert client.ping()


def test_a_ready_made_cluster_client_serves(server_url, prefix, make_id_hash, make_record):
    host, port = server_url("redis_cluster").rpartition("@")[2].split(",")[0].split(":")
    with redis.RedisCluster(host=host, port=int(port), password=PASSWORD) as client:
        store = RedisStore(client, prefix=prefix)
        id_hash, new_id_hash = make_id_hash(), make_id_hash()
        assert store.create(id_hash, make_record({"a": "1"}, owner="ann"))
        assert store.rename(id_hash, new_id_hash, Patch(set={"b": "2"})) is Outcome.DONE
        assert [found for found, _ in store.find("ann")] == [new_id_hash]


def test_a_ready_made_sentinel_client_serves(server_url, prefix, make_id_hash, make_record):
    host, port = server_url("redis_sentinel").rpartition("@")[2].split("/")[0].split(":")
    sentinel = Sentinel([(host, int(port))], sentinel_kwargs={"password": PASSWORD}, password=PASSWORD)
    store = RedisStore(sentinel.master_for("main"), prefix=prefix)
    id_hash = make_id_hash()
    assert store.create(id_hash, make_record({"a": "1"}))
    assert store.load(id_hash).fields == {"a": "1"}


def test_connections_to_a_master_that_became_a_replica_are_not_kept(server_url, open_fresh, make_id_hash, make_record):
    server_url("redis")
    with Redis() as server:
        store, id_hash = open_fresh("redis", server.url), make_id_hash()
        store.create(id_hash, make_record())
        server.run("REPLICAOF", "127.0.0.1", str(free_port()))
        with pytest.raises(StoreUnavailable):
            store.update(id_hash, Patch(set={"a": "1"}))
        # The one that asks.
        assert len(server.run("CLIENT", "LIST", "TYPE", "normal").splitlines()) == 1


def test_waiting_for_a_connection_ends_with_the_time_out(url, open_fresh, make_id_hash):
    store = open_fresh("redis", url, max_connections=1, timeout=0.2)
    pool = store._clients.get().connection_pool
    borrowed, outcomes = pool.get_connection(), []

    def load():
        with pytest.raises(StoreUnavailable):
            store.load(make_id_hash())
        outcomes.append("unavailable")

    waiting = threading.Thread(target=load, daemon=True)
    waiting.start()
    waiting.join(10)
    pool.release(borrowed)
    assert outcomes == ["unavailable"]


class TestInterrupted:
    """A request that is cut short, by a signal say, leaves no answer for the next one."""

    def test_the_next_call_gets_its_own_answer(self, url, prefix, make_id_hash, make_record, monkeypatch):
        store = RedisStore(url, prefix=prefix)
        first, second = make_id_hash(), make_id_hash()
        store.create(first, make_record({"n": "1"}))
        store.create(second, make_record({"n": "2"}))

        def interrupt(*arguments, **options):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(redis.Connection, "read_response", interrupt)
            with pytest.raises(KeyboardInterrupt):
                store.load(first)
        assert store.load(second).fields == {"n": "2"}
        store.close()


class TestMovesInACluster:
    """A rename to an ID hash on another node is one step to everyone else."""

    @pytest.fixture
    def other(self, server_url, prefix, open_fresh):
        return open_fresh("redis", server_url("redis_cluster"), prefix=prefix)

    @pytest.fixture
    def moving(self, server_url, prefix, open_fresh, monkeypatch):
        """Return a store that does something between the steps of a rename."""

        def make(*, before_copy=lambda: None, after_copy=lambda: None):
            store = open_fresh("redis", server_url("redis_cluster"), prefix=prefix)
            create = store._create

            def between(id_hash, stored):
                before_copy()
                created = create(id_hash, stored)
                after_copy()
                return created

            monkeypatch.setattr(store, "_create", between)
            return store

        return make

    @pytest.mark.parametrize("when", ["before_copy", "after_copy"])
    @pytest.mark.parametrize("how", ["delete", "delete_owner"])
    def test_a_session_that_is_deleted_meanwhile_stays_deleted(
        self, when, how, moving, other, make_id_hash, make_record
    ):
        id_hash, new_id_hash = make_id_hash(), make_id_hash()
        other.create(id_hash, make_record({"a": "1"}, owner="ann"))
        end = {"delete": lambda: other.delete(id_hash), "delete_owner": lambda: other.delete_owner("ann")}[how]
        store = moving(**{when: end})
        outcome = store.rename(id_hash, new_id_hash, Patch())
        alive = [each for each in (id_hash, new_id_hash) if other.load(each) is not None]
        assert (outcome, alive) == (Outcome.GONE, [])

    def test_a_copy_whose_acknowledgement_is_lost_leaves_one_session(self, moving, other, make_id_hash, make_record):
        def lose():
            raise StoreUnavailable("the answer was lost")

        id_hash, new_id_hash = make_id_hash(), make_id_hash()
        other.create(id_hash, make_record({"a": "1"}))
        with pytest.raises(StoreUnavailable):
            moving(after_copy=lose).rename(id_hash, new_id_hash, Patch(set={"a": "2"}))
        assert other.load(new_id_hash) is None
        assert other.load(id_hash).fields == {"a": "1"}

    def test_it_is_absent_under_way_and_the_old_id_hash_stays_taken(self, moving, other, make_id_hash, make_record):
        id_hash, seen = make_id_hash(), []
        other.create(id_hash, make_record({"a": "1"}, owner="ann"))

        def look():
            seen.extend(
                [
                    other.load(id_hash),
                    other.update(id_hash, Patch(set={"a": "2"})),
                    other.create(id_hash, make_record()),
                ]
            )
            seen.append(list(other.find("ann")))

        assert moving(before_copy=look).rename(id_hash, make_id_hash(), Patch()) is Outcome.DONE
        assert seen == [None, Outcome.GONE, False, []]


class TestOwnersInACluster:
    """The index of an owner's sessions is on another node than they are."""

    @pytest.fixture
    def store(self, server_url, prefix, open_fresh):
        return open_fresh("redis", server_url("redis_cluster"), prefix=prefix)

    def test_no_session_gets_an_owner_by_whom_it_cannot_be_found(self, store, make_id_hash, make_record, monkeypatch):
        id_hash, run = make_id_hash(), store._run
        store.create(id_hash, make_record())

        def lose_what_is_told_afterwards(script, *rest):
            answer = run(script, *rest)
            if script is redis_store._patch:
                monkeypatch.setattr(store, "_run", refuse)
            return answer

        def refuse(*rest):
            raise StoreUnavailable("the index's node does not answer")

        monkeypatch.setattr(store, "_run", lose_what_is_told_afterwards)
        with pytest.raises(StoreUnavailable):
            store.update(id_hash, Patch(owner="ann"))
        monkeypatch.undo()
        assert store.load(id_hash).owner == "ann"
        assert store.delete_owner("ann") == 1
        assert store.load(id_hash) is None

    def test_a_touch_of_which_the_index_was_not_told_is_outlasted(self, store, make_id_hash, make_record):
        id_hash, record = make_id_hash(), make_record(lives=HOUR, owner="ann")
        store.create(id_hash, record)
        score = store._send("ZSCORE", store._index("ann"), store._prefix + id_hash)
        assert float(score) / 1000 > (record.expires_at + 0.9 * HOUR).timestamp()


class TestOwners:
    """The index of an owner's sessions heals by itself."""

    def test_it_drops_what_has_expired(self, store, client, prefix, make_id_hash, make_record):
        for _ in range(5):
            store.create(make_id_hash(), make_record(lives=20 * MILLISECOND, owner="ann"))
        time.sleep(0.03)
        id_hash = make_id_hash()
        store.create(id_hash, make_record(owner="ann"))
        assert client.zrange(f"{prefix}owner:ann", 0, -1) == [prefix + id_hash]

    def test_it_is_gone_with_its_last_session(self, store, client, prefix, make_id_hash, make_record):
        store.create(make_id_hash(), make_record(lives=20 * MILLISECOND, owner="ann"))
        time.sleep(0.03)
        assert client.keys(f"{prefix}*") == []

    def test_it_follows_a_touch_a_new_owner_a_new_id_and_a_deletion(
        self, store, client, prefix, make_id_hash, make_record
    ):
        def index(owner):
            return client.zrange(f"{prefix}owner:{owner}", 0, -1, withscores=True)

        id_hash, new_id_hash = make_id_hash(), make_id_hash()
        store.create(id_hash, make_record(owner="ann"))
        later = utc_now() + 5 * HOUR
        store.update(id_hash, Patch(expires_at=later))
        ((name, deadline),) = index("ann")
        assert (name, round(deadline / 1000)) == (prefix + id_hash, round(later.timestamp()))
        store.update(id_hash, Patch(owner="bob"))
        assert (index("ann"), [name for name, _ in index("bob")]) == ([], [prefix + id_hash])
        store.rename(id_hash, new_id_hash, Patch())
        assert [name for name, _ in index("bob")] == [prefix + new_id_hash]
        store.delete(new_id_hash)
        assert index("bob") == []

    @pytest.mark.parametrize("kind", ["redis", "redis_cluster"])
    def test_find_and_delete_pass_over_what_is_not_the_owners(
        self, kind, server_url, open_fresh, prefix, make_id_hash, make_record
    ):
        store = open_fresh("redis", server_url(kind), prefix=prefix)
        mine, strange, gone = make_id_hash(), make_id_hash(), make_id_hash()
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
