# SPDX-License-Identifier: Apache-2.0
"""
A real DM: dm-master, dm-worker and, if it is there, tidb-server as the downstream (else a MySQL server), found in
$DM_BIN or on PATH. What tests and the demo call is called as with the stand-in.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pymysql
import pymysql.cursors

from .dm_calls import DmCalls
from .ports import free_port
from .server import PASSWORDS
from .wait import wait_until

DOWNSTREAM_USER, DOWNSTREAM_PASSWORD = "dm_downstream", "dm-downstream-secret"


def find(program):
    """Its path, or None."""
    return shutil.which(program, path=os.environ.get("DM_BIN")) or shutil.which(program)


def why_no_dm():
    """None where a real DM can be started, else what is missing, in words."""
    missing = [name for name in ("dm-master", "dm-worker") if find(name) is None]
    if not missing:
        return None
    return f"no {' and no '.join(missing)} in DM_BIN ({os.environ.get('DM_BIN', 'not set')}) or on PATH"


def dm_version():
    """'v8.1.0': what dm-master says of itself."""
    text = subprocess.run([find("dm-master"), "-V"], text=True, capture_output=True, check=False).stdout
    found = re.search(r"Release Version: *(\S+)", text)
    return found.group(1) if found else "of an unknown version"


def _connect(port, user, password, **how):
    return pymysql.connect(host="127.0.0.1", port=port, user=user, password=password, autocommit=True,
                           connect_timeout=10, cursorclass=pymysql.cursors.DictCursor, **how)


class Downstream:
    """A server that DM writes to: what is asked of it and nothing else."""

    def __init__(self, name, port, user="root", password=""):
        self.name, self.port, self.user, self.password = name, port, user, password
        self._connection = None

    def connect(self):
        """A new connection; the caller closes it."""
        return _connect(self.port, self.user, self.password)

    def query(self, sql, *args):
        """All rows, as dictionaries."""
        if self._connection is None:
            self._connection = _connect(self.port, self.user, self.password, read_timeout=120)
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, args or None)
                return cursor.fetchall()
        except (pymysql.err.InterfaceError, pymysql.err.OperationalError):
            self._connection = None
            raise

    def one(self, sql, *args):
        """The first column of the first row; None when there is no row."""
        rows = self.query(sql, *args)
        return next(iter(rows[0].values())) if rows else None

    def empty(self):
        """Nothing of an earlier DM is left."""
        self.query("DROP DATABASE IF EXISTS test")
        self.query("DROP DATABASE IF EXISTS dm_meta")
        self.query("CREATE DATABASE test")


def start_tidb(folder, processes):
    """A TiDB in one process, its data in memory: a Downstream."""
    folder = pathlib.Path(folder) / "tidb"
    folder.mkdir(parents=True)
    port, status = free_port(), free_port()
    log = folder / "tidb.log"
    process = processes.start(
        [find("tidb-server"), "-store", "unistore", "-path", "", "-host", "127.0.0.1", "-P", port, "-status", status,
         "-status-host", "127.0.0.1", "-socket", folder / "s", "-temp-dir", folder / "temp",
         "-log-file", log, "-L", "warn"], log=folder / "out.log", cwd=folder)
    tidb = Downstream("TiDB", port)

    def answers():
        assert process.poll() is None, f"tidb-server ended:\n{(folder / 'out.log').read_text()}"
        try:
            return tidb.one("SELECT 1")
        except pymysql.Error:
            return False

    wait_until(answers, 120, "tidb-server answers", every=0.1)
    return tidb


def mysql_downstream(server):
    """A MySQL Server as a Downstream, with an account for DM."""
    server.unlogged(f"CREATE USER IF NOT EXISTS {DOWNSTREAM_USER}@'%' IDENTIFIED BY '{DOWNSTREAM_PASSWORD}'",
                    f"GRANT ALL ON *.* TO {DOWNSTREAM_USER}@'%'")
    return Downstream("MySQL", server.port, DOWNSTREAM_USER, DOWNSTREAM_PASSWORD)


class RealDm:
    """
    One dm-master, dm-workers, one source whose address is 127.0.0.1:|upstream_port|. |downstream| is a Downstream,
    emptied here. |relay|: the source is created with enable-relay. |syncer| are more keys of the task's syncer.
    """

    def __init__(self, upstream_port, downstream, processes, folder, source_id="mysql-01", relay=False, syncer=None):
        self.upstream_port, self.downstream, self.source_id = upstream_port, downstream, source_id
        self.processes, self.folder, self.relay = processes, pathlib.Path(folder), relay
        self.syncer = syncer or {}
        self.folder.mkdir(parents=True)
        self._master_port, self._peer_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self._master_port}"
        self.api = DmCalls(self.address, source_id)
        self._master, self._workers, self._worker_ports = None, {}, {}
        self._has_source = False
        downstream.empty()
        self.start_master()
        self.start_worker()

    @property
    def kind(self):
        """For people."""
        return f"DM {dm_version()}, downstream {self.downstream.name}"

    # Processes.

    def start_master(self):
        """Start it, and wait until it leads."""
        self._master = self.processes.start(
            [find("dm-master"), "--name", "master1", "--master-addr", self.address, "--advertise-addr", self.address,
             "--peer-urls", f"http://127.0.0.1:{self._peer_port}",
             "--advertise-peer-urls", f"http://127.0.0.1:{self._peer_port}", "--data-dir", self.folder / "master",
             "--log-file", self.folder / "master.log"], log=self.folder / "master.out", cwd=self.folder)

        def leads():
            assert self._master.poll() is None, f"dm-master ended:\n{self.tail('master')}"
            try:
                status, answer = self.api.http("GET", "members?leader=true")
            except OSError:
                return False
            return status == 200 and answer["result"] and answer["members"][0]["leader"]["name"]

        wait_until(leads, 60, lambda: f"dm-master leads:\n{self.tail('master')}", every=0.1)
        return self

    def kill_master(self):
        """SIGKILL."""
        self.processes.end(self._master, signal.SIGKILL)

    def restart_master(self):
        """SIGKILL and a new process on the same data."""
        self.kill_master()
        self.start_master()

    def start_worker(self, name="worker1"):
        """Start it, and wait until the master knows it."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        port = self._worker_ports.setdefault(name, free_port())
        process = self._workers[name] = self.processes.start(
            [find("dm-worker"), "--name", name, "--worker-addr", f"127.0.0.1:{port}",
             "--advertise-addr", f"127.0.0.1:{port}", "--join", self.address, "--keepalive-ttl", "10",
             "--log-file", self.folder / f"{name}.log"], log=self.folder / f"{name}.out", cwd=folder)

        def is_known():
            assert process.poll() is None, f"dm-worker ended:\n{self.tail(name)}"
            workers = self._members().get(name, {})
            return workers.get("stage") in ("bound", "free", "relay")

        wait_until(is_known, 60, lambda: f"dm-worker {name} is known:\n{self.tail(name)}", every=0.1)
        return self

    def kill_worker(self, name="worker1"):
        """SIGKILL."""
        self.processes.end(self._workers.pop(name), signal.SIGKILL)

    def restart_worker(self, name="worker1"):
        """SIGKILL and a new process."""
        self.kill_worker(name)
        self.start_worker(name)

    def stop(self):
        """End all."""
        for name in list(self._workers):
            self.kill_worker(name)
        self.kill_master()

    def tail(self, name, lines=30):
        """The end of a log."""
        path = self.folder / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(none)"

    def _members(self):
        status, answer = self.api.http("GET", "members?worker=true")
        if status != 200 or not answer["members"]:
            return {}
        return {one["name"]: one for one in answer["members"][0]["worker"]["workers"]}

    # What a person does with dmctl.

    def _create_source(self):
        self.api.create_source(
            f"source-id: {self.source_id}\nenable-gtid: true\nenable-relay: {json.dumps(self.relay)}\nfrom:\n"
            f"  host: 127.0.0.1\n  port: {self.upstream_port}\n  user: dm\n  password: {PASSWORDS['dm']}\n")
        self._has_source = True

    def _copy_tables(self):
        """The upstream's tables, empty as they are there, and the set that it has."""
        with _connect(self.upstream_port, "dm", PASSWORDS["dm"]) as upstream, upstream.cursor() as cursor:
            cursor.execute("SELECT @@GLOBAL.gtid_executed AS gtids")
            gtids = cursor.fetchone()["gtids"].replace("\n", "")
            cursor.execute("SHOW TABLES FROM test")
            for name in [next(iter(row.values())) for row in cursor.fetchall()]:
                cursor.execute(f"SHOW CREATE TABLE test.{name}")
                text = cursor.fetchone()["Create Table"].replace("CREATE TABLE `", "CREATE TABLE IF NOT EXISTS test.`")
                self.downstream.query(text[:text.rindex(")") + 1])
        return gtids

    def add_task(self, name, start="", validator=""):
        """start-task: incremental, from the set |start|, or from what the upstream has now."""
        if not self._has_source:
            self._create_source()
        has = self._copy_tables()
        user, password = self.downstream.user, self.downstream.password
        task = {
            "name": name, "task-mode": "incremental",
            "target-database": {"host": "127.0.0.1", "port": self.downstream.port, "user": user, "password": password},
            "mysql-instances": [{"source-id": self.source_id, "meta": {"binlog-gtid": start or has},
                                 "block-allow-list": "all", "syncer-config-name": "all",
                                 **({"validator-config-name": "all"} if validator else {})}],
            "block-allow-list": {"all": {"do-dbs": ["test"]}},
            "syncers": {"all": {"worker-count": 4, "batch": 100, "checkpoint-flush-interval": 5, **self.syncer}},
            **({"validators": {"all": {"mode": validator}}} if validator else {}),
        }
        answer = self.api.start_task(json.dumps(task))  # JSON is YAML
        wait_until(lambda: name in self.api.tasks(), 30, lambda: f"task {name} is there: {answer}", every=0.1)
        return self
