# SPDX-License-Identifier: Apache-2.0
"""
Each precondition of a switch, on real servers: refused with the figures that were found, and all left as it was.

And the counterparts that pass: waited for, accepted by name.
"""
from collections import namedtuple

import pytest
from sluicetest import BinlogStream, PauseAt, Sampler, World, wait_until

Address = namedtuple("Address", "address")


class Refusals(World):
    """What must be seen of a refusal."""

    def check_fails(self, *words, options=()):
        """The dry run has a failed line with each of the words, which says what to do."""
        before = self.settled()
        answer = self.proxy.check("b", *options, expect=3).json
        failed = [line for line in answer["checks"] if line["state"] == "fail"]
        told = "\n".join(f"{line['name']}: {line['detail']}; {line['todo']}" for line in failed)
        assert failed and all(line["todo"] for line in failed), answer
        assert all(word in told for word in words), told
        code, text = self.text("check", self.proxy.source_id, "b", *options)
        assert code == 3 and all(word in text for word in words), text
        self.is_as(before)

    def switch_fails(self, *words, options=(), exit_code=3, is_drained=False):
        """The switch is refused with the words printed, and nothing is changed."""
        before = self.settled()
        code, text = self.text("switch", self.proxy.source_id, "b", "--yes", *options)
        assert code == exit_code, text
        assert all(word in text for word in words), text
        self.is_as(before, is_drained)
        last = self.proxy.run("history", self.proxy.source_id, expect=0).json["switches"][0]
        assert last["state"] == "undone" and last["to"] == "b"
        return text

    def refused(self, *words, options=()):
        """Both."""
        self.check_fails(*words, options=options)
        self.switch_fails(*words, options=options)


@pytest.fixture(name="make")
def fixture_make(trio, sluice):
    """Makes a World, not yet started."""

    made = []

    def make(consumer="replica", **how):
        how = {"probe_interval": "100ms", "drain_timeout": "500ms", "catchup_timeout": "2s", **how}
        made.append(Refusals(trio, sluice(trio, consumer=trio.c if consumer == "replica" else consumer, **how)))
        return made[-1]

    yield make
    for world in made:
        world.stop_clients()


@pytest.fixture(name="world")
def fixture_world(make):
    """A started World with a replica as its consumer."""
    return make().start()


@pytest.fixture(name="other_b")
def fixture_other_b(trio):
    """Restarts b with other options; it is stopped at the end, so that the next test gets it as it is configured."""

    def restart(start_replica=True, **options):
        trio.b.stop()
        trio.b.start(**options)
        if start_replica:
            trio.b.start_replica()

    yield restart
    trio.b.stop()


# ---- nothing is wrong ----


def test_check_passes_and_changes_nothing(world):
    """The dry run of a switch that would pass: every precondition on a line, none fails, nothing is touched."""
    before = world.seen()
    answer = world.proxy.check("b", expect=0).json
    names = {line["name"]: line["state"] for line in answer["checks"]}
    assert "fail" not in names.values(), answer
    assert {"server-uuid", "gtid_mode", "binlog_format", "log_replica_updates", "replication-filters", "grants",
            "nothing errant", "gtid-D in gtid-E", "consumer"} <= set(names)
    world.is_as(before)
    world.passes()


# ---- what the consumer has, against what b has ----


def test_refused_when_b_purged_what_the_consumer_needs(world):
    """P is not contained in S: the range is named; accepting a loss does not help, as b would answer 1236."""
    world.c.stop_replica()
    missing = world.write()
    world.b.wait_for(missing)
    world.b.purge()
    world.refused("gtid-S", "purged", missing)
    world.switch_fails("purged", missing, options=[f"--accept-loss={missing}"])


def test_refused_when_b_lags_behind_the_consumer(world):
    """S is not contained in E, and no waiting is wanted: the missing range is named."""
    world.b.stop_replica()
    missing = world.write()
    world.c.wait_for(missing)
    world.refused("gtid-S", "lacks", missing, options=["--wait-catchup=0"])


def test_refused_when_b_does_not_catch_up_within_the_wait(world):
    """A b that replicates and stays behind: a limit ran out, and nothing is changed."""
    world.b.stop_replica()
    world.b.query("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 600")
    world.b.start_replica()
    missing = world.write()
    world.c.wait_for(missing)
    world.switch_fails("lacks", missing, options=["--wait-catchup=1s"], exit_code=4)


def test_passes_once_b_has_caught_up_within_the_wait(world, tmp):
    """A b that lags is waited for, before anybody is paused or held; once it has caught up the switch goes on."""
    world.b.stop_replica(threads="SQL_THREAD")
    missing = world.write()
    world.c.wait_for(missing)
    before = world.seen()
    verb = world.begin_switch(tmp, "--wait-catchup=60s")
    wait_until(lambda: (world.proxy.status()["switch"] or {}).get("phase") == "catch-up", 20, "the switch waits for b")
    waiting = world.seen()
    assert {**waiting, "switch": None} == before and world.session_is_alive()
    world.b.start_replica(threads="SQL_THREAD")
    code, text = verb.end()
    assert code == 0, text
    assert world.proxy.active == "b"
    wait_until(lambda: world.seen()["threads"] == ("Yes", "Yes"), 10, "the consumer reads from b")


@pytest.fixture(name="delivered")
def fixture_delivered(make, processes, tmp):
    """
    Two transactions that another reader got through the proxy, and neither the consumer nor b has: D is not in E, S is.

    Returns (world, first, second).
    """
    world = make().start()
    world.c.stop_replica()
    world.b.stop_replica()
    stream = BinlogStream(processes, tmp, world.proxy.port)
    first, second = world.write(), world.write()
    wait_until(lambda: world.delivered(second), 20, lambda: f"it has {second}: {world.proxy.status()}")
    yield world, first, second
    stream.stop()


def test_refused_when_b_lacks_what_was_delivered(delivered):
    """D is not contained in E though S is: refused with the range; accepted as lost it passes, and that is kept."""
    world, first, second = delivered
    uuid, number = first.split(":")
    both = f"{uuid}:{number}-{second.split(':')[1]}"
    world.refused("gtid-D", both, options=["--wait-catchup=0"])
    world.switch_fails("gtid-D", second, options=["--wait-catchup=0", f"--accept-loss={first}"])
    world.passes("--wait-catchup=0", f"--accept-loss={both}")
    assert not world.b.contains(first) and not world.b.contains(second)
    assert world.proxy.status()["accepted-loss"] == both
    world.session.close()
    world.proxy.restart()
    assert world.proxy.active == "b" and world.proxy.status()["accepted-loss"] == both


# ---- the server itself ----


def test_refused_when_gtid_mode_is_not_on(world):
    """GTIDs that may be missing: the value is named."""
    world.b.set_global("gtid_mode", "ON_PERMISSIVE")
    world.refused("gtid_mode on b: ON_PERMISSIVE")


def test_refused_when_gtid_mode_is_off(world, other_b):
    """A server without GTIDs."""
    world.b.forget_replication()
    other_b(start_replica=False, gtid_mode="OFF", enforce_gtid_consistency="OFF")
    world.refused("gtid_mode on b: OFF", "enforce_gtid_consistency on b: OFF", options=["--wait-catchup=0"])


def test_refused_when_log_replica_updates_is_off(world, other_b):
    """What b gets by replication would be in no binlog of its own."""
    other_b(log_replica_updates="OFF")
    world.refused("log_replica_updates on b: OFF")


def test_refused_when_binlog_format_is_not_row(world):
    """Statements instead of rows."""
    world.b.stop_replica(threads="SQL_THREAD")
    world.b.set_global("binlog_format", "STATEMENT")
    world.b.start_replica()
    world.refused("binlog_format on b: STATEMENT")


def test_refused_when_binlog_row_image_is_less_than_before(world):
    """A reader that had all columns would miss some."""
    world.b.set_global("binlog_row_image", "MINIMAL")
    world.refused("binlog_row_image on b: MINIMAL")


def test_refused_when_the_processlist_may_be_empty(world):
    """performance_schema_show_processlist can hide every thread without an error: nobody could prove itself empty."""
    world.b.set_global("performance_schema_show_processlist", 1)
    world.refused("b: performance_schema_show_processlist ON")
    world.b.set_global("performance_schema_show_processlist", 0)
    world.a.set_global("performance_schema_show_processlist", 1)
    world.refused("a: performance_schema_show_processlist ON")


def test_refused_when_b_is_the_server_that_a_is(trio, sluice):
    """Both names lead to one server: never pinned, never switched to."""
    backends = {"a": trio.a, "b": Address(f"localhost:{trio.a.port}")}
    proxy = sluice(backends=backends, consumer=trio.c, probe_interval="100ms")
    world = Refusals(trio, proxy).start()
    world.refused(f"a and b are one server, by server_uuid: {world.a.uuid}, {world.a.uuid}")


def test_refused_when_b_has_the_uuid_of_a(world):
    """A copied data directory: b answers with the uuid of a, which is not the one it is pinned to."""
    old = world.b.uuid
    world.b.stop()
    copied = world.b.data / "auto.cnf"
    text = copied.read_text(encoding="ascii")
    try:
        copied.write_text(text.replace(old, world.a.uuid), encoding="ascii")
        world.b.start()
        world.refused("a and b are one server", f"{world.a.uuid}, pinned: {old}", options=["--wait-catchup=0"])
    finally:
        world.b.stop()
        copied.write_text(text, encoding="ascii")


def test_refused_when_b_was_reinstalled_under_its_address(world):
    """Another server_uuid than the pinned one: both are named; pinned anew, it is gated by what it has."""
    old = world.b.uuid
    world.b.reinstall()
    world.refused(f"{world.b.uuid}, pinned: {old}", "repin", options=["--wait-catchup=0"])
    wait_until(lambda: world.proxy.run("repin", world.proxy.source_id, "b").code == 0, 10, "b is pinned anew")
    world.refused("gtid-S", "lacks", options=["--wait-catchup=0"])
    world.b.replicate_from(world.a)
    world.b.wait_for(world.a)
    world.passes()


def test_refused_when_b_does_not_answer(world):
    """A server that is down, and one that accepts and says nothing."""
    world.b.stop()
    world.refused("backend b", options=["--wait-catchup=0"])


def test_refused_when_b_is_frozen(make):
    """It is asked no longer than probe-timeout says; nobody is held for it."""
    world = make(probe_timeout="1s").start()
    world.b.freeze()
    try:
        world.refused("backend b", options=["--wait-catchup=0"])
    finally:
        world.b.thaw()


def test_refused_when_b_was_rewound(world):
    """Its E is smaller than it was: the ranges are named, it is latched on disk, and only repin clears it."""
    lost = world.write()
    world.b.wait_for(lost)

    def seen_by_sluice():
        of_b = next(b for b in world.proxy.status()["backends"] if b["name"] == "b")
        return world.a.one("SELECT GTID_SUBSET(%s, %s)", lost, of_b["gtid-executed"])

    wait_until(seen_by_sluice, 10, "a probe saw the transaction on b")
    world.b.stop_replica()
    world.b.query("RESET BINARY LOGS AND GTIDS")
    wait_until(lambda: world.proxy.status()["latch"], 10, "b is latched")
    assert world.proxy.status()["latch"]["backend"] == "b"
    uuid = world.a.uuid
    world.check_fails("rewound", uuid, options=["--wait-catchup=0"])
    # Back again what it had: the numbers say nothing any more about the content.
    world.b.query("RESET REPLICA")
    world.b.unlogged("DROP DATABASE test", "CREATE DATABASE test")
    world.b.start_replica()
    world.b.wait_for(world.a)
    world.refused("rewound", uuid)
    world.session.close()
    world.proxy.restart()
    world.session = world.connect()
    world.refused("rewound", uuid)
    wait_until(lambda: world.proxy.run("repin", world.proxy.source_id, "b").code == 0, 10, "the latch is cleared")
    assert not world.proxy.status()["latch"]
    world.passes()


def test_nobody_is_routed_to_an_active_backend_that_was_rewound(world):
    """The active one lost transactions: new clients are held until a person clears it."""
    world.c.stop_replica()
    world.a.query("RESET BINARY LOGS AND GTIDS")
    wait_until(lambda: world.proxy.status()["latch"], 10, "a is latched")
    assert world.proxy.status()["mode"] == "holding"
    assert world.proxy.status()["latch"]["backend"] == "a"


# ---- what the numbers do not show ----


@pytest.mark.parametrize("how", ["set", "uuid"])
def test_refused_when_b_has_an_errant_transaction(world, how):
    """A transaction that only b has is named; accepted by name, as a set or as a whole UUID, the switch passes."""
    world.a.stop_replica()
    world.b.query("CREATE DATABASE test_errant")
    errant = f"{world.b.uuid}:1"
    world.refused("errant", errant)
    other = world.c.uuid
    world.switch_fails("errant", errant, options=[f"--accept-errant={other}"])
    world.passes(f"--accept-errant={errant if how == 'set' else world.b.uuid}")


def test_backend_that_is_merely_ahead_is_waited_for(world, tmp):
    """
    a replicates too, and is behind: what b has is not errant when it still comes to a.

    Without the wait it is refused by name; with it the switch goes on once a has it.
    """
    blocker = world.a.connect(read_timeout=60)
    with blocker.cursor() as cursor:  # a's applier waits for this row: it owns the first, and has not begun the second
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM test.t WHERE id = 1 FOR UPDATE")
    world.b.query("DELETE FROM test.t WHERE id = 1")
    world.b.query("INSERT INTO test.t VALUES (1)")
    ahead = f"{world.b.uuid}:2"
    world.refused("errant", ahead, options=["--wait-catchup=0"])
    verb = world.begin_switch(tmp, "--wait-catchup=60s")
    wait_until(lambda: (world.proxy.status()["switch"] or {}).get("phase") == "catch-up", 20, "the switch waits for a")
    blocker.rollback()
    blocker.close()
    code, text = verb.end()
    assert code == 0, text
    assert world.proxy.active == "b"


def test_backend_that_is_ahead_of_the_consumer_passes(world):
    """The consumer is behind and b has more than it has: nothing is wrong with that."""
    world.c.stop_replica()
    world.write()
    world.b.wait_for(world.a)
    world.passes()
    world.c.start_replica()
    world.c.wait_for(world.b)


def test_refused_when_b_replicates_with_a_filter(world):
    """A filtered replica lacks rows under complete sets: the filter is named."""
    world.b.stop_replica()
    world.b.query("CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (test_ignored)")
    world.b.start_replica()
    world.refused("replication-filters", "test_ignored")


def test_refused_when_b_skips_errors(world, other_b):
    """A replica that skips errors lacks rows under complete sets."""
    other_b(replica_skip_errors="1062")
    world.refused("replica_skip_errors", "1062")


def test_refused_when_b_applies_idempotently(world):
    """IDEMPOTENT hides rows that differ."""
    world.b.set_global("replica_exec_mode", "IDEMPOTENT")
    world.refused("replica_exec_mode", "IDEMPOTENT")


# ---- the consumer ----


def test_refused_when_the_consumer_does_not_answer(world):
    """A consumer that cannot be asked cannot be paused."""
    before = {key: value for key, value in world.seen().items() if key != "threads"}
    world.c.stop()
    world.proxy.check("b", expect=3)
    code, text = world.text("switch", world.proxy.source_id, "b", "--yes")
    assert code == 3 and "consumer" in text, text
    status = world.proxy.status()
    assert {key: status[key] for key in before if key != "uuid"} == {k: v for k, v in before.items() if k != "uuid"}
    assert world.session_is_alive()


def test_refused_when_the_account_may_not_pause_the_consumer(world):
    """The GRANT that is missing is named, before anything is paused."""
    world.c.unlogged("REVOKE REPLICATION_SLAVE_ADMIN ON *.* FROM consumer@'%'")
    try:
        world.refused("GRANT REPLICATION_SLAVE_ADMIN ON *.* TO 'consumer'@'%'")
    finally:
        world.c.unlogged("GRANT REPLICATION_SLAVE_ADMIN ON *.* TO consumer@'%'")


def test_refused_when_the_consumer_reads_by_file_and_position(world):
    """A position means another thing on another server."""
    world.c.stop_replica()
    world.c.query("CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 0, SOURCE_LOG_FILE = 'bin.000001', "
                  "SOURCE_LOG_POS = 4")
    world.refused("SOURCE_AUTO_POSITION")


def test_what_was_paused_by_somebody_stays_paused(world):
    """Exactly what Sluice paused is resumed: a thread that was off before stays off."""
    world.c.stop_replica(threads="SQL_THREAD")
    world.passes()
    assert world.seen()["threads"] == ("Yes", "No")


def test_manual_consumer_needs_the_set_that_it_has(make):
    """Nothing was streamed: without --gtid-s it is refused and says how; with it, that set is judged, by range."""
    world = make(consumer="manual").start()
    world.refused("--gtid-s")
    has = world.a.executed()
    world.b.purge()
    world.switch_fails("gtid-S", "purged", world.a.uuid, options=["--gtid-s="])
    world.switch_fails("gtid-S", "lacks", f"{world.c.uuid}:1-5",
                       options=[f"--gtid-s={has},{world.c.uuid}:1-5", "--wait-catchup=0"])
    world.passes(f"--gtid-s={has}")


def test_manual_consumer_has_what_was_delivered_where_it_is_not_told(make, processes, tmp):
    """Once a stream has run, what it carried whole stands for gtid-S, and the check says so; what it lacks is named."""
    world = make(consumer="manual").start()
    stream = BinlogStream(processes, tmp, world.proxy.port)
    gtid = world.write()
    wait_until(lambda: world.delivered(gtid), 20, f"the stream carries {gtid}")
    world.b.wait_for(world.a)
    stream.stop()
    wait_until(lambda: world.proxy.status()["streams"] == 0, 10, "the stream ends")
    line, = [check for check in world.proxy.check("b", expect=0).json["checks"] if check["name"] == "consumer"]
    assert "gtid-S was not given" in line["detail"] and "gtid-D" in line["detail"], line
    unseen = world.write()
    world.b.wait_for(world.a)
    world.b.purge()
    world.refused("gtid-P in gtid-D", "purged", unseen)
    world.switch_fails("gtid-S", "lacks", f"{world.c.uuid}:1-5",
                       options=[f"--gtid-s={world.a.executed()},{world.c.uuid}:1-5", "--wait-catchup=0"])
    stream = world.keep(BinlogStream(processes, tmp, world.proxy.port))
    wait_until(lambda: world.delivered(unseen), 20, f"the stream carries {unseen}")
    world.passes()


def test_gtid_s_is_for_a_manual_consumer_alone(world):
    """A consumer that tells its own set is not overruled."""
    before = world.seen()
    code, text = world.text("switch", world.proxy.source_id, "b", "--yes", "--gtid-s=")
    assert code == 2 and "manual" in text, text
    world.is_as(before)


def test_without_a_consumer_what_was_delivered_stands_for_it(make, processes, tmp):
    """P in D in E: a b that lacks what a stream carried is refused, so is one that purged what none did; by range."""
    world = make(consumer="none").start()
    world.b.stop_replica()
    stream = BinlogStream(processes, tmp, world.proxy.port)
    missing = world.write()
    wait_until(lambda: world.delivered(missing), 20, f"the stream carries {missing}")
    world.refused("gtid-D", "lacks", missing, options=["--wait-catchup=0"])
    stream.stop()
    wait_until(lambda: world.proxy.status()["streams"] == 0, 10, "the stream ends")
    world.b.start_replica()
    world.b.wait_for(world.a)
    world.b.purge()
    world.passes()
    world.proxy.switch("a")
    missing = world.write()
    world.b.wait_for(missing)
    world.b.purge()
    world.session = world.connect()
    world.refused("gtid-D", "purged", missing)


# ---- Sluice's own account ----


@pytest.mark.parametrize("privilege", ["PROCESS", "REPLICATION CLIENT", "CONNECTION_ADMIN"])
def test_check_names_the_grant_that_is_missing(world, privilege):
    """On the new backend as on the old one."""
    for server in (world.b, world.a):
        server.unlogged(f"REVOKE {privilege} ON *.* FROM sluice@'%'")
        try:
            world.refused("lacks", f"GRANT {privilege} ON *.* TO 'sluice'@'%'")
        finally:
            server.unlogged(f"GRANT {privilege} ON *.* TO sluice@'%'")


def test_switch_is_undone_when_a_clients_thread_may_not_be_killed(world):
    """
    A client whose account has SYSTEM_USER streams, and Sluice's has not that privilege: KILL says 1095 in the drain.

    The switch is undone, the account is named, and the consumer reads on.
    """
    world.a.unlogged("GRANT SYSTEM_USER ON *.* TO repl@'%'")
    try:
        sampler = world.keep(Sampler([world.a, world.b]).start())
        world.c.stop_replica()
        world.c.start_replica()
        text = world.switch_fails("1095", "'repl'", "SYSTEM_USER", is_drained=True)
        assert "undo" in text
        sampler.stop()
        assert sampler.servers_at_once() == 1 and sampler.sessions(world.b) == 0
    finally:
        world.a.unlogged("REVOKE SYSTEM_USER ON *.* FROM repl@'%'")


# ---- after the pause ----


def test_switch_is_undone_when_b_purges_after_the_pause(make, tmp):
    """P is read last: what b purged after the first gate is refused by range while clients are held; undone."""
    pause = PauseAt(tmp, "hold")
    world = make(environment=pause.environment).start()
    before = world.seen()
    verb = world.begin_switch(tmp)
    pause.wait()
    missing = world.write()
    world.b.wait_for(missing)
    world.b.purge()
    pause.go()
    code, text = verb.end()
    assert code == 3 and "purged" in text and missing in text, text
    world.is_as(before, is_drained=True)


def test_switch_is_undone_when_b_is_set_back_during_the_hold(make, tmp):
    """E of the new backend shrinks between the checks and the flip: refused as rewound, and nobody is routed there."""
    pause = PauseAt(tmp, "hold")
    world = make(environment=pause.environment, hold_timeout="2s", connect_timeout="1s").start()
    before = world.seen()
    verb = world.begin_switch(tmp)
    pause.wait()
    world.b.stop_replica()
    world.b.query("RESET BINARY LOGS AND GTIDS")
    pause.go()
    code, text = verb.end()
    assert code == 3 and "gate-again" in text and "rewound" in text, text
    world.is_as(before, is_drained=True)


def test_switch_is_undone_when_somebody_resumes_the_consumer(make, tmp):
    """A consumer that reads again after its pause is not quiet: refused, undone."""
    pause = PauseAt(tmp, "gate")
    world = make(environment=pause.environment).start()
    before = world.seen()
    verb = world.begin_switch(tmp)
    pause.wait()
    world.c.start_replica()
    pause.go()
    code, text = verb.end()
    assert code == 3 and "resumed by somebody" in text, text
    world.is_as(before)
