"""Private servers on free loopback ports, in temporary folders; and the ones that a whole test run shares.

A run's servers start when the first test asks for them, in whichever worker process that happens, and the
process that runs the tests stops them at its end.
"""

import fcntl
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

PASSWORD = "open-sesame"
START_SECONDS = 60


_reservations = []


def free_port():
    """Return a port that nobody listens on, that no client is given for a connection, and that no other call returns.

    A datagram socket of the same number keeps it for this process, among all that ask here.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        reservation = socket.socket(type=socket.SOCK_DGRAM)
        with closing(socket.socket()) as probe, suppress(OSError):
            reservation.bind(("127.0.0.1", port))
            probe.bind(("127.0.0.1", port))
            _reservations.append(reservation)
            return port
        reservation.close()


def find_program(name):
    """Return where a server program is, or None."""
    folders = [os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"]
    folders += sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return shutil.which(name, path=os.pathsep.join(folders))


def run(command, **options):
    """Run a command to its end, and raise with what it said if it failed."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{result.stdout[-4000:]}")


def send_signal(pid, number):
    """Send a signal to a process and its descendants; PostgreSQL's leave their parent's group."""
    with suppress(FileNotFoundError, ProcessLookupError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(pid, number)
        for child in children:
            send_signal(int(child), number)


class Server:
    """A server process in a folder of its own, to be started, stopped, paused, killed and started again."""

    programs = ()
    """What must be installed."""
    package = ""
    """The Debian package, or packages, that have it."""

    def __init__(self, *options, zone=None):
        self.folder = Path(tempfile.mkdtemp(prefix=f"wsgisessions-{type(self).__name__.lower()}-", dir="/tmp"))
        self.options = options
        self.port = free_port()
        self.environment = {**os.environ, **({"TZ": zone} if zone else {})}
        self.process = None

    @classmethod
    def missing(cls):
        """Return which of its programs are not installed."""
        return [program for program in cls.programs if find_program(program) is None]

    def __enter__(self):
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *exception):
        self.remove()

    def prepare(self):
        """Make what the server needs on disk."""

    def command(self):
        """Return the command that runs the server in the foreground."""
        raise NotImplementedError

    def check(self):
        """Raise until the server answers."""
        raise NotImplementedError

    def start(self):
        """Start the process, and wait until it answers."""
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
                **self.account(),
            )
        give_up_at = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.check()
            except Exception as error:
                if self.process.poll() is not None or time.monotonic() > give_up_at:
                    raise RuntimeError(f"{type(self).__name__} did not start:\n{self.log()}") from error
            time.sleep(0.05)

    def account(self):
        """Return as which user the process runs."""
        return {}

    def log(self):
        """Return the end of what the server has said."""
        return (self.folder / "server.log").read_text()[-4000:]

    def signal(self, number):
        """Send a signal to the server and all of its processes."""
        send_signal(self.process.pid, number)

    def kill(self):
        """Kill -9."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    @contextmanager
    def paused(self):
        """Stop the processes where they are, and let them go on afterwards."""
        self.signal(signal.SIGSTOP)
        wait_until(lambda: Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def hang_up(self):
        """Close every client's connection from the server's side."""
        raise NotImplementedError

    def demand_login(self):
        """Refuse clients without the right password, if the server does not do so anyway."""

    def url_with(self, password):
        """Return the URL with another password."""
        return self.url.replace(PASSWORD, password)

    def remove(self):
        """Stop the server, and remove its folder."""
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis(Server):
    programs = ("redis-server",)
    package = "redis-server"

    def __init__(self, *options, zone=None, port=None, user="default", password=PASSWORD):
        super().__init__(*options, zone=zone)
        self.port = port or self.port
        self.password = password

    @property
    def url(self):
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self):
        protection = ["--requirepass", self.password, "--masterauth", self.password]
        return [
            find_program("redis-server"),
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--save",
            "",
            "--dir",
            str(self.folder),
            *protection,
            *self.options,
        ]

    def check(self):
        self.run("PING")

    def run(self, *arguments):
        """Run one command on a connection of its own."""
        import redis

        with closing(redis.Redis.from_url(self.url, decode_responses=True)) as client:
            return client.execute_command(*arguments)

    def hang_up(self):
        self.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


class Group:
    """Several servers, started and removed together."""

    def __init__(self, servers):
        self.servers = servers

    def __enter__(self):
        with ExitStack() as started:
            for server in self.servers:
                started.enter_context(server)
            self.connect()
            self.stack = started.pop_all()
        return self

    def __exit__(self, *exception):
        self.stack.close()

    def connect(self):
        """Make the servers know one another."""
        raise NotImplementedError


class RedisCluster(Group):
    """Three masters with a replica each."""

    missing = Redis.missing
    package = Redis.package

    def __init__(self, *options):
        cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *options]
        # A replica that a busy machine kept from its master for a while takes over all the same.
        cluster += ["--cluster-replica-validity-factor", "0"]
        super().__init__([Redis(*cluster, "--cluster-port", str(free_port())) for _ in range(6)])

    @property
    def url(self):
        nodes = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis+cluster://:{PASSWORD}@{nodes}"

    def connect(self):
        first, *others = self.servers
        for number, server in enumerate(self.servers[:3]):
            server.run("CLUSTER", "ADDSLOTSRANGE", number * 5462, min(number * 5462 + 5461, 16383))
        for number, server in enumerate(self.servers):
            server.run("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in others:
            server.run("CLUSTER", "MEET", "127.0.0.1", first.port, first.options[-1])
        wait_until(lambda: all(self.info(server, "known_nodes") == "6" for server in self.servers))
        for master, replica in zip(self.servers[:3], self.servers[3:], strict=True):
            replica.run("CLUSTER", "REPLICATE", master.run("CLUSTER", "MYID"))
        wait_until(lambda: all(self.info(server, "state") == "ok" for server in self.servers))
        for master, replica in zip(self.servers[:3], self.servers[3:], strict=True):
            wait_for_stream(master, replica)

    @staticmethod
    def info(server, name):
        answer = server.run("CLUSTER", "INFO")
        pairs = answer if isinstance(answer, dict) else dict(line.split(":") for line in answer.split())
        return pairs[f"cluster_{name}"]


class RedisSentinel(Group):
    """A master, a replica, and a sentinel that watches them."""

    missing = Redis.missing
    package = Redis.package

    def __init__(self, *options):
        master = Redis(*options)
        replica = Redis(*options, "--replicaof", f"127.0.0.1 {master.port}")
        super().__init__([master, replica, Sentinel(master)])

    @property
    def url(self):
        return f"redis+sentinel://:{PASSWORD}@127.0.0.1:{self.servers[2].port}/main?sentinel_password={PASSWORD}"

    def connect(self):
        # A sentinel that the machine has kept waiting for 2 seconds judges nothing for 30, and again and again on a
        # busy one.
        self.servers[2].run("SENTINEL", "DEBUG", "TILT-TRIGGER", 3_600_000)
        wait_for_stream(*self.servers[:2])
        # The sentinel learns of replicas from the master, every ten seconds at first.
        wait_until(lambda: self.servers[2].run("SENTINEL", "REPLICAS", "main"))


def wait_for_stream(master, replica):
    """Wait until a master's writes reach its replica, which is from that one's first acknowledgement on."""
    wait_until(lambda: replica.run("INFO", "replication").get("master_link_status") == "up")
    master.run("FLUSHALL")  # a write that every node of a cluster may be asked for
    wait_until(lambda: has_acknowledged(master.run("INFO", "replication")))


def has_acknowledged(replication):
    return replication.get("slave0", {}).get("offset") == replication["master_repl_offset"] > 0


def wait_until(holds, seconds=30):
    """Wait until something holds."""
    give_up_at = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"waited for {seconds} s")
        time.sleep(0.05)


class Sentinel(Redis):
    """One sentinel."""

    def __init__(self, master):
        super().__init__()
        self.master = master

    def prepare(self):
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\nrequirepass {PASSWORD}\ndir {self.folder}\n"
            f"sentinel monitor main 127.0.0.1 {self.master.port} 1\n"
            f"sentinel auth-pass main {PASSWORD}\n"
            # No replica is promoted that has missed its master for ten times as long as this, before the sentinel saw.
            "sentinel down-after-milliseconds main 4000\nsentinel failover-timeout main 3000\n"
        )

    def command(self):
        return [find_program("redis-server"), str(self.folder / "sentinel.conf"), "--sentinel"]


class Postgres(Server):
    programs = ("initdb", "postgres")
    package = "postgresql"

    @property
    def url(self):
        return f"postgresql://visitor:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def account(self):
        if os.geteuid() != 0:
            return {}
        name = "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
        entry = pwd.getpwnam(name)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def prepare(self):
        (self.folder / "password").write_text(PASSWORD)
        if account := self.account():
            self.folder.chmod(0o755)
            os.chown(self.folder, account["user"], account["group"])
            os.chown(self.folder / "password", account["user"], account["group"])
        run(
            [
                find_program("initdb"),
                "--pgdata",
                self.folder / "data",
                "--username",
                "visitor",
                "--no-sync",
                "--auth",
                "scram-sha-256",
                "--pwfile",
                self.folder / "password",
                "--encoding",
                "UTF8",
                "--locale",
                "C.UTF-8",
            ],
            cwd=self.folder,
            env=self.environment,
            **account,
        )

    def command(self):
        zone = self.environment.get("TZ", "UTC")
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "timezone": zone}
        return [
            find_program("postgres"),
            "-D",
            str(self.folder / "data"),
            *(f"--{name}={value}" for name, value in settings.items()),
            *self.options,
        ]

    def check(self):
        self.run("SELECT 1")

    def run(self, statement, *parameters):
        """Run one statement on a connection of its own, and return its rows."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True, connect_timeout=3) as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def hang_up(self):
        self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    def kill(self):
        super().kill()
        # Its own children outlive a killed postmaster for a moment, and keep the port.
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)


class Bouncer(Server):
    """PgBouncer in transaction mode."""

    programs = ("pgbouncer",)
    package = "pgbouncer"

    def __init__(self, postgres):
        super().__init__()
        self.postgres = postgres

    def account(self):
        return self.postgres.account()

    def prepare(self):
        self.folder.chmod(0o755)
        (self.folder / "users").write_text(f'"visitor" "{PASSWORD}"\n')
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={self.postgres.port} dbname=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {self.folder}/users\npool_mode = transaction\ndefault_pool_size = 3\n"
        )

    def command(self):
        return [find_program("pgbouncer"), str(self.folder / "pgbouncer.ini")]

    def check(self):
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=3)):
            pass


class PgBouncer(Group):
    """PgBouncer in transaction mode in front of a PostgreSQL server."""

    missing = Bouncer.missing
    package = Bouncer.package

    def __init__(self):
        postgres = Postgres()
        super().__init__([postgres, Bouncer(postgres)])

    @property
    def url(self):
        return f"postgresql://visitor:{PASSWORD}@127.0.0.1:{self.servers[1].port}/postgres"

    def connect(self):
        """PgBouncer was told where the other is."""


class MariaDB(Server):
    programs = ("mariadbd", "mariadb-install-db", "my_print_defaults")
    package = "mariadb-server-core mariadb-client-core"

    @property
    def url(self):
        return f"mysql://visitor:{PASSWORD}@127.0.0.1:{self.port}/sessions"

    def prepare(self):
        run(
            [
                find_program("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={self.folder / 'data'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *self.options_of_both(),
            ],
            cwd=self.folder,
            env=self.environment,
        )
        (self.folder / "init.sql").write_text(
            "CREATE DATABASE IF NOT EXISTS sessions;\n"
            f"CREATE USER IF NOT EXISTS visitor@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON *.* TO visitor@'127.0.0.1' WITH GRANT OPTION;\n"
        )

    def options_of_both(self):
        # Of the system's asynchronous input and output, many servers at once would want more than there is, and
        # each removes the others' tables from a shared temporary folder.
        options = ["--innodb-use-native-aio=0", f"--tmpdir={self.folder}"]
        return [*options, "--user=root"] if os.geteuid() == 0 else options

    def command(self):
        return [
            find_program("mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            *self.options_of_both(),
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--init-file={self.folder / 'init.sql'}",
            "--innodb-buffer-pool-size=64M",
            "--skip-name-resolve",
            *self.options,
        ]

    def check(self):
        self.run("SELECT 1")

    def run(self, statement, *parameters):
        """Run one statement on a connection of its own, and return its rows."""
        import pymysql

        with (
            closing(
                pymysql.connect(
                    host="127.0.0.1",
                    port=self.port,
                    user="visitor",
                    password=PASSWORD,
                    database="sessions",
                    autocommit=True,
                    connect_timeout=3,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, parameters or None)
            return cursor.fetchall()

    def hang_up(self):
        for connection, *_ in self.run("SHOW PROCESSLIST"):
            # The last one is the connection that asks.
            with suppress(Exception):
                self.run(f"KILL {connection}")
        wait_until(lambda: len(self.run("SHOW PROCESSLIST")) == 1)


class MongoDB(Server):
    """The mongod that is installed, or else SecantusDB, which speaks MongoDB's protocol."""

    package = "SecantusDB (by pip)"

    @classmethod
    def missing(cls):
        return [] if find_program("mongod") or find_spec("secantus") else ["mongod"]

    @staticmethod
    def durable_options():
        """Return the options under which an acknowledged write survives the server's death."""
        return [] if find_program("mongod") else ["--sync-on-commit"]

    @property
    def url(self):
        return f"mongodb://127.0.0.1:{self.port}/sessions?w=majority&journal=true"

    def url_with(self, password):
        return self.url.replace("//", f"//visitor:{password}@") + "&authSource=admin"

    def hang_up(self):
        self.kill()
        self.start()

    def demand_login(self):
        from pymongo import MongoClient

        with MongoClient(self.url) as client:
            client.admin.command("createUser", "visitor", pwd=PASSWORD, roles=["root"])
        self.kill()
        self.options = (*self.options, "--auth")
        self.start()

    def command(self):
        where = [f"--port={self.port}"]
        if program := find_program("mongod"):
            return [program, "--bind_ip=127.0.0.1", f"--dbpath={self.folder}", *where, *self.options]
        storage = f"--storage-path={self.folder / 'data'}"
        return [sys.executable, "-m", "secantus", "--host=127.0.0.1", storage, *where, *self.options]

    def check(self):
        self.run("ping")

    def run(self, command, value=1, **arguments):
        """Run one command on a connection of its own."""
        from pymongo import MongoClient

        with MongoClient(self.url, serverSelectionTimeoutMS=2000) as client:
            return client.get_default_database().command(command, value, **arguments)


class Nginx(Server):
    """A cache in front of the app at a port, as nginx's manual has it."""

    programs = ("nginx",)
    package = "nginx-light"

    def __init__(self, app_port):
        super().__init__()
        self.app_port = app_port

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def prepare(self):
        folder = self.folder
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {temporary} proxy_cache_path {folder}/cache keys_zone=pages:1m;\n"
            f"server {{ listen 127.0.0.1:{self.port}; location / {{ proxy_pass http://127.0.0.1:{self.app_port};\n"
            "proxy_cache pages; proxy_cache_valid 200 1m; add_header X-Cache $upstream_cache_status; } } }\n"
        )

    def command(self):
        return [find_program("nginx"), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]

    def check(self):
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=3)):
            pass


class Apache(Server):
    """What mod_wsgi is built with, and runs in; mod_wsgi-express starts it."""

    programs = ("apache2", "apxs", "gcc")
    package = "apache2-bin apache2-dev gcc libc6-dev python3-dev"


class Chromium(Server):
    """A browser and its driver, which Selenium starts."""

    programs = ("chromium", "chromedriver")
    package = "chromium chromium-driver"


KINDS = {
    "apache": Apache,
    "chromium": Chromium,
    "nginx": Nginx,
    "redis": Redis,
    "redis_cluster": RedisCluster,
    "redis_sentinel": RedisSentinel,
    "postgres": Postgres,
    "pgbouncer": PgBouncer,
    "mysql": MariaDB,
    "mongodb": MongoDB,
}


_started = []
"""Keeps this process's process objects alive, which would complain of being left alone."""


class SharedServers:
    """The servers of one test run, by kind and time zone; any process of the run may be the first to ask."""

    variable = "WSGISESSIONS_TEST_SERVERS"

    def __init__(self):
        self.folder = Path(os.environ[self.variable])

    @classmethod
    @contextmanager
    def of_this_run(cls):
        """Make the place where the run's processes meet; stop what they have started."""
        folder = tempfile.mkdtemp(prefix="wsgisessions-run-")
        os.environ[cls.variable] = folder
        try:
            yield
        finally:
            for note in Path(folder).glob("*.json"):
                for pid, server_folder in json.loads(note.read_text())["processes"]:
                    send_signal(pid, signal.SIGKILL)
                    shutil.rmtree(server_folder, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            del os.environ[cls.variable]

    def url(self, kind, zone=None):
        """Return the URL of the run's server of a kind, after starting it if nobody has."""
        given = os.environ.get(f"WSGISESSIONS_TEST_{kind.upper()}_URL")
        if given and zone is None:
            return given
        name = f"{kind}-{(zone or 'local').replace('/', '-')}"
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            note = self.folder / f"{name}.json"
            if not note.exists():
                server = KINDS[kind](**{"zone": zone} if zone else {}).__enter__()
                _started.append(server)
                servers = getattr(server, "servers", [server])
                processes = [(each.process.pid, str(each.folder)) for each in servers]
                note.write_text(json.dumps({"url": server.url, "processes": processes}))
            return json.loads(note.read_text())["url"]


def install_missing():
    """Install the Debian packages of the servers that are missing, if this user may."""
    missing = {kind.package for kind in KINDS.values() if kind.missing() and kind is not MongoDB}
    packages = " ".join(sorted(missing)).split()
    if not packages:
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    with suppress(FileNotFoundError):
        # The servers that the tests start are their own: no service needs to start.
        apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "--quiet", "--yes"]
        if subprocess.run([*apt, "update"]).returncode == 0:
            subprocess.run([*apt, "install", "--no-install-recommends", *packages])
    if notice := left_out():
        print(notice)  # noqa: T201 -- its task


def left_out():
    """Return one line that says what to install, and which tests are left out without it."""
    missing = {name: kind for name, kind in KINDS.items() if kind.missing()}
    if not missing:
        return ""
    packages = " ".join(sorted({kind.package for kind in missing.values()}))
    return f"left out: the tests of {', '.join(missing)}; to run them, install {packages}"


if __name__ == "__main__":
    install_missing()
