"""What MongoDB promises beyond the contract: its document, indexes, clients and URLs."""

import pytest
from pymongo import MongoClient, monitoring

from wsgisessions import ConfigurationError, MongoDBStore, Outcome, Patch


@pytest.fixture
def url(server_url):
    return server_url("mongodb")


@pytest.fixture
def client(url):
    with MongoClient(url) as client:
        yield client


def test_making_a_store_connects_to_nothing():
    MongoDBStore("mongodb://nowhere")
    MongoDBStore("mongodb://one,two,three/sessions?replicaSet=main")
    MongoDBStore("mongodb+srv://nowhere")


def test_a_session_is_one_document_with_a_field_for_each_key(url, client, open_fresh, make_id_hash, make_record):
    store = open_fresh("mongodb", url, database="elsewhere", collection="kept here")
    id_hash = make_id_hash()
    store.create(id_hash, make_record({"a": "1", "dotted.$key": "2"}, owner="ann"))
    (document,) = client["elsewhere"]["kept here"].find({"id_hash": id_hash})
    assert document["fields"] == {"a": "1", "dotted%2E%24key": "2"}
    assert document["owner"] == "ann"
    client.drop_database("elsewhere")


def test_setup_makes_the_indexes_and_the_reapers_among_them(url, client, open_fresh):
    open_fresh("mongodb", url, collection="indexed")
    indexes = client.get_default_database()["indexed"].index_information()
    assert indexes["id_hash"]["unique"] is True
    assert indexes["expires_at"]["expireAfterSeconds"] == 0
    assert indexes["owner"]["sparse"] is True


def test_without_the_unique_index_nothing_is_stored(url, client, open_fresh, make_id_hash, make_record):
    from wsgisessions import StoreError

    store = open_fresh("mongodb", url, collection="not set up", setup=False)
    with pytest.raises(StoreError, match=r"call MongoDBStore\.setup\(\)"):
        store.create(make_id_hash(), make_record({"a": "1"}))
    assert client.get_default_database()["not set up"].count_documents({}) == 0


def test_a_ready_made_client_serves_and_stays_open(client, open_fresh, make_id_hash, make_record):
    store = open_fresh("mongodb", client)
    id_hash = make_id_hash()
    assert store.create(id_hash, make_record({"a": "1"}))
    assert store.update(id_hash, Patch(set={"a": "2"}, expect={"a": "1"})) is Outcome.DONE
    store.close()
    assert client.admin.command("ping")["ok"] == 1


@pytest.mark.parametrize(
    ("server", "options", "message"),
    [
        (object(), {}, "takes a mongodb:// URL or a pymongo.MongoClient; got object"),
        ("http://host", {}, "mongodb://host/database or mongodb\\+srv://host/database"),
        ("mongodb://host:port", {}, "cannot read its URL"),
        ("mongodb://user:sec/ret@host/database", {}, "with %XX for what is special in the password"),
        ("mongodb://host", {"timeout": 0}, "in seconds, above 0; got 0"),
        ("mongodb://host", {"max_connections": 0}, "1 or more; got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(server, options, message):
    with pytest.raises(ConfigurationError, match=message):
        MongoDBStore(server, **options)


def test_unacknowledged_writes_are_refused():
    url = "mongodb://host/database?w=0"
    with pytest.raises(ConfigurationError, match="leave w=0 out"):
        MongoDBStore(url.replace("w=0", "W=0"))
    with pytest.raises(ConfigurationError, match="leave w=0 out"):
        MongoDBStore(url)
    with MongoClient(url, connect=False) as client, pytest.raises(ConfigurationError, match="leave w=0 out"):
        MongoDBStore(client)


def test_loads_ask_the_primary(url, make_id_hash):
    asked = []

    class Listener(monitoring.CommandListener):
        def started(self, event):
            if event.command_name == "find":
                asked.append(event.command)

        def succeeded(self, event):
            pass

        failed = succeeded

    with MongoClient(f"{url}&readPreference=secondaryPreferred", event_listeners=[Listener()]) as client:
        client.get_default_database()["plain"].find_one({})
        MongoDBStore(client).load(make_id_hash())
    assert [command.get("$readPreference") for command in asked] == [{"mode": "secondaryPreferred"}, None]


def test_a_name_that_no_patch_could_change_is_damage(url, client, open_fresh, make_id_hash, make_record):
    store, id_hash = open_fresh("mongodb", url, collection="damaged_names"), make_id_hash()
    store.create(id_hash, make_record({"n": "1"}))
    client.get_default_database()["damaged_names"].update_one({"id_hash": id_hash}, {"$set": {"fields": {"%6E": "2"}}})
    assert store.load(id_hash) is None
