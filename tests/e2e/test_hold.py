# SPDX-License-Identifier: Apache-2.0
"""Who waits, for how long, and what they read: hold and release, starts, the first start's gate, adopt, repin."""
import contextlib

import pymysql
import pytest

from leaks import nothing_left
from sluicetest import wait_until
from sluicetest.raw import Good, connect, is_greeting, read_packet, refused

QUICK = {"probe_interval": "200ms", "probe_timeout": "1s", "connect_timeout": "500ms", "drain_timeout": "0s",
         "hold_timeout": "1200ms"}
ER_UNKNOWN_ERROR = 1105


def assert_is_expiry(refusal, one, phase):
    """What a client whose wait expired reads: source, phase, how long, the limit, what to do; nothing DM judges by."""
    assert refusal.errno == ER_UNKNOWN_ERROR
    assert not refusal.text.startswith("#"), "a real server leaves the sqlstate out before the greeting"
    assert refusal.text.startswith(f"sluice: source '{one.source_id}': waited 1"), refusal.text
    for word in (" ms while clients are held (", phase, "the limit, hold-timeout, is 1200 ms",
                 f"sluice status {one.source_id}"):
        assert word in refusal.text, (word, refusal.text)
    assert "1236" not in refusal.text and "connection refused" not in refusal.text.lower()
    assert refusal.waited >= 1.19


def status_has(one, **wanted):
    """Whether the status has these values; _ is -."""
    found = one.status()
    return all(found[key.replace("_", "-")] == value for key, value in wanted.items())


def wait_status(one, limit=20, **wanted):
    """Wait for status_has()."""
    wait_until(lambda: status_has(one, **wanted), limit, lambda: f"{wanted}; status: {one.status()}")


# A hold by hand keeps new clients waiting, lets open sessions go on, and tells who waits too long; release serves the
# rest.
def test_hold_keeps_new_clients_and_leaves_open_sessions(pair, sluice):
    one = sluice(pair, **QUICK).start_ready()
    with nothing_left(one):
        with Good(one.port, reconnects=False) as good:
            one.run("hold", one.source_id, expect=0)
            assert status_has(one, held_by_hand=True, mode="holding", phase="held by hand")
            refusal = refused(one.port)
            assert_is_expiry(refusal, one, "held by hand (sluice release)")
            assert refusal.waited < 20
            good.wait_queries(20)
            with connect(one.port) as sock:
                wait_status(one, held=1)
                one.run("release", one.source_id, expect=0)
                assert is_greeting(read_packet(sock)[1])
        Good(one.port).stop()
    counters = one.status()["counters"]
    assert counters["hold-expired"] == 1 and counters["released"] >= 1 and counters["longest-wait-ms"] >= 1200


# Not a byte reaches a client that is held, and no connection is made for it.
def test_held_client_costs_the_server_nothing_and_reads_nothing(pair, sluice):
    one = sluice(pair, **{**QUICK, "hold_timeout": "19s"}).start_ready()
    one.run("hold", one.source_id, expect=0)
    before = one.status()["counters"]["legs-opened"]
    with connect(one.port) as sock:
        sock.sendall(b"\x20\x00\x00\x01early")
        wait_status(one, held=1)
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert one.status()["counters"]["legs-opened"] == before


# A hold by hand is on disk: it outlives an orderly restart and a kill -9, and so does its end.
def test_hold_and_release_outlive_restarts(pair, sluice):
    one = sluice(pair, **QUICK).start_ready()
    one.run("hold", one.source_id, expect=0)
    one.restart()
    assert status_has(one, held_by_hand=True, mode="holding")
    assert_is_expiry(refused(one.port), one, "held by hand")
    one.kill()
    one.start_ready()
    assert status_has(one, held_by_hand=True, mode="holding")
    one.run("release", one.source_id, expect=0)
    one.kill()
    one.start_ready()
    assert status_has(one, held_by_hand=False)
    Good(one.port).stop()


# Hold twice and release twice are as once; of a source that is not there they are refused.
def test_hold_and_release_are_repeatable(pair, sluice):
    one = sluice(pair, **QUICK).start_ready()
    for verb, mode in (("hold", "holding"), ("hold", "holding"), ("release", "routing"), ("release", "routing")):
        one.run(verb, one.source_id, expect=0)
        wait_status(one, mode=mode)
    one.run("hold", "no-such-source", expect=2)


# Held clients that hang up are dropped at once, and counted.
def test_held_clients_that_hang_up_are_dropped(pair, sluice):
    one = sluice(pair, **{**QUICK, "hold_timeout": "19s"}).start_ready()
    one.run("hold", one.source_id, expect=0)
    with nothing_left(one):
        socks = [connect(one.port) for _ in range(20)]
        wait_status(one, held=20)
        for sock in socks:
            sock.close()
        wait_status(one, held=0)
    counters = one.status()["counters"]
    assert counters["hold-hangup"] == 20 and counters["hold-expired"] == 0


def connect_when_open(one):
    """Connect as soon as the port takes connections; fails if it ever refuses one after that."""
    def attempt():
        with contextlib.suppress(ConnectionRefusedError):
            return connect(one.port)
        return None

    return wait_until(attempt, 20, "the port is open", every=0.001)


# Sluice listens before it does anything else: who comes in the first instant waits, and is served.
def test_a_command_that_is_not_known_is_counted_and_its_session_ends_at_the_deadline(pair, sluice):
    """It passes, its session cannot be followed any more: it is not closed as idle, but cut by the drain's deadline."""
    one = sluice(pair, consumer="none", drain_timeout="700ms").start_ready()
    client = pair.a.connect("app", port=one.port)
    client._execute_command(0x7d, b"x")  # pylint: disable=protected-access
    with pytest.raises(pymysql.MySQLError) as told:
        client._read_packet()  # pylint: disable=protected-access
    assert told.value.args[0] == 1047  # the server's own: unknown command
    idle = pair.a.connect("app", port=one.port)
    wait_until(lambda: one.status()["counters"]["unknown-commands"] == 1, 10, "it is counted")
    assert "a command that is not known" in one.log_text()
    assert one.metrics()[f'sluice_unknown_commands_total{{source="{one.source_id}"}}'] == 1
    result = one.switch("b")
    assert result.json["switch"]["killed"] == 1 and result.json["switch"]["closed-idle"] == 1
    assert result.json["switch"]["hold-ms"] >= 700
    for each in (client, idle):
        with pytest.raises(pymysql.MySQLError):
            each.ping(reconnect=False)


def test_client_of_the_first_instant_is_held_and_served(pair, sluice):
    one = sluice(pair)
    for _ in range(3):
        one.launch()
        with connect_when_open(one) as sock:
            assert is_greeting(read_packet(sock)[1])
        one.wait_ready()
        one.stop()


# Servers that are down when Sluice starts: clients are held and told; when a server comes, they are served.
def test_backends_that_are_down_at_start_keep_clients_waiting(pair, sluice):
    one = sluice(pair, **QUICK).start_ready()
    one.stop()
    pair.a.kill()
    pair.b.kill()
    try:
        one.start()
        wait_until(lambda: "nobody listens there" in one.status()["phase"], 20,
                   lambda: f"the cause is shown: {one.status()}")
        assert_is_expiry(refused(one.port), one, "waiting for backend a")
    finally:
        pair.a.start()
        pair.b.start()
    wait_status(one, mode="routing", active="a")
    Good(one.port).stop()


# First start, servers down: not even the record says which is active; it is told so, and ends with the servers' coming.
def test_first_start_without_any_server_waits_for_them(pair, sluice):
    pair.a.kill()
    pair.b.kill()
    one = sluice(pair, **QUICK)
    try:
        one.start()
        assert status_has(one, active=None, epoch=0, mode="holding")
        assert_is_expiry(refused(one.port), one, "which backend is active is not known")
        assert one.get("/readyz")[0] == 503
    finally:
        pair.a.start()
        pair.b.start()
    wait_status(one, mode="routing", active="a", epoch=1)


def make_behind(trio):
    """c has from a what b does not have yet."""
    trio.c.replicate_from(trio.a)
    trio.a.query("CREATE TABLE test.t (id INT PRIMARY KEY)")
    trio.b.wait_for(trio.a)
    trio.b.stop_replica()
    trio.a.query("INSERT INTO test.t VALUES (1)")
    trio.c.wait_for(trio.a)


# First start with a configured backend that lacks what the consumer has: nobody is routed until it has it.
def test_first_start_routes_only_what_passes_the_gate(trio, sluice):
    make_behind(trio)
    one = sluice(trio, consumer=trio.c, active="b", **QUICK).start()
    wait_until(lambda: "does not pass" in one.status()["phase"], 20, lambda: f"the gate has judged: {one.status()}")
    found = one.status()
    assert trio.a.uuid in found["phase"] and f"sluice adopt {one.source_id} " in found["phase"]
    assert found["active"] is None and found["mode"] == "holding"
    assert_is_expiry(refused(one.port), one, "which backend is active is not known")
    trio.b.start_replica()
    wait_status(one, mode="routing", active="b", epoch=1)


# adopt says which backend is active where no record can; it lasts, and does not stand in for a switch.
def test_adopt_settles_a_first_start_and_is_no_switch(trio, sluice):
    make_behind(trio)
    one = sluice(trio, consumer=trio.c, active="b", **QUICK).start()
    wait_until(lambda: "does not pass" in one.status()["phase"], 20, lambda: f"the gate has judged: {one.status()}")
    one.switch("a", expect=3)
    one.run("adopt", one.source_id, "a", expect=0)
    wait_status(one, mode="routing", active="a", epoch=1)
    one.run("adopt", one.source_id, "a", expect=0)
    assert "sluice switch" in one.run("adopt", one.source_id, "b", expect=3).json["msg"]
    one.restart()
    assert status_has(one, active="a", epoch=1)
    Good(one.port).stop()


# Without a consumer that can tell, a first start needs to see every server; adopt takes its place.
def test_first_start_without_a_consumer_needs_every_server_or_adopt(pair, sluice):
    pair.b.kill()
    try:
        one = sluice(pair, **QUICK).start()
        wait_until(lambda: "sluice adopt" in one.status()["phase"], 20, lambda: f"what to do is told: {one.status()}")
        refusal = refused(one.port)
        assert_is_expiry(refusal, one, "backend b, which may have been the active one, was not seen")
        one.run("adopt", one.source_id, "b", expect=3)  # it does not answer
        one.run("adopt", one.source_id, "a", expect=0)
        wait_status(one, mode="routing", active="a")
    finally:
        pair.b.start()


# A backend that was reinstalled is taken by repin; the active one only if who reads loses nothing by it.
def test_repin_of_the_active_backend_is_gated_by_what_the_consumer_has(trio, sluice):
    trio.c.replicate_from(trio.a)
    trio.a.query("CREATE TABLE test.t (id INT PRIMARY KEY)")
    trio.c.wait_for(trio.a)
    trio.b.wait_for(trio.a)
    one = sluice(trio, consumer=trio.c, **QUICK).start_ready()
    wait_status(one, mode="routing")
    trio.a.reinstall()
    wait_until(lambda: "sluice repin" in one.status()["phase"], 20, lambda: f"the alarm: {one.status()}")
    msg = one.run("repin", one.source_id, "a", expect=3).json["msg"]
    assert "does not pass" in msg, msg
    assert status_has(one, mode="holding", active="a")
    # Rebuilt from a backup of b, it has all that the consumer has.
    trio.a.unlogged("CREATE TABLE test.t (id INT PRIMARY KEY)")
    trio.a.query("SET GLOBAL gtid_purged = %s", trio.b.executed())
    wait_until(lambda: one.status()["backends"][0]["gtid-executed"] == trio.a.executed(), 10, "a probe has seen it")
    one.run("repin", one.source_id, "a", expect=0)
    wait_status(one, mode="routing", active="a", epoch=1)
    Good(one.port).stop()
    assert one.status()["counters"]["invariant-violations"] == 0
