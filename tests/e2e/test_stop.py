# SPDX-License-Identifier: Apache-2.0
"""The end of Sluice: what each session gets, within which time, and what the next start makes of what was open."""
import signal
import threading
import time

import pymysql
import pytest

from leaks import descriptors
from sluicetest import BinlogStream, IdleInTransaction, IdlePool, Writer, wait_until
from sluicetest.clients import is_open
from sluicetest.raw import Good, refused

ER_SERVER_SHUTDOWN = 1053


class Busy:
    """A client in the middle of one SELECT; its answer, or the error that it met, is there at the end."""

    def __init__(self, servers, port, seconds):
        self.answer, self.error = None, None
        self._connection = servers.a.connect("app", port=port)
        self._sql = f"SELECT SLEEP({seconds}), 42 AS answer"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        wait_until(lambda: any(row["Info"] == self._sql for row in servers.a.processlist()), 20, "the SELECT runs")

    def _run(self):
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(self._sql)
                self.answer = cursor.fetchall()[0]["answer"]
        except (pymysql.Error, OSError) as error:
            self.error = error

    def end(self):
        """Wait for its end."""
        self._thread.join(60)
        assert not self._thread.is_alive(), "the SELECT hangs"
        self._connection._force_close()  # pylint: disable=protected-access


def ended(one, limit=60):
    """Wait for the end; returns the exit code. The next start() is free to come."""
    code = one.wait_exit(limit)
    one.check_log()
    return code


# Idle sessions end at once, a busy one with its answer, a stream between transactions; new clients are told; exit
# code 0.
def test_sigterm_lets_each_session_end_in_its_own_way(pair, sluice, processes, tmp):
    one = sluice(pair)
    one.config["stop-timeout"] = "60s"
    one.start_ready()
    idle = IdlePool(one.port, 5)
    stream = BinlogStream(processes, tmp, one.port)
    wait_until(lambda: one.status()["streams"] == 1, 20, "the stream is on")
    busy = Busy(pair, one.port, 3)
    began = time.monotonic()
    one.signal(signal.SIGTERM)
    wait_until(lambda: not any(is_open(connection) for connection in idle.connections), 20, "the idle ones end")
    if busy.answer is None and one.is_running:
        refusal = refused(one.port)
        assert refusal.errno == ER_SERVER_SHUTDOWN and "being stopped" in refusal.text
    assert ended(one) == 0
    assert time.monotonic() - began < 50, "it waited for stop-timeout though all sessions had ended"
    busy.end()
    assert busy.answer == 42, busy.error
    # A server goes on with an idle binlog dump whose socket was closed; the next start, or the next switch, sees to it.
    wait_until(lambda: not stream.is_running, 20, "the stream's client has met its end")
    wait_until(lambda: not [row for row in pair.a.processlist() if row["User"] == "app"], 20, "no session is left")
    stream.stop()
    idle.stop()


# What has not ended within stop-timeout is ended: a long SELECT, a transaction that sits there.
def test_sigterm_ends_what_does_not_end_within_stop_timeout(pair, sluice):
    one = sluice(pair)
    one.config["stop-timeout"] = "1s"
    one.start_ready()
    sitting = IdleInTransaction(one.port)
    busy = Busy(pair, one.port, 50)
    began = time.monotonic()
    one.signal(signal.SIGTERM)
    assert ended(one) == 0
    assert 0.9 < time.monotonic() - began < 25
    busy.end()
    assert busy.error is not None and busy.answer is None
    assert not is_open(sitting.connections[0])
    sitting.stop()
    one.start_ready()
    Good(one.port).stop()


# Nobody there: it does not wait at all.
def test_sigterm_without_sessions_is_quick(pair, sluice):
    one = sluice(pair)
    one.config["stop-timeout"] = "10m"
    one.start_ready()
    one.signal(signal.SIGTERM)
    assert ended(one) == 0
    assert '["stopped"]' in one.log_text()


# Servers that hang do not keep it: probes under way are given up.
def test_sigterm_with_frozen_servers_ends_in_order(pair, sluice):
    one = sluice(pair, probe_interval="100ms", probe_timeout="1m")
    one.config["stop-timeout"] = "500ms"
    one.start_ready()
    pool = IdlePool(one.port, 3)
    quiet = min(descriptors(one) for _ in range(200))
    for server in (pair.a, pair.b):
        server.freeze()
    try:
        wait_until(lambda: descriptors(one) >= quiet + 2, 20, "probes of both are under way")
        one.signal(signal.SIGTERM)
        assert ended(one) == 0
    finally:
        for server in (pair.a, pair.b):
            server.thaw()
    pool.stop()


# SIGINT, as from a terminal, is as SIGTERM.
def test_sigint_is_as_sigterm(pair, sluice):
    one = sluice(pair).start_ready()
    pool = IdlePool(one.port, 2)
    one.signal(signal.SIGINT)
    assert ended(one) == 0
    pool.stop()


# A second signal ends it at once, with sessions open and stop-timeout far away; the next start goes on as if nothing
# had been.
def test_second_sigterm_exits_at_once_and_the_next_start_goes_on(pair, sluice):
    one = sluice(pair)
    one.config["stop-timeout"] = "10m"
    one.start_ready()
    epoch = one.status()["epoch"]
    busy = Busy(pair, one.port, 50)
    one.signal(signal.SIGTERM)
    wait_until(lambda: '["stopping"]' in one.log_text(), 10, "the first was heard")
    one.signal(signal.SIGTERM)
    assert ended(one, 20) == 1
    assert "second signal" in one.log_text()
    busy.end()
    one.start_ready()
    assert one.active == "a" and one.status()["epoch"] == epoch
    Good(one.port).stop()


@pytest.fixture(name="switching")
def fixture_switching(trio, sluice, tmp):
    """A Sluice with a replica as its consumer, in the drain of a switch that a long SELECT holds up."""
    one = sluice(trio, consumer=trio.c, hold_timeout="19s", drain_timeout="15s", probe_interval="200ms")
    one.config["stop-timeout"] = "4s"
    trio.c.replicate_from(trio.a, via=("127.0.0.1", one.port), start=False)
    one.start_ready()
    trio.c.start_replica()
    writer = Writer(trio.a, per_second=50).start()
    writer.wait_rows(10)
    writer.stop()
    trio.c.wait_for(trio.a)
    busy = Busy(trio, one.port, 40)
    verb = one.launch_verb("switch", one.source_id, "b", "--yes", log=tmp / "switch.log")
    wait_until(lambda: (one.status()["switch"] or {}).get("phase", "").lower() == "drain", 30,
               lambda: f"the drain: {one.status()['switch']}; {(tmp / 'switch.log').read_text()}")
    yield one
    busy.end()
    one.processes.end(verb)


def consumer_reads(servers, through):
    """Whether the replica's reading thread is connected through Sluice to |through|."""
    status = servers.c.replica_status()
    return status["Replica_IO_Running"] == "Yes" and status["Replica_SQL_Running"] == "Yes" and \
        status["Source_UUID"] == through.uuid


# A stop in the middle of a switch undoes it: the consumer is resumed, and the next start finds nothing open.
def test_sigterm_before_the_flip_undoes_the_switch(trio, switching):
    one = switching
    one.signal(signal.SIGTERM)
    wait_until(lambda: trio.c.replica_status()["Replica_SQL_Running"] == "Yes", 30, "the consumer is resumed")
    assert ended(one, 60) == 0
    one.start_ready()
    assert one.active == "a" and one.status()["switch"] is None and one.status()["epoch"] == 1
    history = one.run("history", one.source_id, expect=0).json["switches"]
    assert [found["state"] for found in history] == ["undone"]
    wait_until(lambda: consumer_reads(trio, trio.a), 30, lambda: f"the consumer reads: {trio.c.replica_status()}")


# Two signals at once in the middle of a switch: nothing is waited for, and the next start undoes and resumes.
def test_second_sigterm_within_a_switch_leaves_it_to_the_next_start(trio, switching):
    one = switching
    one.signal(signal.SIGTERM)
    wait_until(lambda: '["stopping"]' in one.log_text(), 10, "the first was heard")
    if one.is_running:
        one.signal(signal.SIGTERM)
    assert ended(one, 20) in (0, 1)
    one.start_ready()
    wait_until(lambda: one.status()["switch"] is None, 30, lambda: f"nothing is open: {one.status()['switch']}")
    assert one.active == "a"
    history = one.run("history", one.source_id, expect=0).json["switches"]
    assert [found["state"] for found in history] == ["undone"]
    wait_until(lambda: consumer_reads(trio, trio.a), 30, lambda: f"the consumer reads: {trio.c.replica_status()}")
    Good(one.port).stop()
