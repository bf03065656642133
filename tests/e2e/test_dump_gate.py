# SPDX-License-Identifier: Apache-2.0
"""Every binlog dump is weighed against what the backend has: what would lose rows silently is refused, with why."""
import time
import uuid

import pymysql
import pytest
from sluicetest import PauseAt, Verb, wait_until
from sluicetest.server import PASSWORDS

COM_BINLOG_DUMP = 0x12
COM_REGISTER_SLAVE = 0x15
COM_BINLOG_DUMP_GTID = 0x1e
NON_BLOCK = 0x01
PURGED = 1236
GATE = 1105


def encode(server, gtids, tag=None):
    """
    A GTID set as COM_BINLOG_DUMP_GTID carries it; |server| brings it into its normal form. With |tag| in the form that
    has tags, all numbers under that one.
    """
    text = server.one("SELECT GTID_SUBTRACT(%s, '')", gtids).replace("\n", "")
    parts = [part.split(":") for part in text.split(",") if part]
    head = len(parts) if tag is None else 1 << 56 | len(parts) << 8 | 1
    out = head.to_bytes(8, "little")
    for name, *ranges in parts:
        out += uuid.UUID(name).bytes
        if tag is not None:
            out += (len(tag) * 2).to_bytes(1, "little") + tag.encode()
        out += len(ranges).to_bytes(8, "little")
        for first, _, last in (one.partition("-") for one in ranges):
            out += int(first).to_bytes(8, "little") + (int(last or first) + 1).to_bytes(8, "little")
    return out


class Reader:
    """A binlog client with bare hands: it says what it has, and notes how it is answered."""

    def __init__(self, port, server_id=7001, user="repl", replica_uuid=None):
        self.connection = pymysql.connect(host="127.0.0.1", port=port, user=user,
                                          password=PASSWORDS[user], read_timeout=30)
        self.server_id = server_id
        with self.connection.cursor() as cursor:
            cursor.execute("SET @source_binlog_checksum = 'NONE', @master_binlog_checksum = 'NONE'")
            # As go-mysql does: without it a server ends the first of two readers with one server_id by itself.
            cursor.execute("SET @slave_uuid = %s, @replica_uuid = %s", [replica_uuid or str(uuid.uuid4())] * 2)

    def _send(self, command, payload):
        self.connection._execute_command(command, payload)  # pylint: disable=protected-access

    def _read(self):
        return self.connection._read_packet()  # pylint: disable=protected-access

    def register(self):
        """COM_REGISTER_SLAVE as go-mysql sends it: with the account's password."""
        words = (b"dm-worker", b"repl", PASSWORDS["repl"].encode())
        text = b"".join(len(one).to_bytes(1, "little") + one for one in words)
        self._send(COM_REGISTER_SLAVE, self.server_id.to_bytes(4, "little") + text + bytes(10))
        return self._read()

    def ask(self, encoded, file=b"", flags=NON_BLOCK):
        """COM_BINLOG_DUMP_GTID."""
        self._send(COM_BINLOG_DUMP_GTID, flags.to_bytes(2, "little") + self.server_id.to_bytes(4, "little")
                   + len(file).to_bytes(4, "little") + file + (4).to_bytes(8, "little")
                   + len(encoded).to_bytes(4, "little") + encoded)
        return self

    def ask_by_position(self, file):
        """COM_BINLOG_DUMP."""
        self._send(COM_BINLOG_DUMP, (4).to_bytes(4, "little") + NON_BLOCK.to_bytes(2, "little")
                   + self.server_id.to_bytes(4, "little") + file)
        return self

    def error(self):
        """Reads to the end of the dump: None, or (number, text)."""
        try:
            while True:
                if self._read().is_eof_packet():
                    return None
        except pymysql.MySQLError as error:
            return error.args

    def first_event(self):
        """The first packet of the stream."""
        return self._read()

    def close(self):
        """Break off."""
        self.connection._force_close()  # pylint: disable=protected-access


class World:
    """A source without a consumer; writes go to a, and b replicates."""

    def __init__(self, servers, proxy):
        self.a, self.b, self.proxy, self.readers = servers.a, servers.b, proxy, []
        self.a.query("CREATE TABLE test.t (id BIGINT AUTO_INCREMENT PRIMARY KEY)")
        self.write(self.a)
        self.b.wait_for(self.a)
        proxy.start_ready()

    @staticmethod
    def write(server, count=3):
        """Transactions on one server."""
        for _ in range(count):
            server.query("INSERT INTO test.t VALUES ()")

    def reader(self, **how):
        """A new one, through the proxy."""
        self.readers.append(Reader(self.proxy.port, **how))
        return self.readers[-1]

    def dump(self, gtids, **how):
        """One whole dump of what a reader with |gtids| lacks: None, or the error."""
        return self.reader().ask(encode(self.a, gtids), **how).error()

    def switch_to_b(self):
        """b is the active one, and no longer replicates."""
        self.b.wait_for(self.a)
        self.proxy.switch("b")

    def refused(self, error, *words):
        """A refusal of the gate: a number that DM resumes from, and a text that names what is the matter."""
        assert error is not None and error[0] == GATE, error
        assert "binlog dump refused" in error[1] and "connection refused" not in error[1]
        for word in words:
            assert word in error[1], error


@pytest.fixture(name="world")
def fixture_world(pair, sluice):
    """Makes a World."""
    made = []

    def make(**how):
        made.append(World(pair, sluice(pair, consumer="none", drain_timeout="500ms", **how)))
        return made[0]

    yield make
    for world in made:
        for reader in world.readers:
            reader.close()


def test_a_reader_that_the_backend_can_serve_passes(world):
    """An empty set, a part, and all of it; also through a stream that stays."""
    here = world()
    assert here.dump("") is None
    assert here.dump(f"{here.a.uuid}:1-2") is None
    assert here.dump(here.a.executed()) is None
    stays = here.reader().ask(encode(here.a, ""), flags=0)
    assert stays.first_event() is not None
    assert here.proxy.status()["streams"] == 1


def test_a_backend_that_lags_is_waited_for_and_then_serves(world):
    """Ranges of another server that the active one still lacks: the reader waits, and gets its stream after that."""
    here = world(dump_gate_wait="30s")
    here.switch_to_b()
    here.b.stop_replica()
    here.write(here.a)
    reader = here.reader().ask(encode(here.a, here.a.executed()))
    reader.connection._sock.settimeout(0.5)  # pylint: disable=protected-access
    with pytest.raises(TimeoutError):
        reader.connection._sock.recv(1)  # pylint: disable=protected-access
    reader.connection._sock.settimeout(30)  # pylint: disable=protected-access
    here.b.start_replica()
    assert reader.error() is None


def test_a_backend_that_does_not_catch_up_is_not_read(world):
    """The same, and nothing comes: an error that names the range, after dump-gate-wait; all goes on as it was."""
    here = world(dump_gate_wait="1s")
    here.switch_to_b()
    here.b.stop_replica()
    before = here.a.executed()
    here.write(here.a)
    missing = here.a.one("SELECT GTID_SUBTRACT(%s, %s)", here.a.executed(), before)
    began = time.monotonic()
    here.refused(here.dump(here.a.executed()), missing, "backend b")
    assert 0.9 <= time.monotonic() - began < 8
    status = here.proxy.status()
    assert status["latch"] is None and status["mode"] == "routing" and status["counters"]["dumps-refused"] == 1
    assert here.dump(before) is None


def test_without_the_gate_a_lagging_backend_is_read_without_a_word(world):
    """dump-gate: off shows what the gate is for: the server itself says nothing."""
    here = world(dump_gate="off")
    here.switch_to_b()
    here.b.stop_replica()
    here.write(here.a)
    assert here.dump(here.a.executed()) is None


def test_a_gate_that_warns_lets_pass_and_says_so(world):
    """dump-gate: warn."""
    here = world(dump_gate="warn", dump_gate_wait="1s")
    here.switch_to_b()
    here.b.stop_replica()
    here.write(here.a)
    assert here.dump(here.a.executed()) is None
    assert "it only warns" in here.proxy.log_text()
    assert here.proxy.status()["latch"] is None


def test_a_backend_that_was_set_back_is_latched(world):
    """A reader has transactions of the backend's own uuid that it no longer has: refused at once, and latched."""
    here = world(dump_gate_wait="30s", probe_interval="60s")
    here.b.stop_replica()
    had = here.a.executed()
    here.a.stop_replica()
    reader = here.reader()
    here.a.query("RESET BINARY LOGS AND GTIDS")
    began = time.monotonic()
    error = reader.ask(encode(here.b, had)).error()
    assert time.monotonic() - began < 10
    here.refused(error, "set back", f"{here.a.uuid}:1-", "sluice repin")
    status = here.proxy.status()
    assert status["latch"]["backend"] == "a" and "rewound" in status["latch"]["reason"]
    assert status["mode"] == "holding"
    here.proxy.stop()
    here.proxy.start()
    wait_until(lambda: (here.proxy.status()["latch"] or {}).get("backend") == "a", 10, "the latch is on disk")


def test_a_request_that_names_a_file_gets_the_check_that_servers_skip(world):
    """P is not contained in what the reader has: unnamed it gets the server's own 1236, named ours."""
    here = world()
    here.a.purge()
    here.write(here.a)
    file = here.a.query("SHOW BINARY LOGS")[0]["Log_name"].encode()
    assert here.dump("")[0] == PURGED
    direct = Reader(here.a.port)
    assert direct.ask(encode(here.a, ""), file=file).error() is None  # the hazard: rows are missing, and nobody says so
    direct.close()
    here.refused(here.dump("", file=file), "names a file", f"{here.a.uuid}:1")
    assert here.dump(here.a.purged(), file=file) is None


def test_a_tagged_request_is_weighed_like_any_other(world):
    """What lacks a tag's numbers is refused by range, and passes once the backend has them."""
    here = world(dump_gate_wait="1s")
    request = encode(here.a, f"{here.b.uuid}:1-2", tag="moved")
    here.refused(here.reader().ask(request).error(), f"{here.b.uuid}:moved:1-2", "backend a")
    for _ in range(2):
        here.b.query("SET gtid_next = 'AUTOMATIC:moved'")
        here.b.query("INSERT INTO test.t (id) SELECT MAX(id) + 1 FROM (SELECT id FROM test.t) AS t")
    here.b.query("SET gtid_next = 'AUTOMATIC'")
    here.a.wait_for(here.b)
    assert here.a.one("SELECT GTID_SUBSET(%s, @@GLOBAL.gtid_executed)", f"{here.b.uuid}:moved:1-2")
    assert here.reader().ask(request).error() is None
    here.refused(here.reader().ask(encode(here.a, f"{here.b.uuid}:1-3", tag="moved")).error(), "moved:3")


def test_a_number_that_was_accepted_as_lost_is_no_number_that_the_reader_has(world):
    """
    The backend purged another transaction under the number of one that was given up. By number the reader has it, so
    the server says nothing and the reader would miss it: refused. What it needs beside that is had.
    """
    here = world(dump_gate_wait="1s")
    here.b.stop_replica()
    before = here.a.executed()
    stays = here.reader().ask(encode(here.a, before), flags=0)
    here.write(here.a, 1)
    lost = here.a.one("SELECT GTID_SUBTRACT(%s, %s)", here.a.executed(), before)
    had = here.a.executed()
    wait_until(lambda: here.a.one("SELECT GTID_SUBSET(%s, %s)", lost, here.proxy.status()["delivered"]["gtid-d"]), 20,
               f"the stream carries {lost}")
    here.proxy.switch("b", "--wait-catchup=0", f"--accept-loss={lost}")
    stays.close()
    assert here.dump(had) is None  # b lacks what was accepted as lost, and may be read all the same
    here.b.query(f"SET gtid_next = '{lost}'")
    here.b.query("INSERT INTO test.t VALUES (4711)")
    here.b.query("SET gtid_next = 'AUTOMATIC'")
    assert here.dump(had) is None  # not purged yet
    here.b.purge()
    direct = Reader(here.b.port)
    assert direct.ask(encode(here.a, had)).error() is None  # the hazard: 4711 is missing, and nobody says so
    direct.close()
    here.refused(here.dump(had), lost, "accepted as lost", "backend b")
    assert here.dump(before)[0] == PURGED  # where the server sees the gap itself, its own answer stands


def test_by_position_passes_until_the_first_switch(world):
    """A file and a position mean another place on another server; the refusal says what to do instead."""
    here = world()
    file = here.a.query("SHOW BINARY LOGS")[0]["Log_name"].encode()
    assert here.reader().ask_by_position(file).error() is None
    here.switch_to_b()
    file = here.b.query("SHOW BINARY LOGS")[0]["Log_name"].encode()
    here.refused(here.reader().ask_by_position(file).error(), "enable-gtid: true", "until-first-switch")
    here.proxy.restart()
    here.refused(here.reader().ask_by_position(file).error(), "enable-gtid: true", "until-first-switch")


def test_by_position_passes_as_long_as_no_other_backend_was_active(world, tmp):
    """An epoch that was raised without a switch moves no position: by a flip that may be on disk, and was undone."""
    pause, arm = PauseAt(tmp, "flip"), tmp / "arm"
    here = world(environment={**pause.environment, "SLUICE_FAULT_DISK": f"sync:1:eio:{arm}"})
    file = here.a.query("SHOW BINARY LOGS")[0]["Log_name"].encode()
    verb = Verb(here.proxy, tmp, "switch", here.proxy.source_id, "b", "--yes")
    pause.wait()
    arm.touch()
    pause.go()
    code, text = verb.end()
    assert code == 1 and "unknown" in text, text
    for _ in range(2):
        assert here.proxy.status()["epoch"] == 3 and here.proxy.active == "a"
        assert here.reader().ask_by_position(file).error() is None
        here.proxy.restart(SLUICE_FAULT_PAUSE="", SLUICE_FAULT_DISK="")
    here.switch_to_b()
    here.refused(here.reader().ask_by_position(file).error(), "until-first-switch")


@pytest.mark.parametrize("rule", ["deny", "allow"])
def test_by_position_as_configured(world, rule):
    """position-dump: deny and allow, before and behind a switch."""
    here = world(position_dump=rule)
    for server in (here.a, here.b):
        file = server.query("SHOW BINARY LOGS")[0]["Log_name"].encode()
        error = here.reader().ask_by_position(file).error()
        if rule == "allow":
            assert error is None
        else:
            here.refused(error, "enable-gtid: true", "deny")
        if server is here.a:
            here.switch_to_b()


def test_a_dump_that_waits_does_not_hold_up_a_switch(world):
    """It is idle for the drain: closed at once, nobody is killed, and the switch is as short as ever."""
    here = world(dump_gate_wait="30s")
    here.switch_to_b()
    here.b.stop_replica()
    here.write(here.a)
    reader = here.reader().ask(encode(here.a, here.a.executed()))
    wait_until(lambda: here.proxy.status()["streams"] == 1, 10, "the request is there")
    began = time.monotonic()
    result = here.proxy.switch("a", "--accept-errant=" + here.a.uuid)
    assert time.monotonic() - began < 15
    assert result.json["switch"]["killed"] == 0
    assert reader.error()[0] in (0, 2006, 2013)


def test_a_reader_that_goes_while_it_waits_is_forgotten(world):
    """Its session ends with it, and nothing of it reaches the server."""
    here = world(dump_gate_wait="30s")
    here.switch_to_b()
    here.b.stop_replica()
    here.write(here.a)
    reader = here.reader().ask(encode(here.a, here.a.executed()))
    wait_until(lambda: here.proxy.status()["streams"] == 1, 10, "the request is there")
    reader.close()
    wait_until(lambda: here.proxy.status()["sessions"] == 0, 10, "the session has ended")


def test_two_readers_with_one_server_id_are_shown(world):
    """Shown while both read, logged once; and no log has the password that COM_REGISTER_SLAVE carries."""
    here = world()
    for _ in range(3):
        reader = here.reader(server_id=7007)
        reader.register()
        reader.ask(encode(here.a, ""), flags=0).first_event()
    wait_until(lambda: here.proxy.status()["warnings"], 10, "a warning is shown")
    found = here.proxy.status()["warnings"]
    assert len(found) == 1 and "7007" in found[0]
    other = here.reader(server_id=7008).ask(encode(here.a, ""), flags=0)
    other.first_event()
    assert len(here.proxy.status()["warnings"]) == 1
    assert here.proxy.log_text().count("server_id=7007") == 1
    assert PASSWORDS["repl"] not in here.proxy.log_text()


def test_two_readers_with_one_replica_uuid_are_shown(world):
    """Of other server_ids: the server ends the first for the second; warned of once, and shown though one is left."""
    here = world()
    name = str(uuid.uuid4())
    for server_id in (7021, 7022, 7023):
        here.reader(server_id=server_id, replica_uuid=name.upper()).ask(encode(here.a, ""), flags=0).first_event()
    wait_until(lambda: here.proxy.status()["warnings"], 10, "a warning is shown")
    wait_until(lambda: here.proxy.status()["streams"] == 1, 10, "the server has ended those that came before")
    found, = here.proxy.status()["warnings"]
    assert name in found and "replica UUID" in found and "127.0.0.1:" in found
    other = here.reader(server_id=7024).ask(encode(here.a, ""), flags=0)
    other.first_event()
    assert len(here.proxy.status()["warnings"]) == 1
    assert here.proxy.log_text().count(f"replica_uuid={name}") == 1


def test_a_request_larger_than_any_buffer_is_weighed_and_passes(world):
    """200,000 intervals: some 3 MB, of which all but the last byte is on its way while the backend is asked."""
    here = world(dump_gate_wait="20s")
    name = str(uuid.uuid4())
    encoded = (1).to_bytes(8, "little") + uuid.UUID(name).bytes + (200000).to_bytes(8, "little")
    encoded += b"".join((2 * i + 1).to_bytes(8, "little") + (2 * i + 2).to_bytes(8, "little") for i in range(200000))
    here.proxy.stop()
    here.proxy.source["dump-gate-wait"] = "1s"
    here.proxy.start_ready()
    here.refused(here.reader().ask(encoded).error(), name)
    here.proxy.stop()
    here.proxy.source["dump-gate"] = "off"
    here.proxy.start_ready()
    assert here.reader().ask(encoded).error() is None
