# SPDX-License-Identifier: Apache-2.0
"""
A stand-in for DM: speaks dm-master's API as it was recorded (tests/unit/consumer/data), and behaves, as a binlog
client, as a real DM was seen to behave. Times are scaled down. It is one master, one worker, one source, any number
of tasks.

What it does as DM does: S is the last flushed checkpoint, flushed rarely; rows go downstream in small transactions,
so that a pause inside a large one leaves a part of it; a pause waits a while for the transaction's end; a stream is
closed by a KILL over a new connection; three connections of a pool stay open through a pause; a poll opens a
connection now and then, and so does every query-status; an error pause is resumed by itself; the relay keeps sub
directories and reads a new server's binlog from the beginning, and its reader counts a GTID as seen at its first
event; the validator keeps a stream of its own through pause-task; safe mode ends behind what was sent when the task
ended, and where the sets do not contain each other, positions are compared, of whichever servers.
"""
import contextlib
import json
import socket
import threading
import time

import pymysql

from .dm_api import Doors, encode
from .dm_binlog import (DELETE_ROWS, GTID, QUERY, ROTATE, TABLE_MAP, UPDATE_ROWS, WRITE_ROWS, GtidSet, Stream, TableMap,
                        connect)
from .dm_calls import DmCalls
from .dm_sources import Sources

ERRORS = (pymysql.Error, OSError, ValueError)


def _text_of(error):
    if isinstance(error, pymysql.Error) and len(error.args) > 1:
        return f"ERROR {error.args[0]}: {error.args[1]}"
    return str(error)


class Failure(Exception):
    """What a unit stops with: DM's code and words."""

    def __init__(self, code, message, cause=""):
        super().__init__(message)
        self.code, self.message, self.cause = code, message, cause

    def to_json(self):
        """As ProcessError."""
        kind = "functional" if self.code == 11121 else "sync-unit"
        return {"ErrCode": self.code, "ErrClass": kind, "ErrScope": "internal", "ErrLevel": "high",
                "Message": self.message, "RawCause": self.cause, "Workaround": ""}

    def to_msg(self):
        """As the answer to a pause carries it."""
        return (f'[code=38032:class=dm-master:scope=internal:level=high], Message: some error occurs in dm-worker: '
                f'ErrCode:{self.code} Message:"{self.message}" RawCause:"{self.cause}" , Workaround: Please execute '
                f'`query-status` to check status.')


def _result(is_canceled, failure=None):
    return {"isCanceled": is_canceled, "errors": [failure.to_json()] if failure else [], "detail": None}


class Unit:
    """Something with a stage that runs in a thread of its own: a task, the relay, a validator."""

    failed_stage = "Paused"

    def __init__(self, dm):
        self.dm = dm
        self.stage, self.failure, self.is_canceled = "Stopped", None, False
        self.lock = threading.RLock()  # held as long as an order is carried out, and a status waits for it
        self._ending = threading.Event()
        self._thread = None
        self.stream = None

    @property
    def result(self):
        """Null while it runs, and for one whose worker was restarted."""
        if self.stage in ("Running", "Stopped") or (self.stage == "Paused" and self.is_canceled is None):
            return None
        return _result(self.is_canceled, self.failure)

    def start(self):
        """Run; what runs already goes on."""
        with self.lock:
            if self.stage == "Running":
                return
            self._join()
            self.stage, self.failure, self.is_canceled = "Running", None, False
            self._ending.clear()
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _run(self):
        failure = None
        try:
            self.work()
        except Failure as error:
            failure = error
        except ERRORS as error:
            failure = Failure(36069, "get binlog event error: " + _text_of(error), _text_of(error))
        self.rest()
        stream, self.stream = self.stream, None
        if stream:
            stream.close()
        if not self._ending.is_set() and failure:
            self.failure, self.is_canceled, self.stage = failure, False, self.failed_stage

    def _join(self):
        if self._thread:
            self._thread.join(90)
            assert not self._thread.is_alive(), f"{self} does not end"
            self._thread = None

    def end(self, stage):
        """Stop running, and be |stage|."""
        with self.lock:
            self._ending.set()
            self.hurry()
            self._join()
            self.stage, self.is_canceled = stage, True

    def hurry(self):
        """The thread is to come to its end."""
        stream = self.stream
        if stream:
            stream.close()

    def die(self):
        """Its process is killed: no KILL is sent and nothing waited for. Returns whether it ran."""
        with self.lock:
            did_run, stream = self.stage == "Running", self.stream
            if stream and hasattr(stream, "abandon"):
                stream.abandon()
            self.end("Paused" if did_run else self.stage)
            self.is_canceled, self.failure = None, None
            return did_run

    def work(self):
        """What the unit does until it is told to end."""
        raise NotImplementedError

    def rest(self):
        """What it does when it has ended."""


class RelayReader:
    """The local streamer: all transactions of the relay's files, in order; a GTID counts as seen at its first event."""

    def __init__(self, relay, gtids, ending):
        self._relay, self._seen, self._ending = relay, gtids.copy(), ending
        self._at, self._skip = 0, False
        if not relay.gtids.contains(gtids):
            raise Failure(11121, f"fail to restart streamer controller: no relay pos match gtid {gtids}")

    def read(self):
        """The next event, or None when there is none yet."""
        while True:
            with self._relay.files_lock:
                event = self._relay.files[self._at] if self._at < len(self._relay.files) else None
            if event is None:
                self._ending.wait(0.02)
                return None
            self._at += 1
            if event.type == GTID:
                self._skip = self._seen.has(*event.gtid)
                self._seen.add(*event.gtid)
            if not self._skip:
                return event

    def close(self):
        """Nothing is open."""


class Task(Unit):
    """A subtask in unit Sync."""

    def __init__(self, dm, name, start=""):
        super().__init__(dm)
        self.name, self.unit = name, "Sync"
        self.flushed = GtidSet(start)  # S: what the downstream's checkpoint table has
        self._applied = self.flushed.copy()
        self._gtid, self._tables, self._keys, self._down = None, {}, {}, None
        self._flushed_at, self.events = time.monotonic(), 0
        self._stop_at_boundary, self._abort, self.is_killed = False, threading.Event(), False
        self._file, self._position = "", 0
        self._exit_safe = None  # (set, file, position): behind it safe mode ends; None: it ended
        self._safe_until, self._is_stuck = 0.0, False
        self.validator = Validator(self)
        self.locks, self.blocking = "", []
        self.pool = []

    def open_pool(self):
        """The syncer's fromDB: two dedicated connections and an idle one, kept until stop-task."""
        self.pool = [connect(self.dm.upstream_port) for _ in range(3)]

    def _ask_pool(self):
        try:
            with self.pool[2].cursor() as cursor:
                cursor.execute("SELECT UNIX_TIMESTAMP()")
        except (*ERRORS, IndexError):
            self.pool[2:] = [connect(self.dm.upstream_port, timeout=300)]
            with self.pool[2].cursor() as cursor:
                cursor.execute("SELECT UNIX_TIMESTAMP()")

    def close_pool(self):
        """stop-task."""
        for connection in self.pool:
            connection._force_close()  # pylint: disable=protected-access
        self.pool = []

    def die(self):
        self.is_killed = True
        self._abort.set()
        did_run = super().die()
        self.is_killed = False
        self.close_pool()
        return did_run

    def _is_safe(self):
        """Whether rows are replaced, as they may be there already."""
        if self.dm.safe_mode or time.monotonic() < self._safe_until:
            return True
        if self._exit_safe is None:
            return False
        now, (gtids, *at) = self._applied, self._exit_safe
        is_behind = not gtids.contains(now) and (now.contains(gtids) or [self._file, self._position] > at)
        if is_behind:
            self._exit_safe = None
        return not is_behind

    def work(self):
        self._stop_at_boundary = self._is_stuck = False
        self._abort.clear()
        self._ask_pool()
        self._applied, self._gtid = self.flushed.copy(), None
        self._down = self.dm.downstream.connect("root")
        reads_relay = self.dm.relay.is_started
        self.stream = RelayReader(self.dm.relay, self.flushed, self._ending) if reads_relay else \
            Stream(self.dm.upstream_port, self.flushed, self.dm.next_server_id(), heartbeat_s=1)
        while not self._abort.is_set() and not (self._stop_at_boundary and self._gtid is None):
            event = self.stream.read()
            if event is not None:
                self._take(event)
            if self._gtid is None and time.monotonic() - self._flushed_at > self.dm.flush_s:
                self.flush()

    def rest(self):
        if self._down:
            self._down.close()
            self._down = None
        if self.is_killed:
            self._safe_until = time.monotonic() + 2 * self.dm.flush_s
            return
        if self._gtid and not self._is_stuck:
            sent = self._applied.copy()
            sent.add(*self._gtid)
            self._exit_safe = (sent, self._file, self._position)
        self.flush()

    def flush(self):
        """Write the checkpoint: what has come whole."""
        self.flushed, self._flushed_at = self._applied.copy(), time.monotonic()

    def hurry(self):
        """DM waits up to 10 s for the transaction's end; what is applied by then stays."""
        self._stop_at_boundary = True
        deadline = time.monotonic() + self.dm.pause_wait_s
        while (self._gtid is not None and time.monotonic() < deadline and not self._abort.is_set() and self._thread
               and self._thread.is_alive()):
            time.sleep(0.005)
        self._abort.set()
        super().hurry()

    def _take(self, event):
        self._position = event.position or self._position
        if event.type == ROTATE:
            self._file = event.file()
        elif event.type == GTID:
            self._gtid = event.gtid
        elif event.type == TABLE_MAP:
            table = TableMap(event.body)
            self._tables[table.id] = table
        elif event.type in (WRITE_ROWS, UPDATE_ROWS, DELETE_ROWS):
            self._apply(event, self._tables[int.from_bytes(event.body[:6], "little")])
        elif event.type == QUERY and event.query()[1].upper() not in ("BEGIN", "COMMIT"):
            self._apply_ddl(*event.query())
        if self._gtid and event.ends_transaction() and not self._abort.is_set():
            self._applied.add(*self._gtid)
            self._gtid = None

    def _apply_ddl(self, schema, text):
        ours = schema == self.dm.schema or (not schema and f"{self.dm.schema}." in text)
        if not ours or text.upper().startswith(("CREATE USER", "GRANT", "CREATE DATABASE", "DROP DATABASE")):
            return
        with self._down.cursor() as cursor:
            cursor.execute(f"USE `{schema or self.dm.schema}`")
            try:
                cursor.execute(text)
            except pymysql.Error as error:  # replayed: it is there already, or gone already
                if error.args[0] not in (1050, 1051, 1060, 1061, 1091):
                    raise Failure(44006, f"execute statement failed: {text!r}", _text_of(error)) from error

    def _key(self, table):
        name = (table.schema, table.table)
        if name not in self._keys:
            with self._down.cursor() as cursor:
                cursor.execute("SELECT column_name AS name FROM information_schema.columns WHERE table_schema=%s AND "
                               "table_name=%s AND ordinal_position=1", name)
                self._keys[name] = cursor.fetchone()["name"]
        return self._keys[name]

    def _apply(self, event, table):
        """In safe mode REPLACE for an insert, DELETE and REPLACE for an update. A batch is a transaction downstream."""
        if table.schema != self.dm.schema:
            return
        verb = "REPLACE" if self._is_safe() else "INSERT"
        rows, target = table.rows(event), f"`{table.schema}`.`{table.table}`"
        self.events += len(rows)
        for at in range(0, len(rows), self.dm.batch):
            if self._abort.is_set():
                return
            batch = rows[at:at + self.dm.batch]
            gone = [row[0] for row in batch] if event.type == DELETE_ROWS else \
                [old[0] for old, _ in batch] if event.type == UPDATE_ROWS else []
            there = [] if event.type == DELETE_ROWS else \
                [new for _, new in batch] if event.type == UPDATE_ROWS else batch
            if gone:
                self._execute(f"DELETE FROM {target} WHERE `{self._key(table)}` IN %s", [(gone,)])
            if there:
                self._execute(f"{verb} INTO {target} VALUES ({', '.join(['%s'] * len(there[0]))})", there)
            if self.dm.batch_delay_s:
                self._abort.wait(self.dm.batch_delay_s)

    def _execute(self, sql, rows):
        try:
            with self._down.cursor() as cursor:
                cursor.executemany(sql, rows)
        except pymysql.IntegrityError as error:
            self._is_stuck = True
            raise Failure(10006, "execute statement failed: commit: " + _text_of(error), _text_of(error)) from error

    def _sync_json(self, master):
        return {"totalEvents": str(self.events), "totalTps": "0", "recentTps": "0", "masterBinlog": master.position,
                "masterBinlogGtid": master.gtids, "syncerBinlog": master.position,
                "syncerBinlogGtid": str(self.flushed), "blockingDDLs": self.blocking, "unresolvedGroups": [],
                "synced": str(self.flushed) == master.gtids,
                "binlogType": "local" if self.dm.relay.is_started else "remote", "secondsBehindMaster": "0",
                "blockDDLOwner": "", "conflictMsg": "", "totalRows": str(self.events), "totalRps": "0",
                "recentRps": "0"}

    def to_json(self, master):
        """Its element of subTaskStatus."""
        return {"name": self.name, "stage": self.stage, "unit": self.unit, "result": self.result,
                "unresolvedDDLLockID": self.locks,
                "sync": self._sync_json(master) if self.unit == "Sync" else None,
                "validation": self.validator.to_json()}


class Relay(Unit):
    """The relay unit: files in memory, in sub directories by server."""

    def __init__(self, dm):
        super().__init__(dm)
        self.is_started = False  # start-relay was given, with the source or by hand
        self.gtids, self.sub_dir, self.number = GtidSet(), "", 0
        self.files, self.files_lock = [], threading.Lock()

    def work(self):
        first = Stream(self.dm.upstream_port, self.gtids, self.dm.next_server_id(), heartbeat_s=1)
        server = first.server_uuid
        if self.sub_dir.startswith(server):
            self._truncate()
            self.stream = first
        else:
            # A new sub directory: asked first for its own set, then for all that the server has.
            first.close()
            self.number += 1
            self.sub_dir = f"{server}.{self.number:06d}"
            self.gtids = GtidSet(_purged(self.dm.upstream_port))
            self.stream = Stream(self.dm.upstream_port, self.gtids, self.dm.next_server_id(), heartbeat_s=1)
        gtid = None
        while not self._ending.is_set():
            event = self.stream.read()
            if event.type in (GTID, QUERY, TABLE_MAP, WRITE_ROWS, UPDATE_ROWS, DELETE_ROWS) or event.ends_transaction():
                with self.files_lock:
                    self.files.append(event)
                if event.type == GTID:
                    gtid = event.gtid
                elif gtid and event.ends_transaction():
                    self.gtids.add(*gtid)
                    gtid = None
                if self.dm.relay_delay_s:
                    self._ending.wait(self.dm.relay_delay_s)

    def _truncate(self):
        """On the same server a transaction that was cut is taken out, and comes again."""
        with self.files_lock:
            begin = next((at for at in range(len(self.files) - 1, -1, -1) if self.files[at].type == GTID), None)
            if begin is not None and not self.gtids.has(*self.files[begin].gtid):
                del self.files[begin:]

    def to_json(self, master):
        """relayStatus."""
        if not self.is_started:
            return None
        return {"masterBinlog": master.position, "masterBinlogGtid": master.gtids, "relaySubDir": self.sub_dir,
                "relayBinlog": master.position, "relayBinlogGtid": str(self.gtids),
                "relayCatchUpMaster": str(self.gtids) == master.gtids, "stage": self.stage, "result": self.result}


class Validator(Unit):
    """A task's validator: a stream of its own, always from the server, and a pool connection, through pause-task."""

    failed_stage = "Stopped"

    def __init__(self, task):
        super().__init__(task.dm)
        self.task, self.mode, self.rows, self.pool = task, "", 0, None

    def work(self):
        self.pool = connect(self.dm.upstream_port)
        self.stream = Stream(self.dm.upstream_port, GtidSet(_purged(self.dm.upstream_port)), self.dm.next_server_id(),
                             heartbeat_s=1)
        while not self._ending.is_set():
            self.rows += self.stream.read().type == WRITE_ROWS

    def rest(self):
        if self.pool:
            self.pool._force_close()  # pylint: disable=protected-access
        self.pool = None

    def to_json(self):
        """`validation` of the task's status."""
        if not self.mode:
            return None
        return {"task": self.task.name, "source": self.dm.source_id, "mode": self.mode, "stage": self.stage,
                "validatorBinlog": "", "validatorBinlogGtid": "",
                "result": None if self.failure is None else self.result,
                "processedRowsStatus": f"insert/update/delete: {self.rows}/0/0",
                "pendingRowsStatus": f"insert/update/delete: {self.rows}/0/0",
                "errorRowsStatus": "new/ignored/resolved: 0/0/0", "cutoverBinlogPos": "", "cutoverBinlogGtid": ""}


def _purged(port):
    connection = connect(port)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@GLOBAL.gtid_purged")
            return cursor.fetchone()[0]
    finally:
        connection.close()


class MasterStatus:
    """What a poll of the upstream gave: empty where it could not be reached."""

    def __init__(self, port, timeout):
        self.position = self.gtids = ""
        connection = connect(port, timeout=timeout)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SHOW BINARY LOG STATUS")
                row = cursor.fetchone()
                self.position, self.gtids = f"({row[0]}, {row[1]})", row[4].replace("\n", "")
                cursor.execute("SHOW BINARY LOGS")
        finally:
            connection._force_close()  # pylint: disable=protected-access


class DmStandIn(Sources):
    """
    dm-master and dm-worker in one, as threads. |upstream_port| is where the source's file points: a proxy.
    |downstream| is a Server.

    |flush_s|, |poll_s|, |check_s|, |pause_wait_s| are DM's 30, 30, 5 and 10 s, scaled; |batch| rows are a transaction
    downstream, with |batch_delay_s| in between. |relay_delay_s| slows the relay. |safe_mode| is the task's key.
    |override|: {(method, path's begin): (status, body)} answers in DM's place. |others|: {source: {task: stage}},
    sources that are not ours.
    """

    def __init__(self, upstream_port, downstream, source_id="mysql-01", relay=False, tls=None, schema="test",
                 flush_s=2.0, poll_s=1.0, check_s=0.3, pause_wait_s=1.0, batch=50, batch_delay_s=0.0,
                 relay_delay_s=0.0, safe_mode=True):
        self.upstream_port, self.downstream, self.source_id, self.schema = upstream_port, downstream, source_id, schema
        self.flush_s, self.poll_s, self.check_s, self.pause_wait_s = flush_s, poll_s, check_s, pause_wait_s
        self.batch, self.batch_delay_s, self.relay_delay_s = batch, batch_delay_s, relay_delay_s
        self.safe_mode, self.status_timeout_s = safe_mode, 30
        self.worker, self.others, self._more_doors = "worker1", {}, []
        self.from_host, self.from_port = "127.0.0.1", upstream_port
        self.enable_gtid, self.has_leader, self.is_bound = True, True, True
        self.locks = []
        self.override, self.calls = {}, []
        self.relay = Relay(self)
        self.relay_was_given_with_source = relay
        self.tasks = {}
        self._server_id = 429496729
        self.relay_has_worker = not relay  # start-relay named one
        self.init_sources()
        self._stop, self._checks = threading.Event(), threading.Event()
        self._checks.set()
        self.grpc = {"OperateWorkerRelayTask": self._grpc_worker_relay, "OperateRelay": self._grpc_relay,
                     "StartValidation": self._grpc_start_validation, "StopValidation": self._grpc_stop_validation,
                     "ShowDDLLocks": self._grpc_locks}
        self.grpc = {name: self._overridable(name, function) for name, function in self.grpc.items()}
        self._tls, self.doors = tls, Doors(self, tls=tls)
        if relay:
            self.relay.is_started = True
        self._threads = [threading.Thread(target=self._poll, daemon=True),
                         threading.Thread(target=self._check, daemon=True)]
        for thread in self._threads:
            thread.start()

    def _overridable(self, name, function):
        """|override| has ("grpc", method): a function that gives an answer, or None for DM's own."""
        def call(message):
            answer = self.override.get(("grpc", name), lambda _: None)(message)
            return function(message) if answer is None else answer
        return call

    @property
    def address(self):
        """master-addr."""
        return self.doors.address

    @property
    def api(self):
        """What a person asks and orders."""
        return DmCalls(self.address, self.source_id)

    def next_server_id(self):
        """Another one for each stream."""
        self._server_id += 1
        return self._server_id

    # What a person does with dmctl.

    def add_task(self, name, start="", validator=""):
        """start-task: incremental, from the set |start|."""
        task = self.tasks[name] = Task(self, name, start)
        if self.relay.is_started and self.relay.stage != "Running":
            self.relay.gtids = GtidSet(start) if not self.relay.sub_dir else self.relay.gtids
            self.relay.start()
        task.open_pool()
        task.start()
        if validator:
            task.validator.mode = validator
            task.validator.start()
        return task

    def restart_worker(self, is_other=False):
        """
        kill -9 of dm-worker and a new one: stages are kept, results are gone, S is what was written. |is_other|: the
        source goes to another worker, which has no relay files.
        """
        tasks = list(self.tasks.values())
        validators = [task.validator for task in tasks]
        ran = [unit for unit in [*tasks, *validators, self.relay] if unit.die()]
        if is_other:
            self.worker = "worker" + str(int(self.worker[6:]) + 1)
            self.relay.sub_dir, self.relay.files, self.relay.number = "", [], 0
            self.relay.gtids = min((task.flushed for task in tasks), key=str).copy()
        for task in tasks:
            task.open_pool()
        for unit in reversed(ran):
            unit.start()

    def add_master(self):
        """The address of one more master."""
        self._more_doors.append(Doors(self, tls=self._tls))
        return self._more_doors[-1].address

    def end_master(self):
        """The first master is gone; the others lead."""
        self.doors.close()

    def restart_master(self, gap_s=0.0):
        """The master's port goes away and comes back."""
        port = self.doors.port
        self.doors.close()
        time.sleep(gap_s)
        self.doors = Doors(self, port=port, tls=self._tls)

    def stop(self):
        """End all."""
        self._stop.set()
        for doors in [self.doors, *self._more_doors]:
            doors.close()
        for task in self.tasks.values():
            for unit in (task, task.validator):
                if unit.stream and hasattr(unit.stream, "abandon"):
                    unit.stream.abandon()
                unit.end("Stopped")
            task.close_pool()
        if self.relay.stream:
            self.relay.stream.abandon()
        self.relay.end("Stopped")
        for thread in self._threads:
            thread.join(60)

    @contextlib.contextmanager
    def frozen_checker(self):
        """Within it nothing is resumed by itself."""
        self._checks.clear()
        yield
        self._checks.set()

    @contextlib.contextmanager
    def silent_upstream(self):
        """Within it the upstream's address accepts and says nothing."""
        port = self.upstream_port
        with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
            self.upstream_port = listener.getsockname()[1]
            yield
            self.upstream_port = port

    # What DM does by itself.

    def _poll(self):
        while not self._stop.wait(self.poll_s):
            if not self.source_is_there:
                continue
            try:
                MasterStatus(self.upstream_port, 30)
            except ERRORS:
                pass

    def _check(self):
        while not self._stop.wait(self.check_s):
            if not self._checks.is_set():
                continue
            for unit in [self.relay, *self.tasks.values()]:
                if not unit.lock.acquire(blocking=False):
                    continue
                try:
                    if unit.stage == "Paused" and unit.is_canceled is False:
                        unit.start()
                finally:
                    unit.lock.release()

    # The API.

    def http(self, method, path, query, body):
        """One call of the gateway."""
        self.calls.append((method, path, query, body))
        for (want, begin), answer in list(self.override.items()):
            if method == want and path.startswith(begin):
                return answer(method, path, query, body) if callable(answer) else answer
        words = path.split("/")[3:] if path.startswith("/apis/v1alpha1/") else []
        if not self.has_leader and words[:1] != ["members"]:
            text = "[code=38043] master is not leader, and can't forward request to leader"
            return 500, {"code": 2, "message": text, "details": []}
        if method == "GET" and len(words) == 2 and words[0] == "status":
            return 200, self._status(words[1], query.get("sources", []))
        if method == "PUT" and len(words) == 2 and words[0] == "tasks":
            return 200, self._operate_task(words[1], body)
        if method == "GET" and len(words) == 2 and words[0] == "tasks" and query.get("type") == ["4"]:
            return 200, self._source_config(words[1])
        if method == "PUT" and words == ["sources"]:
            return 200, self.operate_source(body)
        if method == "POST" and words == ["tasks"]:
            return 200, self.start_task(body)
        if method == "GET" and words == ["members"]:
            return 200, self._members()
        return 501, {"code": 12, "message": "Not Implemented", "details": []}

    def _status(self, name, sources):
        if name and name not in self.tasks:
            return {"result": False, "msg": f"task {name} has no source or not exist", "sources": []}
        if sources and (sources != [self.source_id] or not self.source_is_there):
            return {"result": False, "msg": f"sources {sources} haven't been added", "sources": []}
        began = time.monotonic()
        try:
            master, failure = MasterStatus(self.upstream_port, self.status_timeout_s), None
        except ERRORS as error:
            master, failure = None, error
        if failure and time.monotonic() - began >= self.status_timeout_s * 0.99:
            text = ("[code=38008:class=dm-master:scope=internal:level=high], Message: grpc request error, RawCause: "
                    "rpc error: code = DeadlineExceeded desc = context deadline exceeded")
            return {"result": True, "msg": "", "sources": [
                {"result": False, "msg": text, "sourceStatus": {"source": self.source_id, "worker": "", "result": None,
                                                                "relayStatus": None}, "subTaskStatus": []}]}
        if master is None:
            master = MasterStatus.__new__(MasterStatus)
            master.position = master.gtids = ""
        chosen = [self.tasks[name]] if name else list(self.tasks.values())
        found = []
        for task in chosen:
            with task.lock:
                found.append(task.to_json(master))
        with self.relay.lock:
            relay = self.relay.to_json(master)
        ours = {"result": True, "msg": "" if found else "no sub task started",
                "sourceStatus": {"source": self.source_id, "worker": self.worker, "result": None, "relayStatus": relay},
                "subTaskStatus": found}
        return {"result": True, "msg": "", "sources": [ours, *self._status_of_others(name, sources, master)]}

    def _status_of_others(self, name, sources, master):
        """The first task of ours stands for theirs, but for the stage."""
        for source, stages in {} if sources else self.others.items():
            chosen = {task: stage for task, stage in stages.items() if name in ("", task)}
            like = next(iter(self.tasks.values())).to_json(master)
            yield {"result": True, "msg": "",
                   "sourceStatus": {"source": source, "worker": "worker9", "result": None, "relayStatus": None},
                   "subTaskStatus": [{**like, "name": task, "stage": stage, "result": None}
                                     for task, stage in chosen.items()]}

    def _operate_task(self, name, body):
        op = {"Pause": 2, "Resume": 3, "Delete": 7, "Stop": 1}.get(body.get("op"), body.get("op"))
        word = {2: "Pause", 3: "Resume"}.get(op, "InvalidOp")
        sources = body.get("sources") or [self.source_id]
        if name not in self.tasks:
            text = f"task {name} has no source or not exist, please check the task name and status"
            return {"op": word, "result": False, "msg": text, "sources": []}
        for source in [one for one in self.others if one in sources or not body.get("sources")]:
            self.others[source][name] = "Paused" if word == "Pause" else "Running"
        if sources != [self.source_id]:
            text = (f"[code=46017:class=dm-master:scope=internal:level=medium], Message: sources [{' '.join(sources)}] "
                    "need to be operate not exist")
            return {"op": word, "result": False, "msg": text, "sources": []}
        if op in (1, 7):
            return self.stop_task(name, op)
        task, msg = self.tasks[name], ""
        with task.lock:
            if word == "Pause":
                if task.stage == "Paused":
                    msg = task.failure.to_msg() if task.failure else ""
                    task.is_canceled = task.is_canceled is None and None or True
                elif task.stage == "Running":
                    task.end("Paused")
                    task.is_canceled = True
            elif task.stage == "Paused":
                task.start()
        return {"op": word, "result": True, "msg": "", "sources": [
            {"result": True, "msg": msg, "source": self.source_id, "worker": self.worker}]}

    def _source_config(self, name):
        if name != self.source_id or not self.source_is_there:
            return {"result": False, "msg": "source not found", "cfg": ""}
        text = (f"enable: true\nenable-gtid: {json.dumps(self.enable_gtid)}\nflavor: mysql\n"
                f"enable-relay: {json.dumps(self.relay_was_given_with_source)}\nsource-id: {name}\nfrom:\n"
                f"  host: {self.from_host}\n  port: {self.from_port}\n  user: dm\n  password: '******'\n")
        return {"result": True, "msg": "", "cfg": text}

    def _members(self):
        leader = {"msg": "", "name": "master1" if self.has_leader else "",
                  "addr": self.address if self.has_leader else ""}
        worker = {"name": self.worker, "addr": "127.0.0.1:8262", "stage": "bound" if self.is_bound else "free",
                  "source": self.source_id if self.is_bound else ""}
        return {"result": True, "msg": "", "members": [
            {"leader": leader},
            {"master": {"msg": "", "masters": [{"name": "master1", "memberID": "11007177379717700053", "alive": True,
                                                "peerURLs": ["http://127.0.0.1:8291"],
                                                "clientURLs": [f"http://{self.address}"]}]}},
            {"worker": {"msg": "", "workers": [worker]}}]}

    def _taken(self, result_field=1, msg=""):
        mine = encode({1: 0 if msg else 1, 2: msg, 3: self.source_id, 4: self.worker})
        return encode({result_field: 1, result_field + 2: mine})

    def _grpc_worker_relay(self, message):
        op, sources = message[1][0], [source.decode() for source in message.get(2, [])]
        self.calls.append(("grpc", "OperateWorkerRelayTask", op, sources))
        if sources != [self.source_id]:
            return encode({1: op, 3: "no such source"})
        with self.relay.lock:
            if op == 2 and self.relay.is_started:
                if self.relay.stage == "Paused":
                    self.relay.is_canceled = True
                else:
                    self.relay.end("Paused")
            elif op == 3 and self.relay.stage == "Paused":
                self.relay.start()
        return encode({1: op, 2: 1, 4: encode({1: 1, 3: self.source_id, 4: self.worker})})

    def _grpc_relay(self, message):
        op, source, workers = message[1][0], message[2][0].decode(), [worker.decode() for worker in message.get(3, [])]
        self.calls.append(("grpc", "OperateRelay", op, source, workers))
        if workers and self.relay_was_given_with_source:
            return encode({2: "[code=46030] relay was started with the source"})
        if op == 2:
            self.relay.end("Stopped")
            self.relay.is_started = False
        else:
            self.relay.gtids = min((task.flushed for task in self.tasks.values()), key=str).copy()
            self.relay.sub_dir, self.relay.files = "", []
            self.relay.is_started = True
            self.relay.start()
        return encode({1: 1})

    def _validators(self, message, sources, task):
        sources = [source.decode() for source in message.get(sources, [])]
        name = message.get(task, [b""])[0].decode()
        if sources != [self.source_id] or (name and name not in self.tasks):
            return None
        return [self.tasks[name]] if name else list(self.tasks.values())

    def _grpc_start_validation(self, message):
        mode = message.get(1, [b""])[0].decode()
        tasks = self._validators(message, 3, 4)
        self.calls.append(("grpc", "StartValidation", mode))
        if tasks is None:
            return encode({2: "cannot get subtask"})
        if mode and any(task.validator.mode for task in tasks):
            return encode({2: "all target validator has enabled, cannot do 'validation start' with explicit mode or "
                              "start-time"})
        for task in tasks:
            task.validator.mode = task.validator.mode or mode or "full"
            task.validator.start()
        return self._taken()

    def _grpc_stop_validation(self, message):
        tasks = self._validators(message, 1, 2)
        self.calls.append(("grpc", "StopValidation"))
        if tasks is None:
            return encode({2: "cannot get subtask"})
        for task in tasks:
            task.validator.end("Stopped")
        return self._taken()

    def _grpc_locks(self, message):
        del message
        return encode({1: 1, 2: "" if self.locks else "no DDL lock exists",
                       3: [encode({1: lock, 2: task}) for lock, task in self.locks]})
