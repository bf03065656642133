# SPDX-License-Identifier: Apache-2.0
"""Sessions of the consumer's account that do not come through Sluice, and binlog readers of others."""
import pytest
from sluicetest import BinlogStream, PauseAt, wait_until
from sluicetest.world import Verb
from test_dm_switch import fixture_world  # noqa: F401  pylint: disable=unused-import


def readers(server):
    """How many binlog streams a server feeds."""
    return sum(row["Command"].startswith("Binlog Dump") for row in server.processlist())


class Source:
    """A source whose consumer c reads through Sluice as repl, as a and b read from each other."""

    def __init__(self, servers, proxy, processes, folder):
        self.a, self.b, self.c, self.proxy = servers.a, servers.b, servers.c, proxy
        self._processes, self._folder, self._streams, self._connections = processes, folder, [], []

    def start(self):
        """The consumer reads through it, and the group is complete."""
        self.c.replicate_from(self.a, via=("127.0.0.1", self.proxy.port), start=False)
        self.proxy.start_ready()
        self.c.start_replica()
        wait_until(lambda: self.proxy.status()["streams"] == 1, 20, "the consumer reads through the proxy")
        wait_until(lambda: readers(self.b) == 1, 20, lambda: f"a reads from b: {self.b.processlist()}")
        return self

    def read_from(self, server, user="repl"):
        """A reader that goes to a server directly."""
        before = readers(server)
        folder = self._folder / f"direct-{len(self._streams)}"
        folder.mkdir()
        self._streams.append(BinlogStream(self._processes, folder, server.port, 9100 + len(self._streams), user=user))
        wait_until(lambda: readers(server) > before, 20, lambda: f"one reader more: {server.processlist()}")
        return self

    def connect_to(self, server, user="repl"):
        """A plain session at a server."""
        self._connections.append(server.connect(user))
        return self

    def stop(self):
        """End what was begun."""
        for stream in self._streams:
            stream.stop()
        for connection in self._connections:
            connection.close()

    def lines(self, server, **how):
        """[(state, detail)] of the check that are about it and a server."""
        checks = self.proxy.check("b", **how).json["checks"]
        return [(check["state"], check["detail"]) for check in checks
                if check["name"] == "bypass" and check["detail"].startswith(f"{server.name}:")]

    def is_refused(self, server, *words):
        """By check and by switch, named, and nothing was paused."""
        (state, detail), = self.lines(server, expect=3)
        assert state == "fail" and "consumer's account" in detail, detail
        message = self.proxy.switch("b", expect=3).json["msg"]
        for word in ("repl from 127.0.0.1:", *words):
            assert word in detail and word in message, (word, detail, message)
        assert self.proxy.active == "a" and self.c.replica_status()["Replica_IO_Running"] == "Yes"


@pytest.fixture(name="make")
def fixture_make(trio, sluice, processes, tmp):
    """Makes a Source, not yet started."""
    made = []

    def make(consumer=None, **how):
        made.append(Source(trio, sluice(trio, consumer=consumer or trio.c, **how), processes, tmp))
        return made[-1]

    yield make
    for source in made:
        source.stop()


def test_the_group_replicates_under_the_consumers_account_and_is_no_bypass(make):
    """a and b read from each other, as the consumer's own account: nothing is said of it, and the switch is done."""
    source = make().start()
    for server in (source.a, source.b):
        (state, detail), = source.lines(server, expect=0)
        assert state == "ok" and "nobody" in detail and "not known" not in detail, detail
    source.proxy.switch("b")
    assert source.proxy.active == "b"


def test_reader_around_sluice_is_named_and_refused(make):
    """By default it is a refusal, with id, account and host; nothing was paused."""
    source = make().start()
    source.read_from(source.a).is_refused(source.a, "Binlog Dump")


def test_reader_of_the_new_server_is_named_and_refused(make):
    """It would read there before it is the active one."""
    source = make().start()
    source.read_from(source.b).is_refused(source.b, "Binlog Dump")


def test_plain_session_of_the_consumers_account_is_named_and_refused(make):
    """Whatever it does there, it does not do it through Sluice."""
    source = make().start()
    source.connect_to(source.a).is_refused(source.a, "Sleep")


def test_reader_around_sluice_only_warns_where_that_is_configured(make):
    """With bypass: warn it is named, and the switch is done."""
    source = make(bypass="warn").start()
    (state, detail), = source.read_from(source.a).lines(source.a, expect=0)
    assert state == "warn" and "consumer's account" in detail, detail
    source.proxy.switch("b")
    assert source.proxy.active == "b"


def test_reader_of_another_account_only_warns(make):
    """It may be a replica that has nothing to do with the consumer; its sessions that read no binlog are not named."""
    source = make().start()
    source.read_from(source.a, user="dm").connect_to(source.a, user="dm")
    (state, detail), = source.lines(source.a, expect=0)
    assert state == "warn" and "1 binlog readers" in detail and "dm from 127.0.0.1:" in detail, detail
    source.proxy.switch("b")
    assert source.proxy.active == "b"


def test_reader_that_comes_after_the_check_is_met_at_the_gate(make, tmp):
    """The consumer is paused by then: refused, undone, and it runs again."""
    pause = PauseAt(tmp, "pause")
    source = make(environment=pause.environment).start()
    verb = Verb(source.proxy, tmp, "switch", source.proxy.source_id, "b", "--yes")
    pause.wait()
    source.read_from(source.a)
    pause.go()
    code, text = verb.end()
    assert code == 3 and "repl from 127.0.0.1:" in text and "consumer's account" in text, text
    phases = [step["phase"] for step in source.proxy.get("/v1/switches/1")[1]["switch"]["steps"]]
    assert phases.index("gate") < phases.index("undo-resume"), phases
    assert source.proxy.active == "a"
    wait_until(lambda: source.c.replica_status()["Replica_IO_Running"] == "Yes", 20, "the consumer was resumed")


def test_consumer_that_never_came_through_sluice_is_met(make):
    """After a restart, with its channel pointed at the server itself: its account is known by its own word."""
    source = make().start()
    source.c.stop_replica()
    source.proxy.restart()
    source.c.replicate_from(source.a)
    wait_until(lambda: source.c.replica_status()["Replica_IO_Running"] == "Yes", 20, "it reads from a directly")
    assert source.proxy.status()["streams"] == 0
    (state, detail), = source.lines(source.a, expect=3)
    assert state == "fail" and "consumer's account" in detail and "repl from 127.0.0.1:" in detail, detail


def test_dm_that_never_came_through_sluice_is_met(world, processes, tmp):
    """Its account is that of its source, as DM's master tells it: also when no stream of it was ever seen here."""
    run = world()
    assert run.proxy.status()["streams"] == 0
    stream = BinlogStream(processes, tmp, run.servers.a.port, user="dm")
    wait_until(lambda: readers(run.servers.a) > 1, 20, lambda: f"it reads: {run.servers.a.processlist()}")
    found = [check for check in run.proxy.check("b", expect=3).json["checks"]
             if check["name"] == "bypass" and check["detail"].startswith("a:")]
    assert [check["state"] for check in found] == ["fail"] and "dm from 127.0.0.1:" in found[0]["detail"], found
    stream.stop()


def test_account_of_a_consumer_that_cannot_tell_is_that_of_its_streams(make):
    """Consumer none: before a stream has passed nobody knows whose a reader is; after that it is known."""
    source = make(consumer="none")
    source.proxy.start_ready()
    source.read_from(source.a)
    (state, detail), = source.lines(source.a, expect=0)
    assert state == "warn" and "binlog readers" in detail, detail
    source.c.replicate_from(source.a, via=("127.0.0.1", source.proxy.port))
    wait_until(lambda: source.proxy.status()["streams"] == 1, 20, "a stream passes")
    (state, detail), = source.lines(source.a, expect=3)
    assert state == "fail" and "consumer's account" in detail, detail
