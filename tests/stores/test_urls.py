"""Opening a store by its URL."""

import subprocess
import sys

import pytest

from wsgisessions import ConfigurationError, MemoryStore, SQLiteStore, open_store


def test_memory():
    assert isinstance(open_store("memory://", max_sessions=5), MemoryStore)


def test_sqlite_by_a_relative_and_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///sessions.db", f"sqlite:///{tmp_path}/sessions.db"):
        store = open_store(url, timeout=1)
        assert isinstance(store, SQLiteStore)
        store.setup()
    assert sorted(file.name for file in tmp_path.iterdir() if file.suffix == ".db") == ["sessions.db"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nosuch://host", r"starts with one of memory://, .*sqlite://, .*; got nosuch://"),
        ("sessions.db", "got no scheme"),
        (None, "got NoneType"),
        ("sqlite://sessions.db", "sqlite:///file.db"),
        ("sqlite:///", "needs a file"),
        ("memory://host", "memory:// with nothing behind it"),
    ],
)
def test_a_url_that_names_no_store_is_refused(url, message):
    with pytest.raises(ConfigurationError, match=message):
        open_store(url)


def test_other_peoples_stores_are_found_by_their_entry_point(tmp_path):
    info = tmp_path / "their_store-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-store\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wsgisessions.stores]\ntheirs = their_store:TheirStore\n")
    (tmp_path / "their_store.py").write_text(
        "from wsgisessions import MemoryStore\n"
        "class TheirStore(MemoryStore):\n"
        "    def __init__(self, url, **options):\n"
        "        super().__init__(**options)\n"
        "        self.url = url\n"
    )
    code = "from wsgisessions import open_store; print(open_store('theirs://host', max_sessions=3).url)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert result.stdout == "theirs://host\n"


@pytest.mark.parametrize(
    ("url", "store_class"),
    [
        ("redis://localhost", "RedisStore"),
        ("rediss://localhost", "RedisStore"),
        ("unix:///run/redis.sock", "RedisStore"),
        ("redis+cluster://one:7000,two:7000", "RedisStore"),
        ("redis+sentinel://one:26379,two:26379/main", "RedisStore"),
        ("postgresql://localhost/shop", "PostgresStore"),
        ("postgres://localhost/shop", "PostgresStore"),
        ("mysql://localhost/shop", "MySQLStore"),
        ("mysql+pymysql://localhost/shop", "MySQLStore"),
        ("mongodb://localhost/shop", "MongoDBStore"),
        ("mongodb+srv://shop.example", "MongoDBStore"),
    ],
)
def test_each_server_by_its_scheme_without_connecting(url, store_class):
    import wsgisessions

    assert type(open_store(url, timeout=1)) is getattr(wsgisessions, store_class)


def test_importing_the_package_imports_no_driver():
    code = (
        "import sys; from wsgisessions import *; import wsgisessions.stores; open_store('memory://');"
        "sys.exit(bool({'redis', 'psycopg', 'pymysql', 'pymongo', 'sqlalchemy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_missing_driver_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymysql", None)
    monkeypatch.delitem(sys.modules, "wsgisessions.stores.mysql", raising=False)
    with pytest.raises(ImportError, match=r"MySQLStore needs pymysql: pip install 'wsgisessions\[mysql\]'"):
        open_store("mysql://localhost/shop")


def test_a_name_that_the_package_has_not_is_an_attribute_error():
    import wsgisessions

    with pytest.raises(AttributeError, match="no attribute 'OracleStore'"):
        wsgisessions.OracleStore  # noqa: B018
