# SPDX-License-Identifier: Apache-2.0
"""
How a careful switch still lost rows with a real DM, each twice: with one promise of Sluice switched off the rows
differ, and with it on they are equal, or the switch is refused with figures. With the stand-in for DM.
"""
import pytest
from sluicetest import reset_all, wait_until
from sluicetest.dm_world import count_large, insert_large, row_sum
from test_dm_switch import fixture_world  # noqa: F401  pylint: disable=unused-import

ROWS = 8000
SHORT = {"hold_timeout": "3s", "drain_timeout": "1s", "connect_timeout": "2s"}
SLOW = {"batch": 20, "pause_wait_s": 0.2}


def fault(*names):
    """The environment that switches promises off."""
    return {"environment": {"SLUICE_FAULT": ",".join(names)}} if names else {}


def quiet(run):
    """The writer stands still, and DM and all servers have all of it."""
    run.writer.pause()
    executed = run.servers.a.executed()
    run.servers.b.wait_for(executed)
    task = run.dm.tasks["t1"]
    wait_until(lambda: run.servers.a.one("SELECT GTID_SUBSET(%s, %s)", executed, str(task.flushed)), 30,
               lambda: f"DM has {executed}: {run.tell()}")


def half_apply(run, lacking):
    """A large transaction on a, which |lacking| (a list of servers) do not get; a part of it is downstream."""
    quiet(run)
    for server in lacking:
        server.stop_replica()
    run.dm.batch_delay_s = 0.01
    gtid = insert_large(run.servers.a, ROWS)
    for server in (run.servers.b,):
        if server not in lacking:
            server.wait_for(gtid)
    wait_until(lambda: count_large(run.downstream) > 0, 30, "a part of it is downstream")
    return gtid


def all_is_equal(run, last):
    """What |last| has is downstream, and nothing else."""
    run.dm.batch_delay_s = run.dm.relay_delay_s = 0
    run.writer.resume(last)
    run.runs_again()
    run.equal_rows(last)
    assert run.writer.compare(run.downstream) == (0, 0, 0)


# ---- the relay's stream was cut inside a transaction that the new server has ----


def switch_with_relay_inside(run):
    """The relay is in the midst of a large transaction, b has it: to b."""
    quiet(run)
    run.dm.relay_delay_s = 0.1
    gtid = insert_large(run.servers.a, ROWS)
    run.servers.b.wait_for(gtid)
    server, number = gtid.split(":")
    relay = run.dm.relay
    wait_until(lambda: any(event.gtid == (server, int(number)) for event in relay.files), 30,
               "the relay is inside it")
    assert not relay.gtids.has(server, int(number))
    run.proxy.switch("b")


@pytest.mark.parametrize("faults", [("skip-park", "resume-cut-relay", "hurry-relay"),
                                    ("skip-park", "resume-cut-relay")], ids=["at-once", "waited-for"])
def test_relay_that_was_cut_and_resumed_skips_the_rest(world, faults):
    """Resumed on the new server, at once or after a wait, it has the first half only, and DM says Running."""
    run = world(relay=True, dm=SLOW, **fault(*faults), **SHORT).start(per_second=20)
    switch_with_relay_inside(run)
    run.dm.relay_delay_s = 0
    run.writer.resume(run.servers.b)
    run.writer.wait_rows(20)
    last = run.writer.acknowledged[-1]
    wait_until(lambda: run.downstream.one("SELECT 1 FROM test.rows_written WHERE k = %s", last), 30,
               lambda: f"row {last}, which was written later: {run.tell()}")
    assert run.stage() == "Running"
    assert count_large(run.servers.b) == ROWS and count_large(run.downstream) < ROWS


@pytest.mark.parametrize("faults", [("skip-park",), ()], ids=["relay-started-anew", "parked"])
def test_relay_is_parked_or_else_started_anew(world, faults):
    """The same: a relay that was cut is stopped, and started anew behind it; where streams are parked, none is cut."""
    run = world(relay=True, dm=SLOW, **fault(*faults), **SHORT).start(per_second=20)
    switch_with_relay_inside(run)
    orders = [call[1] for call in run.dm.calls if call[0] == "grpc" and "Relay" in call[1]]
    assert orders == (["OperateRelay"] * 2 if faults else ["OperateWorkerRelayTask"] * 2)
    all_is_equal(run, run.servers.b)
    assert run.stage("relay") == "Running" and run.sampler.stop().servers_at_once() == 1


# ---- the new server has executed something of its own ----


def errant_update(run):
    """b updates a row, and a does so after it: all servers have a's value, and b's binlog has both, b's first."""
    a, b = run.servers.a, run.servers.b
    b.query("UPDATE test.rows_written SET body = 'errant' WHERE k = 5")
    a.query("UPDATE test.rows_written SET body = 'right' WHERE k = 5")


def errant_user(run):
    """b creates an account."""
    run.servers.b.query("CREATE USER errant@'%' IDENTIFIED BY 'errant-secret'")


@pytest.fixture(name="no_errant_user")
def fixture_no_errant_user(trio):
    """The account does not outlive the test."""
    yield
    trio.b.unlogged("DROP USER IF EXISTS errant@'%'")


def with_errant(run, make):
    """b's binlog is in a later file than a's, it has something of its own, and a's large transaction too."""
    a, b = run.servers.a, run.servers.b
    quiet(run)
    a.stop_replica()
    b.stop_replica()
    for _ in range(3):
        b.query("FLUSH LOCAL BINARY LOGS")
    make(run)
    b.start_replica()
    gtid = half_apply(run, [])
    b.wait_for(gtid)


@pytest.mark.parametrize("make", [errant_update, errant_user])
def test_errant_transaction_lets_dm_leave_safe_mode_too_early(world, no_errant_user, make):
    """Let through, DM compares positions of two servers: stuck on error 1062, and an older value over a newer one."""
    del no_errant_user
    run = world(dm={**SLOW, "safe_mode": False}, **fault("skip-park", "skip-errant"), **SHORT).start(per_second=20)
    with_errant(run, make)
    run.proxy.switch("b")
    task = run.dm.tasks["t1"]
    wait_until(lambda: task.failure and "1062" in task.failure.message, 30, lambda: f"error 1062: {run.tell()}")
    assert 0 < count_large(run.downstream) < ROWS
    if make is errant_update:
        assert run.servers.b.one("SELECT body FROM test.rows_written WHERE k = 5") == "right"
        assert run.downstream.one("SELECT body FROM test.rows_written WHERE k = 5") == "errant"


@pytest.mark.parametrize("make", [errant_update, errant_user])
def test_errant_transaction_is_refused(world, no_errant_user, make):
    """The same: refused by name before anything is paused, and DM goes on."""
    del no_errant_user
    run = world(dm={**SLOW, "safe_mode": False}, **SHORT).start(per_second=20)
    with_errant(run, make)
    result = run.proxy.switch("b", expect=3)
    assert "errant" in result.stdout and f"{run.servers.b.uuid}:1" in result.stdout, result.stdout
    assert not [call for call in run.dm.calls if call[0] == "PUT"]
    all_is_equal(run, run.servers.a)


# ---- half of a transaction, over two switches ----


def three(world, servers, *faults):
    """Three backends a, b and c, and a downstream d."""
    downstream, = servers.get("d")
    reset_all(downstream)
    backends = {name: getattr(servers, name) for name in "abc"}
    run = world(dm=SLOW, downstream=downstream, backends=backends, **fault(*faults), **SHORT)
    servers.c.replicate_from(servers.a)
    return run.start(per_second=20)


def to_b(run):
    """A large transaction is half applied from a, c lacks it; to b, which has it. Returns its GTID."""
    quiet(run)
    run.servers.c.wait_for(run.servers.a)
    gtid = half_apply(run, [run.servers.c])
    run.proxy.switch("b")
    return gtid


def test_half_of_a_transaction_stays_over_two_switches(world, servers):
    """With D forgotten: before it has passed again from b, to c, which lacks it. Its half is downstream for ever."""
    run = three(world, servers, "skip-park", "skip-delivered")
    to_b(run)
    run.proxy.switch("c", "--wait-catchup=0")
    run.dm.batch_delay_s = 0
    run.writer.resume(run.servers.c)
    run.writer.wait_rows(20)
    last = run.writer.acknowledged[-1]
    wait_until(lambda: run.downstream.one("SELECT 1 FROM test.rows_written WHERE k = %s", last), 30,
               lambda: f"row {last}, which was written later: {run.tell()}")
    assert run.stage() == "Running"
    assert count_large(run.servers.c) == 0 and 0 < count_large(run.downstream) < ROWS


@pytest.mark.parametrize("faults", [("skip-park",), ()], ids=["cut", "parked"])
def test_half_of_a_transaction_is_known_over_two_switches(world, servers, faults):
    """The same with D kept: c is refused, by the transaction's name; from b it comes whole."""
    run = three(world, servers, *faults)
    gtid = to_b(run)
    result = run.proxy.run("switch", "mysql-01", "c", "--yes", "--wait-catchup=0")
    assert result.code in (3, 4) and gtid in result.stdout, result.stdout
    all_is_equal(run, run.servers.b)
    assert count_large(run.downstream) == ROWS and row_sum(run.downstream) == row_sum(run.servers.b)
