# SPDX-License-Identifier: Apache-2.0
"""
A switch whose servers are dead or frozen, or still have what a dead Sluice left there: the outcome that is promised.

Undone or done, with the exit code that fits; nobody waits longer than hold-timeout, then a MySQL error is read; never
two servers at once; the consumer as it was.
"""
import re

import pymysql
import pytest
from sluicetest import BinlogStream, IdlePool, LongSelect, PauseAt, Reconnecting, Sampler, World, wait_until

LIMITS = {"probe_interval": "100ms", "probe_timeout": "3s", "connect_timeout": "2s", "drain_timeout": "300ms",
          "hold_timeout": "4s", "catchup_timeout": "5s", "verify_timeout": "120s"}

# What Sluice answers a client in a server's place: an error packet, never silence, a reset or 1236.
TOLD = re.compile(r"connect: \(\d+, .*mysql-01")


@pytest.fixture(name="make")
def fixture_make(trio, sluice):
    """Makes a World with c as its consumer, not yet started."""

    made = []

    def make(consumer="replica", **how):
        how = {**LIMITS, **how}
        made.append(World(trio, sluice(trio, consumer=trio.c if consumer == "replica" else consumer, **how)))
        return made[-1]

    yield make
    for server in (trio.a, trio.b):
        server.thaw()
    for world in made:
        world.stop_clients()


def gone(server, seen):
    """None of these threads is on the server any more."""
    left = {(row["Id"], row["Host"]) for row in server.processlist()}
    return not left & {(row["Id"], row["Host"]) for row in seen}


class Frozen:
    """A switch from a to b in which |server| is frozen as soon as |phase| is entered, and clients come all the time."""

    def __init__(self, make, processes, tmp, phase, server):
        self.pause = PauseAt(tmp, phase)
        self.world = make(environment=self.pause.environment).start()
        self.server = getattr(self.world, server)
        self.before = self.world.seen()
        # So that the drain runs into its timeout.
        self.busy = self.world.keep(LongSelect(self.world.proxy.port, seconds=20))
        wait_until(lambda: [row for row in self.world.a.processlist() if "SLEEP" in (row["Info"] or "")], 10, "it runs")
        self.clients = self.world.keep(Reconnecting(processes, tmp, self.world.proxy.port, clients=4))
        self.clients.wait_reads(4)
        self.sampler = self.world.keep(Sampler([self.world.a, self.world.b]).start())
        self.verb = self.world.begin_switch(tmp)
        self.pause.wait()
        self.server.freeze()
        self.pause.go()
        self.told = 0

    def is_told(self):
        """A new client, whose server does not answer, reads an error that names the source, and soon enough."""
        with pytest.raises(pymysql.err.OperationalError, match="mysql-01"):
            self.world.connect()
        self.told += 1

    def end(self, active):
        """Thaw, let all go on, and look at all that must be true then."""
        world = self.world
        self.server.thaw()
        self.clients.wait_reads(4, uuid=active.uuid, limit=60)
        self.busy.stop()
        reads = self.clients.stop()
        self.sampler.stop()
        assert self.sampler.servers_at_once() <= 1
        for read in reads:
            assert read.ended - read.started < 19, f"a client waited into DM's own timers: {read}"
        # A session that a server had begun to greet can be cut; a client that had read nothing is served or told (the
        # consumer and the busy client are among them).
        told = sum(1 for read in reads if TOLD.match(read.error or "")) + self.told
        assert told <= world.proxy.status()["counters"]["hold-expired"]
        wait_until(lambda: world.seen()["threads"] == ("Yes", "Yes"), 30, "the consumer runs")
        assert world.proxy.status()["counters"]["invariant-violations"] == 0
        assert world.proxy.status()["switch"] is None
        world.write(active)
        world.c.wait_for(active)


# ---- frozen ----


@pytest.mark.parametrize("phase, code", [
    ("check", 3), ("record", 4), ("park", 4), ("pause", 4), ("gate", 4), ("see", 4), ("hold", 4), ("drain", 4),
    ("kill", 4), ("empty", 4)])
def test_switch_is_undone_when_a_freezes(make, processes, tmp, phase, code):
    """As long as a is still asked: refused before anything is touched, or a limit ran out and all is undone."""
    frozen = Frozen(make, processes, tmp, phase, "a")
    exit_code, text = frozen.verb.end()
    assert exit_code == code, text
    assert frozen.world.proxy.status()["active"] == "a"
    assert frozen.world.proxy.status()["epoch"] == frozen.before["epoch"]
    frozen.end(frozen.world.a)


@pytest.mark.parametrize("phase", ["gate-again", "flip", "release", "resume", "verify", "end"])
def test_switch_is_done_when_a_freezes_after_it_was_seen_empty(make, processes, tmp, phase):
    """From then on nothing depends on a: clients reach b and the consumer reads from it while a is still frozen."""
    frozen = Frozen(make, processes, tmp, phase, "a")
    exit_code, text = frozen.verb.end()
    assert exit_code == 0, text
    frozen.clients.wait_reads(4, uuid=frozen.world.b.uuid)
    assert frozen.world.proxy.active == "b"
    frozen.world.b.stop_replica()  # a cannot be waited for
    frozen.world.write(frozen.world.b)
    frozen.world.c.wait_for(frozen.world.b)
    frozen.end(frozen.world.b)


@pytest.mark.parametrize("phase, code", [("check", 3), ("record", 4), ("gate", 4), ("drain", 4), ("gate-again", 4)])
def test_switch_is_undone_when_b_freezes(make, processes, tmp, phase, code):
    """Before the flip: clients and the consumer are on a again while b is still frozen."""
    frozen = Frozen(make, processes, tmp, phase, "b")
    exit_code, text = frozen.verb.end()
    assert exit_code == code, text
    frozen.clients.wait_reads(4, uuid=frozen.world.a.uuid)
    wait_until(lambda: frozen.world.seen() == frozen.before, 10,
               lambda: f"all is as it was: {frozen.before}; it is {frozen.world.seen()}")
    frozen.world.write()
    frozen.world.c.wait_for(frozen.world.a)
    frozen.end(frozen.world.a)


@pytest.mark.parametrize("phase", ["flip", "release", "verify"])
def test_switch_goes_forward_when_b_freezes_after_the_last_look(make, processes, tmp, phase):
    """Nothing goes back after the flip: clients are told when their time is over, and all goes on once b does."""
    frozen = Frozen(make, processes, tmp, phase, "b")
    wait_until(lambda: frozen.world.proxy.active == "b", 30, "it has flipped")
    frozen.is_told()
    assert frozen.world.proxy.active == "b"
    frozen.server.thaw()
    exit_code, text = frozen.verb.end()
    assert exit_code == 0, text
    frozen.end(frozen.world.b)


def test_consumer_that_cannot_read_from_b_is_reported(make, tmp):
    """b stays frozen beyond verify-timeout: flipped, and a person must look; it goes on by itself once b does."""
    pause = PauseAt(tmp, "release")
    world = make(environment=pause.environment, verify_timeout="1s").start()
    verb = world.begin_switch(tmp)
    pause.wait()
    world.b.freeze()
    pause.go()
    code, text = verb.end()
    assert code == 5, text
    assert world.proxy.active == "b"
    world.b.thaw()
    wait_until(lambda: world.c.replica_status()["Replica_IO_Running"] == "Yes", 30, "the consumer reads from b")
    assert world.proxy.run("history", world.proxy.source_id).json["switches"][0]["state"] == "failed"


def test_held_client_reads_which_source_and_what_to_do(make, tmp):
    """A client whose time is over reads an error packet that names the source, the phase and the time."""
    pause = PauseAt(tmp, "drain")
    world = make(environment=pause.environment).start()
    verb = world.begin_switch(tmp)
    pause.wait()
    world.a.freeze()
    pause.go()
    with pytest.raises(pymysql.err.OperationalError) as told:
        world.connect()
    assert re.search(r"mysql-01.*sluice", str(told.value)), told.value
    assert "Lost connection" not in str(told.value)
    world.a.thaw()
    assert verb.end()[0] == 4


# ---- dead ----


@pytest.fixture(name="dead")
def fixture_dead(make):
    """A World whose a was killed when b had all that it had."""
    world = make().start()
    world.b.wait_for(world.a)
    world.a.kill()
    return world


def test_dead_server_must_be_declared_so(dead):
    """Without --old-is-dead the switch is refused and says how; with it, b having all that was delivered, it passes."""
    before = dead.proxy.status()
    code, text = dead.text("switch", dead.proxy.source_id, "b", "--yes")
    assert code == 3 and "--old-is-dead" in text, text
    after = dead.proxy.status()
    assert all(after[key] == before[key] for key in ("active", "epoch", "accepted-loss"))
    dead.proxy.switch("b", "--old-is-dead")
    assert dead.uuid() == dead.b.uuid
    dead.write(dead.b)
    dead.c.wait_for(dead.b)


def test_loss_with_a_dead_server_must_be_accepted(make):
    """What the consumer had from it and b has not is named; accepted by name it passes and is kept."""
    world = make().start()
    world.b.stop_replica()
    missing = world.write()
    world.c.wait_for(missing)
    wait_until(lambda: world.delivered(missing), 10, "the proxy saw it go by")
    world.a.kill()
    code, text = world.text("switch", world.proxy.source_id, "b", "--yes", "--old-is-dead", "--wait-catchup=0")
    assert code == 3 and missing in text and "--accept-loss" in text, text
    code, text = world.text("switch", world.proxy.source_id, "b", "--yes", "--old-is-dead", "--wait-catchup=0",
                            "--accept-loss=unknown")
    assert code == 3 and missing in text, text
    world.proxy.switch("b", "--old-is-dead", "--wait-catchup=0", f"--accept-loss={missing}")
    assert world.proxy.status()["accepted-loss"] == missing
    assert world.uuid() == world.b.uuid


def test_unknown_loss_with_a_dead_server_must_be_accepted(dead):
    """Sluice was restarted and a is dead: what was delivered is unknown, refused unless that is accepted."""
    dead.proxy.kill()
    dead.proxy.start()
    code, text = dead.text("switch", dead.proxy.source_id, "b", "--yes", "--old-is-dead")
    assert code == 3 and "--accept-loss=unknown" in text, text
    dead.proxy.switch("b", "--old-is-dead", "--accept-loss=unknown")
    assert dead.uuid() == dead.b.uuid
    dead.write(dead.b)
    dead.c.wait_for(dead.b)


def test_errant_transaction_is_found_with_a_dead_server_too(make):
    """A UUID that a is not known to have had: refused by name, accepted by name."""
    world = make().start()
    world.a.stop_replica()
    world.b.query("CREATE DATABASE test_errant")
    errant = f"{world.b.uuid}:1"
    world.a.kill()
    code, text = world.text("switch", world.proxy.source_id, "b", "--yes", "--old-is-dead")
    assert code == 3 and "errant" in text and errant in text, text
    world.proxy.switch("b", "--old-is-dead", f"--accept-errant={errant}")
    assert world.uuid() == world.b.uuid


def test_frozen_server_can_be_declared_dead(make):
    """A server that was frozen beforehand: refused, and passed when it is declared dead; it is asked nothing then."""
    world = make().start()
    world.b.wait_for(world.a)
    world.a.freeze()
    code, text = world.text("switch", world.proxy.source_id, "b", "--yes")
    assert code == 3 and "--old-is-dead" in text, text
    world.proxy.switch("b", "--old-is-dead")
    assert world.uuid() == world.b.uuid
    world.a.thaw()
    world.write(world.b)
    world.c.wait_for(world.b)


# ---- what a dead Sluice left there ----


@pytest.mark.parametrize("is_lost", [False, True], ids=["legs kept", "legs lost"])
def test_stream_of_a_dead_sluice_is_gone_before_the_flip(make, processes, tmp, is_lost):
    """
    kill -9 with an idle stream open on a, restart, switch: the old thread, which lives on, is found, killed, and gone.

    With the file of open connections it is known by id and address; without it by its address alone.
    """
    pause = PauseAt(tmp, "flip")
    world = make(consumer="none").start()
    world.session.close()
    BinlogStream(processes, tmp, world.proxy.port)

    def streams():
        return [row for row in world.a.processlist()
                if row["Command"].startswith("Binlog Dump") and row["Host"].startswith("127.0.0.2:")]

    wait_until(streams, 20, "the stream is on a")
    world.proxy.kill()
    left = streams()
    assert left, "the server ended the thread by itself: there is nothing to find"
    if is_lost:
        (world.proxy.state / f"legs.{world.proxy.source_id}").unlink()
    sampler = world.keep(Sampler([world.a, world.b]).start())
    world.proxy.start_ready(**pause.environment)
    pool = IdlePool(world.proxy.port, 2)
    verb = world.begin_switch(tmp)
    pause.wait()
    assert gone(world.a, left), world.a.processlist()
    assert not [row for row in world.a.processlist() if row["User"] in ("app", "repl")
                and row["Host"].startswith("127.0.0.2:")]
    pause.go()
    code, text = verb.end()
    assert code == 0, text
    pool.stop()
    sampler.stop()
    assert sampler.servers_at_once() == 1


def test_stream_of_a_dead_sluice_that_cannot_be_killed_stops_the_switch(make, processes, tmp):
    """The thread's account has SYSTEM_USER and Sluice's has not: nobody is moved while it lives; it is named."""
    world = make(consumer="none").start()
    world.session.close()
    world.a.unlogged("GRANT SYSTEM_USER ON *.* TO repl@'%'")
    try:
        BinlogStream(processes, tmp, world.proxy.port)
        wait_until(lambda: world.proxy.status()["streams"] == 1, 20, "the stream runs")
        world.proxy.kill()
        world.proxy.start()
        wait_until(lambda: world.proxy.status()["mode"] == "routing", 20,
                   lambda: f"clients of a are served: {world.proxy.status()}")
        code, text = world.text("switch", world.proxy.source_id, "b", "--yes")
        assert code == 3 and "1095" in text and "'repl'" in text, text
        assert world.proxy.active == "a" and world.uuid() == world.a.uuid
    finally:
        world.a.unlogged("REVOKE SYSTEM_USER ON *.* FROM repl@'%'")
