# SPDX-License-Identifier: Apache-2.0
"""
A Sluice that is killed, stopped, or cannot write in the midst of a switch, on real servers under writes.

A restart finishes or undoes, the consumer is exactly as before, no row is lost, never are there two servers at once.
"""
import os
import shutil

import pymysql
import pytest
from sluicetest import IdlePool, PauseAt, Sampler, Sluice, World, Writer, wait_until
from sluicetest.sluice import binary

LIMITS = {"probe_interval": "100ms", "drain_timeout": "300ms", "catchup_timeout": "5s"}
BEFORE = ["check", "record", "park", "pause", "gate", "see", "hold", "drain", "empty", "gate-again", "flip"]
AFTER = ["release", "resume", "verify", "end"]
NO_PAUSE = {"SLUICE_FAULT_PAUSE": "", "SLUICE_FAULT_DISK": ""}


@pytest.fixture(name="make")
def fixture_make(trio, sluice):
    """Makes a World with c as its consumer, not yet started."""

    made = []

    def make(**how):
        made.append(World(trio, sluice(trio, consumer=trio.c, **{**LIMITS, **how})))
        return made[-1]

    yield make
    for world in made:
        world.stop_clients()


class Life:
    """Writes on a, sessions on the proxy, and a look at both servers all the time."""

    def __init__(self, world):
        self.world = world
        self.epoch = world.proxy.status()["epoch"]
        self.writer = world.keep(Writer(world.a, per_second=100).start())
        self.pool = world.keep(IdlePool(world.proxy.port, 2))
        self.sampler = world.keep(Sampler([world.a, world.b]).start())
        self.writer.wait_rows(10)

    def end(self, active, threads=("Yes", "Yes")):
        """All goes on on |active|: a new epoch if it is b; nothing lost, nothing doubled, the consumer as it was."""
        world = self.world
        world.proxy.wait_ready()
        wait_until(lambda: world.proxy.status()["switch"] is None, 30, lambda: f"it ends: {world.proxy.status()}")
        status = world.proxy.status()
        assert status["active"] == active.name
        assert (status["epoch"] > self.epoch) == (active is world.b) or status["epoch"] == self.epoch + 2
        assert world.uuid() == active.uuid
        if active is world.b:
            self.writer.move_to(active)
        self.writer.wait_rows(10)
        self.writer.stop()
        wait_until(lambda: world.seen()["threads"] == threads, 20, lambda: f"the consumer is as before: {world.seen()}")
        if threads != ("Yes", "Yes"):
            world.c.start_replica()
        world.c.wait_for(active)
        self.pool.stop()
        self.sampler.stop()
        assert self.writer.compare(world.c) == (0, 0, 0)
        assert world.c.checksum() == active.checksum()
        assert self.sampler.servers_at_once() == 1
        assert status["counters"]["invariant-violations"] == 0

    def last(self):
        """The last switch in the history."""
        return self.world.proxy.run("history", self.world.proxy.source_id, expect=0).json["switches"][0]


def crash_at(make, tmp, phase, **how):
    """kill -9 when a switch from a to b has entered |phase|; then a restart."""
    pause = PauseAt(tmp, phase)
    world = make(environment=pause.environment, **how).start()
    life = Life(world)
    verb = world.begin_switch(tmp)
    pause.wait()
    world.proxy.kill()
    world.proxy.start(**NO_PAUSE)
    return world, life, verb


# ---- kill -9 ----


@pytest.mark.parametrize("phase", BEFORE)
def test_killed_before_the_flip_a_restart_undoes(make, tmp, phase):
    """Back to a, the consumer resumed; the switch is in the history as undone, and the command line tells so."""
    world, life, verb = crash_at(make, tmp, phase)
    life.end(world.a)
    assert life.last()["state"] == "undone"
    code, text = verb.end()
    assert code == 1 and "restarted" in text, text
    world.proxy.switch("b")


@pytest.mark.parametrize("phase", AFTER)
def test_killed_after_the_flip_a_restart_finishes(make, tmp, phase):
    """On b, the consumer resumed there; the switch is in the history as done, and the command line tells so."""
    world, life, verb = crash_at(make, tmp, phase)
    life.end(world.b)
    assert life.last()["state"] == "done"
    code, text = verb.end()
    assert code == 0, text


@pytest.mark.parametrize("is_killed", [False, True], ids=["switched", "killed"])
def test_what_a_person_stops_before_the_pause_stays_stopped(make, tmp, is_killed):
    """Stopped since the check, while streams are parked: it is not ours to wake, after a switch or a kill -9."""
    pause = PauseAt(tmp, "park")
    world = make(environment=pause.environment).start()
    life = Life(world)
    verb = world.begin_switch(tmp)
    pause.wait()
    world.c.stop_replica()
    if is_killed:
        world.proxy.kill()
        world.proxy.start(**NO_PAUSE)
        life.end(world.a, threads=("No", "No"))
        return
    pause.go()
    code, text = verb.end()
    assert code == 0, text
    life.end(world.b, threads=("No", "No"))


@pytest.mark.parametrize("when, active", [("before", "a"), ("after", "b")])
def test_killed_around_the_sync_of_the_flip(make, tmp, when, active):
    """The sync decides: killed just before it, a restart is on one side and knows on which; just after it, on b."""
    pause, arm = PauseAt(tmp, "flip"), tmp / "arm"
    disk = {"SLUICE_FAULT_DISK": f"sync:1:crash-{when}:{arm}"}
    world = make(environment={**pause.environment, **disk}).start()
    life = Life(world)
    verb = world.begin_switch(tmp)
    pause.wait()
    arm.touch()
    pause.go()
    world.proxy.wait_exit()
    world.proxy.start(**NO_PAUSE)
    world.proxy.wait_ready()
    # Without its sync the write may have reached the file all the same: nobody had lost power.
    found = world.proxy.active if when == "before" else active
    life.end(getattr(world, found))
    assert verb.end()[0] == (0 if found == "b" else 1)


@pytest.mark.parametrize("phase", ["pause", "gate-again", "release", "verify"])
def test_what_somebody_else_had_paused_stays_paused_over_a_crash(make, tmp, phase):
    """The applier was off before the switch: a restart resumes the reader alone."""
    pause = PauseAt(tmp, phase)
    world = make(environment=pause.environment).start()
    world.c.stop_replica(threads="SQL_THREAD")
    life = Life(world)
    verb = world.begin_switch(tmp)
    pause.wait()
    world.proxy.kill()
    world.proxy.start(**NO_PAUSE)
    life.end(world.a if phase in BEFORE else world.b, threads=("Yes", "No"))
    verb.end()


@pytest.mark.parametrize("phase", ["undo-release", "undo-resume"])
def test_killed_while_undoing_a_restart_undoes(make, tmp, phase):
    """A refusal after the pause, and the process dies before the consumer was resumed: the restart resumes it."""
    gate, pause = PauseAt(tmp, "gate"), PauseAt(tmp, phase)
    world = make(environment=gate | pause).start()
    verb = world.begin_switch(tmp)
    gate.wait()
    missing = world.write()
    world.b.wait_for(missing)
    world.b.purge()
    gate.go()
    pause.wait()
    world.proxy.kill()
    world.proxy.start(**NO_PAUSE)
    Life(world).end(world.a)
    assert verb.end()[0] != 0


# ---- SIGTERM ----


def stop_at(make, tmp, phase):
    """SIGTERM when a switch from a to b has entered |phase|; returns when the process has ended, which it does well."""
    pause = PauseAt(tmp, phase)
    world = make(environment=pause.environment).start()
    life = Life(world)
    verb = world.begin_switch(tmp)
    pause.wait()
    world.proxy.signal(15)
    wait_until(lambda: '["stopping"]' in world.proxy.log_text(), 10, "the signal was seen")
    pause.go()
    assert world.proxy.wait_exit(30) == 0, world.proxy.log_tail()
    return world, life, verb


@pytest.mark.parametrize("phase", BEFORE[:-1])
def test_stopped_before_the_flip_the_switch_is_undone(make, tmp, phase):
    """Undone within the stop: exit 0, the consumer is resumed already, and the next start is on a."""
    world, life, verb = stop_at(make, tmp, phase)
    wait_until(lambda: world.c.replica_status()["Replica_IO_Running"] != "No", 5, "the consumer was resumed")
    world.proxy.start(**NO_PAUSE)
    life.end(world.a)
    assert life.last()["state"] == "undone"
    verb.end()


@pytest.mark.parametrize("phase", ["flip", *AFTER])
def test_stopped_at_the_flip_or_after_it_the_switch_goes_on(make, tmp, phase):
    """A flip in flight is waited for, the resume is begun; the next start is on b and has the rest in its history."""
    world, life, verb = stop_at(make, tmp, phase)
    wait_until(lambda: world.c.replica_status()["Replica_IO_Running"] != "No", 5, "the consumer was resumed")
    world.proxy.start(**NO_PAUSE)
    life.end(world.b)
    assert life.last()["state"] == "done"
    verb.end()


# ---- a disk that fails ----


def fail_at(make, tmp, phase, fault):
    """The disk begins to fail when a switch from a to b has entered |phase|."""
    pause, arm = PauseAt(tmp, phase), tmp / "arm"
    world = make(environment={**pause.environment, "SLUICE_FAULT_DISK": f"{fault}:{arm}"}).start()
    life = Life(world)
    verb = world.begin_switch(tmp)
    pause.wait()
    arm.touch()
    pause.go()
    return world, life, verb


@pytest.mark.parametrize("fault", ["sync:1:eio", "write:1:enospc"])
def test_plan_that_cannot_be_written_begins_nothing(make, tmp, fault):
    """The record of the plan fails: undone, nothing was paused, and the next switch works."""
    world, life, verb = fail_at(make, tmp, "record", fault)
    code, text = verb.end()
    assert code == 1 and "state-dir" in text, text
    life.end(world.a)
    world.proxy.switch("b")


@pytest.mark.parametrize("fault", ["sync:1:eio", "write:1:enospc"])
def test_flip_that_may_or_may_not_be_on_disk_is_undone(make, tmp, fault):
    """
    The write of the flip fails: nobody is released before a later commit names the old backend and a newer epoch.

    So also after kill -9 it is a that is active.
    """
    world, life, verb = fail_at(make, tmp, "flip", fault)
    code, text = verb.end()
    assert code == 1 and "unknown" in text, text
    assert world.proxy.status()["epoch"] == life.epoch + 2
    world.proxy.kill()
    world.proxy.start(**NO_PAUSE)
    assert world.proxy.status()["epoch"] == life.epoch + 2
    life.end(world.a)
    world.proxy.switch("b")


@pytest.mark.parametrize("fault", ["sync:1+:eio", "write:1+:enospc"])
def test_flip_on_a_disk_that_stays_broken_releases_nobody(make, tmp, fault):
    """As long as nothing can be written clients are held, then told; after kill -9 and on a good disk all goes on."""
    world, life, verb = fail_at(make, tmp, "flip", fault)
    wait_until(lambda: (world.proxy.status()["switch"] or {}).get("phase") == "flip-unknown", 20, "it is unknown")
    with pytest.raises(pymysql.err.OperationalError) as told:
        world.uuid()
    assert "flip-unknown" in str(told.value)
    world.proxy.kill()
    world.proxy.start(**NO_PAUSE)
    world.proxy.wait_ready()
    # What the last write left is not known; either is right, as no client was released by the process that died.
    life.end(getattr(world, world.proxy.active))
    verb.end()


@pytest.mark.parametrize("fault", ["sync:1:eio", "write:1:enospc"])
def test_outcome_that_cannot_be_written_holds_nobody(make, tmp, fault):
    """The end of the switch is written again until it is on disk; clients are on b long before."""
    world, life, verb = fail_at(make, tmp, "end", fault)
    code, text = verb.end()
    assert code == 0 and "cannot be written" in text, text
    life.end(world.b)
    assert life.last()["state"] == "done"


@pytest.mark.parametrize("fault", ["sync:1:eio", "write:1:enospc"])
def test_order_that_cannot_be_written_is_not_carried_out(make, tmp, fault):
    """A manual hold on a failing disk: an error, and clients are routed as before; then it works."""
    arm = tmp / "arm"
    world = make(environment={"SLUICE_FAULT_DISK": f"{fault}:{arm}"}).start()
    arm.touch()
    result = world.proxy.run("hold", world.proxy.source_id, expect=1)
    assert "state-dir" in result.json["msg"]
    assert world.uuid() == world.a.uuid
    world.proxy.run("hold", world.proxy.source_id, expect=0)
    assert world.proxy.status()["mode"] == "holding"
    world.proxy.run("release", world.proxy.source_id, expect=0)
    assert world.uuid() == world.a.uuid


# ---- what is lost, broken, or not ours ----


@pytest.fixture(name="lost")
def fixture_lost(make):
    """A World on b whose state-dir is gone: its configuration names a, which lacks what the consumer has from b."""
    world = make(hold_timeout="1500ms", connect_timeout="1s").start()
    world.proxy.switch("b")
    world.a.stop_replica()
    world.write(world.b)
    world.c.wait_for(world.b)
    world.proxy.stop()
    shutil.rmtree(world.proxy.state)
    return world


def test_with_a_lost_state_dir_nobody_is_routed_until_somebody_says_where(lost):
    """The configured backend does not pass: clients are held, then told what to do; adopt routes them."""
    lost.proxy.start()
    wait_until(lambda: "adopt" in lost.proxy.status()["phase"], 20, lambda: f"it is told: {lost.proxy.status()}")
    assert lost.proxy.status()["active"] is None
    with pytest.raises(pymysql.err.OperationalError) as told:
        lost.uuid()
    assert "mysql-01" in str(told.value)
    lost.proxy.run("adopt", lost.proxy.source_id, "b", expect=0)
    wait_until(lambda: lost.proxy.status()["mode"] == "routing", 10, "clients are routed")
    assert lost.uuid() == lost.b.uuid
    lost.write(lost.b)
    lost.c.wait_for(lost.b)
    lost.proxy.restart()
    assert lost.proxy.active == "b"


def test_with_a_lost_state_dir_the_configured_backend_is_routed_once_it_passes(lost):
    """It has all that the consumer has: no person is needed."""
    lost.proxy.start()
    wait_until(lambda: "adopt" in lost.proxy.status()["phase"], 20, "it does not pass yet")
    lost.a.start_replica()
    lost.proxy.wait_ready()
    wait_until(lambda: lost.proxy.active == "a", 20, "it passes")
    assert lost.uuid() == lost.a.uuid


@pytest.mark.parametrize("how", ["garbage", "cut"])
def test_corrupt_state_is_refused_and_left_alone(make, how):
    """Sluice does not start over a damaged file, says which, and does not touch it: a person has to decide."""
    world = make().start()
    world.proxy.switch("b")
    world.session.close()
    world.proxy.stop()
    state = world.proxy.state / "state.db"
    good = state.read_bytes()
    bad = b"\xa5" * len(good) if how == "garbage" else good[:len(good) // 2 - 100]
    state.write_bytes(bad)
    world.proxy.launch()
    assert world.proxy.wait_exit() == 1
    assert str(state) in world.proxy.log_tail(5), world.proxy.log_tail()
    assert state.read_bytes() == bad
    state.write_bytes(good)
    world.proxy.start_ready()
    assert world.proxy.active == "b"


def test_read_only_state_dir_is_refused(make, processes):
    """Sluice does not start where it could not write, and says so; as root it is tried without root's privileges."""
    world = make().start()
    world.session.close()
    world.proxy.stop()
    drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.getuid() == 0 else []
    log = world.proxy.folder / "read-only.log"
    world.proxy.state.chmod(0o500)
    try:
        for path in world.proxy.state.iterdir():
            path.chmod(0o400)
        process = processes.start([*drop, binary(), "serve", "-c", world.proxy.file], log=log)
        assert process.wait(20) == 1, log.read_text()
        processes.end(process)
        assert str(world.proxy.state) in log.read_text()
    finally:
        world.proxy.state.chmod(0o700)
        for path in world.proxy.state.iterdir():
            path.chmod(0o600)
    world.proxy.start_ready()
    assert world.uuid() == world.a.uuid


def test_second_sluice_on_the_same_state_is_refused(make, trio, tmp, processes):
    """It names the process that has the state-dir, ends, and the first one goes on."""
    world = make().start()
    second = Sluice(tmp / "second", processes, trio.backends, consumer=trio.c)
    second.config["state-dir"] = str(world.proxy.state)
    second.launch()
    assert second.wait_exit() == 1
    assert "in use by another sluice" in second.log_text() and str(world.proxy.pid) in second.log_text()
    assert world.session_is_alive()
    world.proxy.switch("b")
