# SPDX-License-Identifier: Apache-2.0
"""Clients of a source, each of the kind that a real one has. All are closed with stop()."""
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time
from collections import namedtuple

import pymysql

from .server import LIB, PASSWORDS
from .wait import wait_until

Read = namedtuple("Read", "client started ended uuid error")

TABLE = "test.rows_written"
# Without a unique key, so that a row that is applied twice is there twice and not an error.
TABLE_SQL = f"CREATE TABLE IF NOT EXISTS {TABLE} (k BIGINT NOT NULL, writer VARCHAR(16) NOT NULL, " \
            f"body VARCHAR(400) NOT NULL, KEY (k)) ENGINE=InnoDB"


def _connect(host, port, user):
    return pymysql.connect(host=host, port=port, user=user, password=PASSWORDS[user], autocommit=True,
                           connect_timeout=30, read_timeout=60)


class Writer:
    """
    Inserts rows with growing keys, without pause or at most |per_second| transactions a second, and knows them all.

    It writes to a Server directly, not through the proxy, and every acknowledged key is in |acknowledged|. A key whose
    COMMIT was cut off is in |unsure|: it may be there or not.
    """

    def __init__(self, server, per_second=None, rows=1, name="w"):
        self.server, self.name, self.rows = server, name, rows
        self.acknowledged, self.unsure, self.errors = [], [], []
        self._pause = 1.0 / per_second if per_second else 0
        self._key = 0
        self._stop, self._hold, self._held = threading.Event(), threading.Event(), threading.Event()
        self._go = threading.Event()
        server.query(TABLE_SQL)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        """Begin to write."""
        self._thread.start()
        return self

    def _run(self):
        connection = None
        while not self._stop.is_set():
            if self._hold.is_set():
                if connection:
                    connection.close()
                connection = None
                self._held.set()
                self._go.wait(0.1)
                continue
            began = time.monotonic()
            keys = list(range(self._key, self._key + self.rows))
            sent = False
            try:
                connection = connection or _connect("127.0.0.1", self.server.port, "writer")
                with connection.cursor() as cursor:
                    values = [(key, self.name, os.urandom(30).hex()) for key in keys]
                    sent = True
                    self._key += self.rows
                    cursor.executemany(f"INSERT INTO {TABLE} VALUES (%s, %s, %s)", values)
                self.acknowledged.extend(keys)
            except (pymysql.Error, OSError) as error:
                self.errors.append((time.monotonic(), str(error)))
                if sent:
                    self.unsure.extend(keys)
                connection = None
                self._stop.wait(0.05)
            left = self._pause - (time.monotonic() - began)
            if left > 0:
                self._stop.wait(left)
        if connection:
            connection.close()

    @property
    def count(self):
        """Rows that were acknowledged so far."""
        return len(self.acknowledged)

    def wait_rows(self, more, limit=30.0):
        """Wait until |more| rows were written from now on."""
        target = self.count + more
        wait_until(lambda: self.count >= target, limit, lambda: f"{more} more rows; last errors: {self.errors[-3:]}")

    def pause(self):
        """No row is being written when this returns."""
        self._go.clear()
        self._held.clear()
        self._hold.set()
        wait_until(lambda: self._held.is_set() or not self._thread.is_alive(), 60, "the writer pauses")

    def resume(self, server=None):
        """Go on, on another |server| if given."""
        self.server = server or self.server
        self._hold.clear()
        self._go.set()

    def move_to(self, server, limit=30.0):
        """What a promotion does: stop writing, let the other server catch up, and go on there."""
        old = self.server
        self.pause()
        server.wait_for(old, limit)
        self.resume(server)

    def stop(self):
        """End; no row is being written when this returns."""
        self._stop.set()
        self._go.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the writer does not end"

    def compare(self, server):
        """(lost, duplicated, foreign) on |server|: acknowledged rows missing, rows too many, rows never written."""
        wanted, maybe, seen = set(self.acknowledged), set(self.unsure), {}
        for row in server.query(f"SELECT k, COUNT(*) AS n FROM {TABLE} WHERE writer = %s GROUP BY k", self.name):
            seen[row["k"]] = row["n"]
        lost = len(wanted - seen.keys())
        duplicated = sum(n - 1 for n in seen.values())
        foreign = len(seen.keys() - wanted - maybe)
        return lost, duplicated, foreign


class Reconnecting:
    """Clients that connect, read @@server_uuid and go, without pause, in a process of their own."""

    def __init__(self, processes, folder, port, clients=8, user="app", host="127.0.0.1"):
        self.path = pathlib.Path(folder) / f"reconnecting-{port}-{time.monotonic_ns()}.jsonl"
        self._processes = processes
        self._read, self._offset = [], 0
        self._process = processes.start(
            [sys.executable, "-m", "sluicetest.load", host, port, user, PASSWORDS[user], clients, self.path],
            env={"PYTHONPATH": str(LIB)}, log=str(self.path) + ".log")

    def reads(self):
        """All reads so far, as a list of Read."""
        if self.path.exists():
            with open(self.path, encoding="ascii") as file:
                file.seek(self._offset)
                for line in iter(file.readline, ""):
                    if not line.endswith("\n"):
                        break
                    self._read.append(Read(*json.loads(line)))
                    self._offset += len(line)
        return self._read

    def errors(self):
        """The reads that failed."""
        return [read for read in self.reads() if read.error]

    def wait_reads(self, more, uuid=None, limit=30.0):
        """Wait for |more| good reads from now on, of the server with |uuid| if given."""
        before = len(self.reads())

        def enough():
            return sum(1 for read in self.reads()[before:] if not read.error and uuid in (None, read.uuid)) >= more

        wait_until(enough, limit, lambda: f"{more} reads of {uuid or 'any server'}; last: {self.reads()[-3:]}")

    def stop(self):
        """End, after every client's last read."""
        code = self._processes.end(self._process)
        log = pathlib.Path(str(self.path) + ".log").read_text(encoding="utf-8")
        assert code == 0, f"the reconnecting clients ended with {code}: {log}"
        return self.reads()

    def stale_reads(self, switches):
        """
        Reads of the old server that began after somebody had read the new one, within a switch.

        |switches| are (time the switch was asked for, uuid of the new server), in order.
        """
        reads, stale = sorted(self.reads(), key=lambda read: read.started), []
        ends = [began for began, _ in switches[1:]] + [float("inf")]
        for (began, uuid), end in zip(switches, ends):
            within = [read for read in reads if began <= read.started < end and not read.error]
            first = min((read.ended for read in within if read.uuid == uuid), default=float("inf"))
            stale += [read for read in within if read.started > first and read.uuid != uuid]
        return stale


class IdlePool:
    """Connections that were used once and lie idle, as those of a pool do."""

    def __init__(self, port, size=8, user="app", host="127.0.0.1"):
        self._where, self._size = (host, port, user), size
        self.connections = []
        self.closed = 0
        self.ensure()

    def ensure(self):
        """Replace what was closed; returns how many were."""
        dead = [c for c in self.connections if not is_open(c)]
        self.connections = [c for c in self.connections if c not in dead]
        for connection in dead:
            connection._force_close()  # pylint: disable=protected-access
        self.closed += len(dead)
        while len(self.connections) < self._size:
            connection = _connect(*self._where)
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            self.connections.append(connection)
        return len(dead)

    def stop(self):
        """Close all."""
        for connection in self.connections:
            connection._force_close()  # pylint: disable=protected-access
        self.connections = []


class IdleInTransaction(IdlePool):
    """One connection that sits inside BEGIN and says nothing."""

    def __init__(self, port, user="app", host="127.0.0.1"):
        super().__init__(port, 1, user, host)

    def ensure(self):
        """Replace it if it was closed; returns 1 if so."""
        dead = super().ensure()
        with self.connections[0].cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT COUNT(*) FROM (SELECT 1 FROM information_schema.schemata LIMIT 1) AS s")
        return dead


class LongSelect:
    """A client that runs one SELECT of |seconds| after the other, on one connection as long as it is let."""

    def __init__(self, port, seconds=0.5, user="app", host="127.0.0.1"):
        self._where, self._seconds = (host, port, user), seconds
        self.finished, self.cut, self.errors = 0, 0, []
        self._stop = threading.Event()
        self._connection = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        busy = False
        while not self._stop.is_set():
            try:
                self._connection = self._connection or _connect(*self._where)
                busy = is_open(self._connection)
                with self._connection.cursor() as cursor:
                    cursor.execute("SELECT SLEEP(%s)", self._seconds)
                self.finished += 1
            except (pymysql.Error, OSError) as error:
                if not self._stop.is_set():
                    self.errors.append((time.monotonic(), str(error)))
                    self.cut += busy  # it was closed while a SELECT ran, not between two
                self._connection = None
                self._stop.wait(0.01)

    def stop(self):
        """End at once."""
        self._stop.set()
        connection = self._connection
        if connection is not None and getattr(connection, "_sock", None):
            try:
                connection._sock.shutdown(socket.SHUT_RDWR)  # pylint: disable=protected-access
            except OSError:
                pass
        self._thread.join(60)
        assert not self._thread.is_alive(), "the long SELECT does not end"
        if self._connection is not None:
            self._connection._force_close()  # pylint: disable=protected-access


class BinlogStream:
    """`mysqlbinlog --stop-never`: a binlog client that nobody pauses."""

    def __init__(self, processes, folder, port, server_id=9001, user="repl", host="127.0.0.1",
                 bind=None):
        self._processes, self._folder = processes, pathlib.Path(folder)
        self._command = [LIB / "mysqlbinlog", "--read-from-remote-source=BINLOG-DUMP-GTIDS", "--stop-never", "--raw",
                         f"--result-file={self._folder}/stream-{port}-", f"--connection-server-id={server_id}",
                         f"--host={host}", f"--port={port}", f"--user={user}", f"--password={PASSWORDS[user]}",
                         *([f"--bind-address={bind}"] if bind else []), "--get-server-public-key", "bin.000001"]
        self.log = self._folder / f"stream-{port}.log"
        self._process = None
        self.ended = 0
        self.ensure()

    @property
    def is_running(self):
        """Whether the client still reads."""
        return self._process is not None and self._process.poll() is None

    def ensure(self):
        """Start it anew when it has ended; returns 1 if so."""
        if self.is_running:
            return 0
        restarted = 0
        if self._process is not None:
            self._processes.end(self._process)
            self.ended += 1
            restarted = 1
        self._process = self._processes.start(self._command, log=self.log)
        return restarted

    def stop(self):
        """End it."""
        self._processes.end(self._process, signal.SIGKILL)


def is_open(connection):
    """Whether the peer has neither closed nor reset this idle connection."""
    sock = getattr(connection, "_sock", None)
    if sock is None:
        return False
    timeout = sock.gettimeout()
    try:
        sock.settimeout(0)
        # A server that closes an idle connection may say so first; either way it is of no use any more.
        return len(sock.recv(1, socket.MSG_PEEK)) < 0
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        try:
            sock.settimeout(timeout)
        except OSError:
            pass
