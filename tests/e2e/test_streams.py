# SPDX-License-Identifier: Apache-2.0
"""
Binlog streams on real servers: parked, cut in the middle of a transaction, waiting for semi-sync, of a server set
back.
"""
import filecmp
import re
import shutil
import signal
import threading

import pymysql
import pytest
from sluicetest import BinlogStream, PauseAt, Writer, wait_until
from sluicetest.golang import build_go, why_no_go
from sluicetest.server import PASSWORDS
from sluicetest.world import World

ROWS = 200_000
LONG_TEXT = 150  # with it they are more than all buffers between a server and a reader that stands still can take


class Reader(BinlogStream):
    """`mysqlbinlog --stop-never` into a folder of its own, that can be made to stand still."""

    def __init__(self, processes, folder, port, server_id):
        folder = folder / f"reader-{server_id}"
        folder.mkdir()
        super().__init__(processes, folder, port, server_id)
        self.pid = self._process.pid

    def freeze(self):
        """Read nothing from now on."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Go on."""
        self._process.send_signal(signal.SIGCONT)

    def has_all_of(self, server):
        """Whether its file is the server's first, which must be closed, byte by byte; and it never began anew."""
        assert self.is_running and self._process.pid == self.pid, self.log.read_text()
        files = list(self._folder.glob("*bin.000001"))
        return len(files) == 1 and filecmp.cmp(files[0], server.data / "bin.000001", shallow=False)

    def wait_for(self, server):
        """It has read what the server has now."""
        size = server.query("SHOW BINARY LOG STATUS")[0]["Position"]
        wait_until(lambda: sum(self.sizes()) >= size, 30, lambda: f"{size} bytes are read: {self.sizes()}")

    def sizes(self):
        """Of the files that it has written."""
        return [path.stat().st_size for path in self._folder.glob("*bin.*")]


class GoReader:
    """go-mysql's BinlogSyncer as DM uses it: one stream, which it does not begin anew."""

    def __init__(self, program, processes, folder, port, server_id):
        self._processes, self.log = processes, folder / "go.log"
        self._process = processes.start(
            [program, "stream", server_id, ""], log=self.log,
            env={"COMPAT_HOST": "127.0.0.1", "COMPAT_PORT": str(port), "COMPAT_USER": "repl",
                 "COMPAT_PASSWORD": PASSWORDS["repl"], "COMPAT_CA": ""})

    def gtids(self):
        """What it got, in order."""
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        return re.findall(r"^gtid (\S+)$", self.log.read_text(), re.MULTILINE)

    def stop(self):
        """End it."""
        self._processes.end(self._process, signal.SIGKILL)


@pytest.fixture(name="make")
def fixture_make(trio, sluice):
    """Makes a World, not yet started; the clients that it keeps are stopped at the end."""
    made = []

    def make(consumer="none", backends=None, **how):
        how = {"probe_interval": "100ms", "drain_timeout": "500ms", "catchup_timeout": "2s", **how}
        if backends:
            how["backends"] = {name: getattr(trio, name) for name in backends}
        proxy = sluice(trio, consumer=trio.c if consumer == "replica" else consumer, **how)
        made.append(World(trio, proxy))
        return made[-1]

    yield make
    for world in made:
        world.stop_clients()


def write_large(world, text_len=100):
    """One transaction of 200,000 rows on a; returns its GTID."""
    before = world.a.executed()
    world.a.query("SET SESSION cte_max_recursion_depth = %s", ROWS)
    world.a.query("CREATE TABLE IF NOT EXISTS test.large (id INT PRIMARY KEY, s VARCHAR(400))")
    between = world.a.executed()
    world.a.query("INSERT INTO test.large WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                  "WHERE i < %s) SELECT i, REPEAT('l', %s) FROM n", ROWS, text_len)
    assert world.a.executed() != between != before
    return world.a.one("SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, %s)", between)


def sent_in_part(world):
    """What the proxy says was sent in part."""
    return world.proxy.status()["delivered"]["sent-in-part"]


def dumps(world):
    """The threads on a that feed streams of the proxy."""
    return [row for row in world.a.processlist() if row["Command"].startswith("Binlog Dump")
            and row["Host"].startswith("127.0.0.2:")]


def half_delivered(world, processes, tmp):
    """
    (reader, gtid): a reader that stands still in the middle of a transaction of 200,000 rows; a replica has the whole
    of it.
    """
    reader = world.keep(Reader(processes, tmp, world.proxy.port, 9101))
    reader.wait_for(world.a)
    reader.freeze()
    large = write_large(world, LONG_TEXT)
    if world.consumer == "replica":
        world.c.wait_for(large, 60)
        wait_until(lambda: len([row for row in dumps(world) if "has sent all" not in row["State"]]) == 1, 20,
                   lambda: f"one stream is in the middle of it: {dumps(world)}")
    else:
        wait_until(lambda: sent_in_part(world) == large, 60, lambda: f"{large} is sent in part: {world.proxy.status()}")
    return reader, large


def steps(world):
    """[(ms, phase, text)] of the last switch."""
    number = world.proxy.run("history", world.proxy.source_id, expect=0).json["switches"][0]["number"]
    status, found = world.proxy.get(f"/v1/switches/{number}")
    assert status == 200, found
    found = found.get("switch", found)
    return [(step["at-ms"], step["phase"], step["text"]) for step in found["steps"]]


def phase_ms(world, phase):
    """How long the last switch stayed in |phase|."""
    found = steps(world)
    begun = next(at for at, name, _ in found if name == phase)
    return next(at for at, name, _ in found if at >= begun and name != phase and (at, name) > (begun, "")) - begun


# ---- a transaction of 200,000 rows in flight ----


def large_at_the_park(make, tmp, **how):
    """
    The consumer reads a; b has all. At the moment of parking a commits 200,000 rows that b does not get. Returns
    (world, gtid, exit code, what the switch printed).
    """
    pause = PauseAt(tmp, "park")
    environment = {**pause.environment, **how.pop("environment", {})}
    world = make(consumer="replica", environment=environment, **how).start()
    world.b.wait_for(world.a)
    verb = world.begin_switch(tmp)
    pause.wait()
    world.b.stop_replica()
    large = write_large(world)
    pause.go()
    code, text = verb.end()
    return world, large, code, text


def test_without_parking_a_large_transaction_is_sent_in_part(make, tmp):
    """
    Not parked, the consumer is paused with a part of the transaction, which its own position does not tell: the gate
    refuses a backend without it, by name and as sent in part.
    """
    world, large, code, text = large_at_the_park(make, tmp, environment={"SLUICE_FAULT": "skip-park"})
    assert code in (3, 4), text
    assert large in text and "in part" in text and "gtid-D" in text, text
    assert world.proxy.active == "a"
    world.b.start_replica()
    world.c.wait_for(world.a, 60)
    assert world.c.checksum("test.large") == world.a.checksum("test.large")


def test_with_parking_a_large_transaction_is_not_begun(make, tmp):
    """Parked, the consumer has nothing of it: the pause is short, and b, which lacks it, loses nobody anything."""
    world, large, code, text = large_at_the_park(make, tmp)
    assert code == 0, text
    assert world.proxy.active == "b" and not sent_in_part(world) and not world.c.contains(large)
    assert phase_ms(world, "pause") < 2000, steps(world)
    world.b.start_replica()
    world.c.wait_for(world.a, 60)
    assert world.c.checksum("test.large") == world.a.checksum("test.large")


def test_a_large_transaction_in_progress_is_let_through_to_its_end(make, processes, tmp):
    """
    A reader in the middle of the transaction: the switch waits for its end, clients go on meanwhile and nobody is
    paused; then the reader has all of it.
    """
    world = make(consumer="replica").start()
    reader, large = half_delivered(world, processes, tmp)
    world.b.wait_for(world.a, 60)
    verb = world.begin_switch(tmp)
    wait_until(lambda: (world.proxy.status()["switch"] or {}).get("phase") == "park", 20,
               "the switch waits for a boundary")
    assert world.session_is_alive() and world.uuid() == world.a.uuid
    assert world.c.replica_status()["Replica_IO_Running"] == "Yes"
    reader.thaw()
    code, text = verb.end()
    assert code == 0, text
    assert phase_ms(world, "pause") < 2000, steps(world)
    assert not sent_in_part(world) and world.delivered(large)


def test_half_of_a_transaction_is_not_had_by_a_reader_that_cannot_tell(make, processes, tmp):
    """
    A reader has half of it, B has it whole and has purged it: the reader would ask for it and meet 1236. Refused, and
    passed once B has it in its binlog, from where it is sent again.
    """
    world = make().start()
    reader, large = half_delivered(world, processes, tmp)
    reader.stop()
    wait_until(lambda: world.proxy.status()["streams"] == 0, 20, "the stream has ended")
    assert sent_in_part(world) == large and world.delivered(large)
    world.b.wait_for(world.a, 60)
    assert world.proxy.check("b", expect=0)
    world.b.purge()
    code, text = world.text("switch", world.proxy.source_id, "b", "--yes")
    assert code == 3 and "gtid-P in gtid-D" in text and "purged" in text and large in text, text
    assert world.proxy.active == "a" and world.uuid() == world.a.uuid


def test_half_of_a_transaction_follows_over_two_switches(make, processes, tmp):
    """
    A sent half of it, B has it, C has not: A to B passes, B to C is refused, by name and as sent in part; with it
    C passes.
    """
    world = make(backends=("a", "b", "c")).start()
    world.c.replicate_from(world.a)
    world.c.wait_for(world.a)
    world.c.stop_replica()
    reader, large = half_delivered(world, processes, tmp)
    reader.stop()
    world.b.wait_for(world.a, 60)
    assert sent_in_part(world) == large
    world.proxy.switch("b")
    assert world.proxy.active == "b" and sent_in_part(world) == large
    code, text = world.text("switch", world.proxy.source_id, "c", "--yes", "--wait-catchup=0")
    assert code == 3 and large in text and "in part" in text, text
    assert world.proxy.active == "b"
    world.c.start_replica()
    world.c.wait_for(world.a, 60)
    world.proxy.switch("c")
    assert world.proxy.active == "c" and world.uuid() == world.c.uuid


# ---- streams that were parked go on ----


def test_parked_streams_go_on_after_an_undone_switch(make, processes, tmp):
    """
    A switch that is undone because one reader does not come to a boundary: the streams of a replica, of mysqlbinlog
    and of go-mysql had been parked under constant writes, and go on, on their own connections, without a missing or
    doubled event.
    """
    world = make(consumer="replica", park_timeout="1500ms").start()
    go = None
    if why_no_go() is None:
        go = world.keep(GoReader(build_go(), processes, tmp, world.proxy.port, 9103))
        wait_until(go.gtids, 30, "go-mysql reads")
    plain = world.keep(Reader(processes, tmp, world.proxy.port, 9102))
    plain.wait_for(world.a)
    slow, large = half_delivered(world, processes, tmp)
    world.b.wait_for(large, 60)
    threads = sorted(row["Id"] for row in dumps(world))
    assert len(threads) == (4 if go else 3)
    writer = world.keep(Writer(world.a, per_second=100).start())
    writer.wait_rows(20)
    verb = world.begin_switch(tmp)
    wait_until(lambda: (world.proxy.status()["switch"] or {}).get("phase") == "park", 20,
               "the switch waits for a boundary")
    before = world.a.executed()
    writer.wait_rows(20)
    written = world.a.executed()
    assert not world.c.contains(written) and not world.delivered(written), "the streams are parked"
    code, text = verb.end()
    assert code == 4 and "park-timeout" in text, text
    assert world.proxy.active == "a"
    world.c.wait_for(before)
    writer.wait_rows(20)
    slow.thaw()
    writer.stop()
    world.c.wait_for(world.a, 60)
    assert writer.compare(world.c) == (0, 0, 0) and world.c.checksum() == world.a.checksum()
    world.a.query("FLUSH BINARY LOGS")  # its first event says whether a file is open
    for reader in (plain, slow):
        wait_until(lambda one=reader: one.has_all_of(world.a), 60,
                   lambda one=reader: f"mysqlbinlog has every byte of the binlog, once: {one.sizes()}")
    if go:
        last = int(world.a.executed().rpartition("-")[2])
        wanted = [f"{world.a.uuid}:{number}" for number in range(1, last + 1)]
        wait_until(lambda: go.gtids()[-1:] == wanted[-1:], 60, "go-mysql has the last transaction")
        assert go.gtids() == wanted
    assert sorted(row["Id"] for row in dumps(world)) == threads, "nobody was cut"
    counters = world.proxy.status()["counters"]
    assert counters["streams-cut"] == 0 and counters["parks-expired"] == 0 and not sent_in_part(world)
    if not go:
        pytest.skip(f"go-mysql was not among the readers: {why_no_go()}")


# ---- what a server has sent and does not show ----


@pytest.fixture(name="semi_sync")
def fixture_semi_sync(trio):
    """a waits for the acknowledgement of a replica that is not there, once semi_sync() was called."""
    server = trio.a
    server.unlogged("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'")
    waiting = []

    def begin():
        """Start a transaction that waits; returns when it does."""
        server.query("SET GLOBAL rpl_semi_sync_source_timeout = 3600000")
        server.query("SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'")
        server.query("SET GLOBAL rpl_semi_sync_source_enabled = 1")
        connection = server.connect("writer")

        def insert():
            try:
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO test.t VALUES ()")
            except pymysql.Error:
                pass
            connection.close()

        thread = threading.Thread(target=insert, daemon=True)
        thread.start()
        waiting.append(thread)
        return wait_until(lambda: server.one("SELECT @@GLOBAL.gtid_owned").partition("#")[0], 20,
                          "a transaction waits for its acknowledgement")

    yield begin
    server.query("SET GLOBAL rpl_semi_sync_source_enabled = 0")
    for thread in waiting:
        thread.join(30)
    server.unlogged("UNINSTALL PLUGIN rpl_semi_sync_source")


def test_semi_sync_waiting_transaction_is_delivered(make, semi_sync, processes, tmp):
    """
    A transaction that waits for its acknowledgement is with the readers, and a's gtid_executed does not show it: it
    is in D, and, after Sluice was started anew, in what stands for D; a backend without it is refused.
    """
    world = make().start()
    reader = world.keep(Reader(processes, tmp, world.proxy.port, 9104))
    reader.wait_for(world.a)
    world.b.wait_for(world.a)
    world.b.stop_replica()
    waiting = semi_sync()
    wait_until(lambda: world.delivered(waiting), 20, lambda: f"{waiting} is in D: {world.proxy.status()['delivered']}")
    assert not world.a.contains(waiting)
    code, text = world.text("switch", world.proxy.source_id, "b", "--yes", "--wait-catchup=0")
    assert code == 3 and waiting in text, text
    reader.stop()
    world.session.close()
    world.proxy.restart()
    assert not world.a.contains(waiting)
    status = world.proxy.status()["delivered"]
    assert status["known"] and world.delivered(waiting), status
    code, text = world.text("switch", world.proxy.source_id, "b", "--yes", "--wait-catchup=0")
    assert code == 3 and waiting in text, text


@pytest.mark.parametrize("probe_interval", ["100ms", "10s"], ids=["seen by a probe", "between two probes"])
def test_server_set_back_to_an_older_image_is_latched(make, processes, tmp, probe_interval):
    """
    The active server comes back with an older disk under its own uuid: latched, also over a restart of Sluice; no
    stream, no client and no switch, and it says what to do. Also where no probe had seen what it lost, but a stream
    had carried it.
    """
    world = make(consumer="replica", hold_timeout="3s", probe_interval=probe_interval).start()
    image = tmp / "image"
    world.a.stop()
    shutil.copytree(world.a.data, image)
    world.a.start()
    world.proxy.wait_ready()
    lost = world.write()
    for one in (world.b, world.c):
        one.wait_for(lost, 60)
    assert world.delivered(lost)
    world.a.stop()
    shutil.rmtree(world.a.data)
    shutil.move(image, world.a.data)
    world.a.start()
    assert not world.a.contains(lost)
    world.session.close()

    def latch():
        return world.proxy.status()["latch"]

    for _ in range(2):
        wait_until(latch, 30, lambda: f"a is latched: {world.proxy.status()}")
        assert lost in str(latch()) and "sent to readers" in str(latch())
        with pytest.raises(pymysql.Error) as refused:
            world.connect()
        assert "adopt" in str(refused.value) or "status" in str(refused.value)
        assert not dumps(world)
        code, text = world.text("switch", world.proxy.source_id, "b", "--yes")
        assert code in (1, 3) and "adopt" in text, text
        code, text = world.text("status", world.proxy.source_id)
        assert code == 0 and lost in text and "adopt" in text, text
        world.proxy.stop()
        world.proxy.start()
    reader = world.keep(Reader(processes, tmp, world.proxy.port, 9105))
    wait_until(lambda: not reader.is_running, 30, "a stream is refused")
    assert world.c.contains(lost)
    world.proxy.run("adopt", world.proxy.source_id, "b", expect=0)
    world.proxy.wait_ready()
    assert world.uuid() == world.b.uuid and world.b.contains(lost)
