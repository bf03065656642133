# SPDX-License-Identifier: Apache-2.0
"""A real MySQL server that belongs to a test: its own data directory, port and socket."""
import pathlib
import shutil
import signal
import subprocess

import pymysql
import pymysql.cursors

from .ports import free_port, socket_path
from .wait import wait_until

LIB = pathlib.Path(__file__).resolve().parent.parent
MYSQLD = LIB / "mysqld"
PASSWORDS = {user: f"{user}-secret" for user in ("sluice", "consumer", "repl", "dm", "app", "writer")}

# Small, quick to start, and as safe on disk as a server is by default.
OPTIONS = {
    "bind-address": "127.0.0.1",
    "secure-file-priv": "",
    "mysqlx": "OFF",
    "performance-schema": "OFF",
    "event-scheduler": "OFF",
    "skip-name-resolve": "ON",
    "innodb-buffer-pool-size": "16M",
    "innodb-redo-log-capacity": "8M",
    "innodb-log-buffer-size": "1M",
    "max-connections": "400",
    "table-open-cache": "100",
    "gtid-mode": "ON",
    "enforce-gtid-consistency": "ON",
    "log-bin": "bin",
    "relay-log": "relay",
    "log-replica-updates": "ON",
    "replica-net-timeout": "10",
    "replica-parallel-workers": "2",
    "skip-replica-start": "ON",
}

_next_server_id = [100]


def mysql_version():
    """'9.7.0 (/where/it/is)': the server that the tests run."""
    return subprocess.check_output([MYSQLD, "--sluice-version"], text=True).strip()


def _connection(**how):
    return pymysql.connect(autocommit=True, connect_timeout=10, cursorclass=pymysql.cursors.DictCursor, **how)


class Server:
    """
    One mysqld. It comes with the accounts of accounts.sql (password: the name and "-secret") and a database `test`.

    |name| is for messages, |folder| is a directory that the server may fill, |options| are options of mysqld,
    |environment| is for its process.
    """

    def __init__(self, name, folder, processes, options=None, environment=None):
        self.name = name
        self.folder = pathlib.Path(folder) / name
        self.processes = processes
        self.options = {**OPTIONS, **(options or {})}
        self.environment = dict(environment or {})
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        _next_server_id[0] += 1
        self.options.setdefault("server-id", str(_next_server_id[0]))
        self.data = self.folder / "data"
        self.log = self.folder / "mysqld.log"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket = socket_path(self.folder / "s")
        self._process = None
        self._root = None
        self._restore = {}
        self._install()

    # Life and death.

    def _install(self):
        template = subprocess.check_output([MYSQLD, "--sluice-template"], text=True).strip()
        subprocess.run(["cp", "-a", "--sparse=always", "--reflink=auto", template, self.data], check=True)
        (self.data / "auto.cnf").unlink()  # each server draws its own uuid

    def launch(self, **extra):
        """Start the process and do not wait for it; options in |extra| count for this start only (a_b is --a-b)."""
        assert not self.is_running, f"server {self.name} runs already"
        options = {**self.options, **{key.replace("_", "-"): value for key, value in extra.items()}}
        words = [f"--{key}={value}" for key, value in options.items() if value is not None]
        self._root = None
        self._process = self.processes.start(
            [MYSQLD, f"--datadir={self.data}", f"--port={self.port}", f"--socket={self.socket}",
             f"--pid-file={self.folder / 'pid'}", *words], log=self.log, env=self.environment)

    def start(self, limit=60.0, **extra):
        """Start and wait until it answers."""
        self.launch(**extra)
        return self.wait_ready(limit)

    def wait_ready(self, limit=60.0):
        """Wait until it answers a query."""
        wait_until(self._answers, limit, lambda: f"server {self.name} answers; its log:\n{self.log_tail()}")
        return self

    def _answers(self):
        if self._process.poll() is not None:
            raise RuntimeError(f"server {self.name} ended with {self._process.returncode}:\n{self.log_tail()}")
        try:
            return self.one("SELECT 1")
        except pymysql.Error:
            return False

    @property
    def is_running(self):
        """Whether its process lives (frozen or not)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self):
        """The process id of the server itself."""
        return self._process.pid

    def stop(self):
        """Shut down in order."""
        self._end(signal.SIGTERM)

    def kill(self):
        """As a power cut does to a process: SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, sig):
        if self._root is not None:
            self._root._force_close()  # pylint: disable=protected-access
            self._root = None
        if self._process is not None:
            self.processes.end(self._process, sig)

    def freeze(self):
        """SIGSTOP: the host still answers, the server does not."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """SIGCONT."""
        if self.is_running:
            self._process.send_signal(signal.SIGCONT)

    def reinstall(self):
        """A new server under the old address: another uuid, no data."""
        self.kill()
        shutil.rmtree(self.data)
        self._install()
        return self.start()

    def log_tail(self, lines=30):
        """The end of the server's error log."""
        if not self.log.exists():
            return "(none)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    # Queries.

    def connect(self, user="root", host="127.0.0.1", port=None, **how):
        """A new connection: root over the socket, others over TCP. The caller closes it."""
        if user == "root":
            return _connection(unix_socket=self.socket, user="root", **how)
        return _connection(host=host, port=port or self.port, user=user, password=PASSWORDS[user], **how)

    def query(self, sql, *args, user="root"):
        """All rows, as dictionaries. Root's connection is kept and is opened again after a restart."""
        if user != "root":
            connection = self.connect(user)
            try:
                with connection.cursor() as cursor:
                    cursor.execute(sql, args or None)
                    return cursor.fetchall()
            finally:
                connection.close()
        if self._root is None:
            self._root = self.connect(read_timeout=60)
        try:
            with self._root.cursor() as cursor:
                cursor.execute(sql, args or None)
                return cursor.fetchall()
        except (pymysql.err.InterfaceError, pymysql.err.OperationalError) as error:
            if not error.args or error.args[0] in (0, 2006, 2013, 4031, 1317):
                self._root = None
            raise

    def one(self, sql, *args, user="root"):
        """The first column of the first row; None when there is no row."""
        rows = self.query(sql, *args, user=user)
        return next(iter(rows[0].values())) if rows else None

    def unlogged(self, *statements):
        """Run statements that leave no trace in the binlog."""
        self.query("SET sql_log_bin=0")
        try:
            for statement in statements:
                self.query(statement)
        finally:
            self.query("SET sql_log_bin=1")

    def set_global(self, name, value):
        """SET GLOBAL, taken back by reset()."""
        self._restore.setdefault(name, self.one(f"SELECT @@GLOBAL.{name}"))
        self.query(f"SET GLOBAL {name} = %s", value)

    @property
    def uuid(self):
        """server_uuid as it is on disk, so that a stopped server can be asked too."""
        text = (self.data / "auto.cnf").read_text(encoding="ascii")
        return text.split("server-uuid=", 1)[1].split()[0]

    def executed(self):
        """gtid_executed without line breaks."""
        return self.one("SELECT @@GLOBAL.gtid_executed").replace("\n", "")

    def purged(self):
        """gtid_purged without line breaks."""
        return self.one("SELECT @@GLOBAL.gtid_purged").replace("\n", "")

    def contains(self, gtids):
        """Whether |gtids| is a subset of gtid_executed."""
        return bool(self.one("SELECT GTID_SUBSET(%s, @@GLOBAL.gtid_executed)", gtids))

    def wait_for(self, gtids, limit=30.0):
        """Wait until gtid_executed holds all of |gtids|: a set, or another Server for what it has now."""
        if isinstance(gtids, Server):
            gtids = gtids.executed()
        wait_until(lambda: self.contains(gtids), limit,
                   lambda: f"server {self.name} has {gtids}; it has {self.executed()}; {self.replica_status()}")

    def processlist(self):
        """SHOW PROCESSLIST, without our own connection."""
        return [row for row in self.query("SHOW PROCESSLIST") if row["Info"] != "SHOW PROCESSLIST"]

    def checksum(self, table="test.rows_written"):
        """CHECKSUM TABLE: independent of the rows' order."""
        return self.query(f"CHECKSUM TABLE {table}")[0]["Checksum"]

    def purge(self):
        """Start a new binlog file and remove those before it: what was there is in gtid_purged from now on."""
        self.query("FLUSH BINARY LOGS")
        self.query("PURGE BINARY LOGS TO %s", self.query("SHOW BINARY LOG STATUS")[0]["File"])

    # Replication.

    def replicate_from(self, source, via=None, channel="", user="repl", start=True, **settings):
        """
        Become a replica, by GTID auto-position. |source| is a Server; |via| is (host, port) of a proxy in front of it.

        |settings| are more settings of CHANGE REPLICATION SOURCE, as words of SQL: source_delay=3.
        """
        host, port = via or ("127.0.0.1", source.port)
        words = {"source_host": f"'{host}'", "source_port": port, "source_user": f"'{user}'",
                 "source_password": f"'{PASSWORDS[user]}'", "source_auto_position": 1, "source_connect_retry": 1,
                 "source_retry_count": 86400, "source_heartbeat_period": 1, "get_source_public_key": 1, "source_ssl": 0,
                 **settings}
        text = ", ".join(f"{key.upper()} = {value}" for key, value in words.items())
        self.query(f"CHANGE REPLICATION SOURCE TO {text} FOR CHANNEL '{channel}'")
        if start:
            self.query(f"START REPLICA FOR CHANNEL '{channel}'")

    def stop_replica(self, channel=None, threads=""):
        """STOP REPLICA; |threads| is "", "IO_THREAD" or "SQL_THREAD"."""
        self.query(f"STOP REPLICA {threads}" + (f" FOR CHANNEL '{channel}'" if channel is not None else ""))

    def start_replica(self, channel=None, threads=""):
        """START REPLICA."""
        self.query(f"START REPLICA {threads}" + (f" FOR CHANNEL '{channel}'" if channel is not None else ""))

    def replica_status(self, channel=""):
        """The row of SHOW REPLICA STATUS, or {}."""
        rows = self.query(f"SHOW REPLICA STATUS FOR CHANNEL '{channel}'") if channel else \
            self.query("SHOW REPLICA STATUS")
        return rows[0] if rows else {}

    def forget_replication(self):
        """Stop all channels and forget them, with their filters."""
        self.query("STOP REPLICA")
        self.query("RESET REPLICA ALL")
        self.query("CHANGE REPLICATION FILTER REPLICATE_DO_DB=(), REPLICATE_IGNORE_DB=(), REPLICATE_DO_TABLE=(), "
                   "REPLICATE_IGNORE_TABLE=(), REPLICATE_WILD_DO_TABLE=(), REPLICATE_WILD_IGNORE_TABLE=()")

    # Reuse.

    def reset(self):
        """As if new, but with the same uuid: no replication, no GTIDs, no tables, no sessions, no changed variables."""
        self.thaw()
        if not self.is_running:
            self.start()
        self._root = None
        for name, value in self._restore.items():
            self.query(f"SET GLOBAL {name} = %s", value)
        self._restore.clear()
        self.query("SET GLOBAL super_read_only = OFF")
        self.query("SET GLOBAL read_only = OFF")
        self.forget_replication()
        self._end_sessions()
        self._drop_databases()
        self.query("RESET BINARY LOGS AND GTIDS")

    def _end_sessions(self):
        def others():
            own = self.one("SELECT CONNECTION_ID()")
            return [row["Id"] for row in self.processlist() if row["Id"] != own and row["Command"] != "Daemon"]

        def none_left():
            for thread in others():
                try:
                    self.query(f"KILL {thread}")
                except pymysql.err.OperationalError:
                    pass  # it has ended by itself
            return not others()

        wait_until(none_left, 20, lambda: f"sessions on {self.name} end: {self.processlist()}", every=0.02)

    def _drop_databases(self):
        kept = ("mysql", "sys", "information_schema", "performance_schema")
        names = [row["Database"] for row in self.query("SHOW DATABASES") if row["Database"] not in kept]
        self.unlogged(*[f"DROP DATABASE `{name}`" for name in names], "CREATE DATABASE test")


def reset_all(*servers):
    """Reset servers that may replicate from each other: first all stop, then all are emptied."""
    for server in servers:
        server.thaw()
        if not server.is_running:
            server.start()
    for server in servers:
        server.query("STOP REPLICA")
    for server in servers:
        server.reset()


def circular(a, b):
    """
    Both servers replicate from each other, by GTID. Writes go to one at a time; to promote the other needs no change.
    """
    a.replicate_from(b)
    b.replicate_from(a)
