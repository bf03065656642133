# SPDX-License-Identifier: Apache-2.0
"""Servers that do not behave: a clear error within a limit, nothing hangs or leaks, who has another server goes on."""
import contextlib
import time

import pymysql
import pytest

from leaks import nothing_left
from sluicetest import IdlePool, circular, free_port, reset_all, wait_until
from sluicetest.raw import Good, connect, read_packet, refused
from sluicetest.stand_in import BrokenServer

QUICK = {"probe_interval": "200ms", "probe_timeout": "600ms", "connect_timeout": "500ms", "hold_timeout": "1500ms",
         "drain_timeout": "0s"}
BROKEN = ["silent", "drip", "reset"]


class Down:
    """An address at which nobody listens."""

    def __init__(self):
        self.address = f"127.0.0.1:{free_port()}"


class Named:
    """An address as it is written in the file."""

    def __init__(self, address):
        self.address = address


def backend(one, name):
    """A backend's object in the status."""
    return next(found for found in one.status()["backends"] if found["name"] == name)


def wait_unreachable(one, name, limit=15):
    """Wait until the probes say that the backend does not answer; returns the error's text."""
    def is_seen():
        found = backend(one, name)
        return not found["reachable"] and found["error"] not in (None, "", "not probed yet")

    wait_until(is_seen, limit, lambda: f"{name} is seen not to answer: {backend(one, name)}")
    return backend(one, name)["error"]


@contextlib.contextmanager
def standing_in(*args, **how):
    """A BrokenServer that is taken down at the end."""
    made = BrokenServer(*args, **how)
    try:
        yield made
    finally:
        made.stop()


def assert_other_clients_go_on(one, servers):
    """A check and a switch to b are refused within their limits, and clients of a notice nothing."""
    with nothing_left(one):
        with Good(one.port) as good:
            for _ in range(2):
                checked = one.check("b", expect=3)
                assert not checked.json["result"] and "b" in checked.json["msg"]
            switched = one.switch("b", expect=3)
            assert not switched.json["result"] and switched.json["msg"]
            good.wait_queries(40)
    assert one.status()["mode"] == "routing" and one.active == "a"
    assert one.status()["counters"]["legs-lost"] == 0


# A server that accepts and says nothing, drips a byte a second, or resets in the middle of its greeting, beside a
# good one.
@pytest.mark.parametrize("mode", BROKEN)
def test_broken_server_beside_the_active_one_disturbs_nobody(pair, sluice, mode):
    with standing_in(pair.b, mode) as broken:
        one = sluice(backends={"a": pair.a, "b": broken}, **QUICK)
        one.start()
        wait_unreachable(one, "b")
        one.run("adopt", one.source_id, "a", expect=0)
        wait_until(lambda: one.status()["mode"] == "routing", 10, "clients are routed")
        assert_other_clients_go_on(one, pair)
        seen = broken.accepted
        wait_until(lambda: broken.accepted >= seen + 3, 20, "it is probed again and again")
        assert broken.open <= 2
        broken.mode = "pass"
        wait_until(lambda: backend(one, "b")["reachable"], 20, lambda: f"it is seen to be well: {backend(one, 'b')}")


# Likewise one that is down, and one whose name resolves to nothing: the error names it.
@pytest.mark.parametrize("address, word", [(None, "nobody listens"),
                                           ("no-such-host.invalid:3306", "no-such-host.invalid")])
def test_missing_server_beside_the_active_one_disturbs_nobody(pair, sluice, address, word):
    one = sluice(backends={"a": pair.a, "b": Named(address) if address else Down()}, **QUICK).start()
    assert word in wait_unreachable(one, "b")
    one.run("adopt", one.source_id, "a", expect=0)
    wait_until(lambda: one.status()["mode"] == "routing", 10, "clients are routed")
    assert_other_clients_go_on(one, pair)


# The active server goes bad: who is connected meets an end, who comes is held and told within hold-timeout, all go on
# after it.
@pytest.mark.parametrize("mode", BROKEN)
def test_active_server_that_goes_bad_is_told_and_recovers(pair, sluice, mode):
    with standing_in(pair.a) as path:
        one = sluice(backends={"a": path, "b": pair.b}, **QUICK).start_ready()
        with nothing_left(one):
            session = pair.a.connect("app", port=one.port, read_timeout=20)
            path.mode = mode
            refusal = refused(one.port)
            assert refusal.errno == 1105 and "hold-timeout" in refusal.text
            assert f"sluice status {one.source_id}" in refusal.text
            assert refusal.waited < 20
            if mode == "reset":
                with pytest.raises(pymysql.Error), session.cursor() as cursor:
                    cursor.execute("SELECT REPEAT('x', 10000)")
            wait_unreachable(one, "a")
            assert one.status()["mode"] == "holding" and "a" in one.status()["phase"]
            path.mode = "pass"
            with Good(one.port) as good:
                good.wait_queries(20)
            session._force_close()  # pylint: disable=protected-access
        assert backend(one, "b")["connections"] == 0


# A server that is broken from the start routes nobody; the order to stop is heeded all the same.
@pytest.mark.parametrize("mode", BROKEN)
def test_server_broken_from_the_start_keeps_clients_waiting_and_lets_sluice_stop(sluice, processes, mode):
    with standing_in(None, "silent") as broken:
        broken.mode = mode
        one = sluice(backends={"a": broken, "b": Down()}, **QUICK).start()
        assert "sluice status" in refused(one.port).text
        began = time.monotonic()
        one.stop()
        assert time.monotonic() - began < 20


# Behind a relay a processlist cannot tell whose threads it shows: the switch is refused for it, and nobody's thread
# is killed.
def test_relay_before_the_active_server_kills_nobody_and_refuses_a_switch(pair, sluice):
    with standing_in(pair.a) as path:
        bystander = pair.a.connect("writer")  # from the address that the relay has too
        thread = bystander.thread_id()
        replicas = {row["Id"] for row in pair.a.processlist() if row["Command"].startswith("Binlog Dump")}
        one = sluice(backends={"a": path, "b": pair.b}, **QUICK).start_ready()
        with Good(one.port):
            refusal = one.switch("b", expect=3).json["msg"]
            assert "address translation" in refusal and "the server's own address" in refusal, refusal
        seen = {row["Id"] for row in pair.a.processlist()}
        assert thread in seen and replicas <= seen, (thread, replicas, seen)
        bystander.close()


# A RST in the middle of a result reaches the one client as a lost connection; others wait for a probe, and go on.
def test_reset_in_the_middle_of_a_result_ends_one_session(pair, sluice):
    with standing_in(pair.a) as path:
        one = sluice(backends={"a": path, "b": pair.b}, **QUICK).start_ready()
        with nothing_left(one):
            session = pair.a.connect("app", port=one.port, read_timeout=20)
            path.mode = "reset"
            with pytest.raises(pymysql.Error), session.cursor() as cursor:
                cursor.execute("SELECT REPEAT('x', 5000000)")
            path.mode = "pass"
            session._force_close()  # pylint: disable=protected-access
            with Good(one.port) as good:
                good.wait_queries(10)
        assert one.status()["counters"]["legs-lost"] >= 1


# The active server is killed and comes back: held meanwhile, told when it takes too long, served when it is there.
def test_active_server_down_and_back(pair, sluice):
    one = sluice(pair, **QUICK).start_ready()
    pool = IdlePool(one.port, 3)
    pair.a.kill()
    try:
        refusal = refused(one.port)
        assert "hold-timeout" in refusal.text and "connect: connection refused" not in refusal.text.lower()
        assert "1236" not in refusal.text
        wait_unreachable(one, "a")
        assert one.status()["sessions"] == 0
    finally:
        pair.a.start()
    with Good(one.port) as good:
        good.wait_queries(10)
    pool.stop()


# Another server under the active one's address is an alarm: new clients held, then told what to do; nobody reaches it.
def test_reinstalled_active_server_is_an_alarm_and_serves_nobody(pair, sluice):
    one = sluice(pair, **QUICK).start_ready()
    Good(one.port).stop()
    pair.a.query("CREATE TABLE test.t (id INT PRIMARY KEY)")
    pair.b.wait_for(pair.a)
    old = pair.a.uuid
    pair.a.reinstall()
    wait_until(lambda: "pinned" in (backend(one, "a")["error"] or ""), 20, lambda: f"the alarm: {backend(one, 'a')}")
    found = backend(one, "a")
    assert found["pinned-uuid"] == old and found["server-uuid"] == pair.a.uuid and not found["confirmed"]
    refusal = refused(one.port)
    assert pair.a.uuid in refusal.text and old in refusal.text and f"sluice repin {one.source_id} a" in refusal.text
    assert pair.a.one("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'") == 0
    assert "sluice repin" in one.log_text()
    assert one.check("b").code == 3  # what the old server had can be asked nowhere
    one.run("repin", one.source_id, "a", expect=3)  # b has what the new a has not
    assert one.status()["mode"] == "holding"


# Another server under the address of the backend that is not active: no switch to it before a repin.
def test_reinstalled_other_server_is_no_target(pair, sluice):
    one = sluice(pair, **QUICK).start_ready()
    pair.b.reinstall()
    wait_until(lambda: "pinned" in (backend(one, "b")["error"] or ""), 20, lambda: f"the alarm: {backend(one, 'b')}")
    with Good(one.port):
        assert "repin" in one.switch("b", expect=3).json["msg"]
        one.run("repin", one.source_id, "b", expect=0)
        wait_until(lambda: backend(one, "b")["confirmed"], 10, lambda: f"the new b is known: {backend(one, 'b')}")
    assert backend(one, "b")["pinned-uuid"] == pair.b.uuid


# Frozen servers of one source, with clients that wait on them, delay no flip of another source on the same thread.
def test_frozen_servers_of_one_source_delay_no_flip_of_another(servers, processes, sluice):
    a, b, c, d = servers.get("a", "b", "c", "d")
    reset_all(a, b, c, d)
    circular(a, b)
    circular(c, d)
    one = sluice(servers, probe_interval="200ms", probe_timeout="5s")
    second = free_port()
    one.config["threads"] = 1
    backends = [{"name": server.name, "address": server.address} for server in (c, d)]
    one.config["sources"].append({**one.source, "source-id": "mysql-02", "listen": f"127.0.0.1:{second}", "active": "c",
                                  "backends": backends})
    one.start_ready()
    wait_until(lambda: all(source["mode"] == "routing" for source in one.get("/v1/sources")[1]["sources"]), 20,
               "both route")

    def flip(to):
        result = one.run("switch", "mysql-02", to, "--yes", expect=0).json["switch"]
        return result["hold-ms"]

    alone = [flip("d"), flip("c")]
    idle = IdlePool(one.port, 3)
    for server in (a, b):
        server.freeze()
    try:
        waiting = [connect(one.port) for _ in range(5)]
        wait_until(lambda: one.status()["held"] + one.status()["sessions"] >= 8, 10,
                   lambda: f"clients wait: {one.status()}")
        beside = [flip("d"), flip("c")]
        Good(second).stop()
    finally:
        for server in (a, b):
            server.thaw()
    # A frozen server costs 3 s to 5 s where it is waited for; noise of a busy machine costs far less.
    assert min(beside) <= min(alone) + 1500, (alone, beside)
    for sock in waiting:
        assert read_packet(sock) is not None
        sock.close()
    idle.stop()


# An administrator kills a session on the server: that client is told, the server is probed, and all others go on.
def test_session_killed_on_the_server_leads_to_a_probe_and_clients_go_on(pair, sluice):
    one = sluice(pair).start_ready()
    with nothing_left(one):
        with Good(one.port) as good:
            before = one.status()["counters"]["legs-lost"]
            session = pair.a.connect("app", port=one.port)
            pair.a.query(f"KILL {session.thread_id()}")
            with pytest.raises(pymysql.Error), session.cursor() as cursor:
                cursor.execute("SELECT 1")
            session._force_close()  # pylint: disable=protected-access
            wait_until(lambda: one.status()["counters"]["legs-lost"] == before + 1, 10, "the loss is counted")
            good.wait_queries(20)
    assert "it is probed before anybody is routed there again" in one.log_text()
    assert one.status()["counters"]["invariant-violations"] == 0


# wait_timeout of the server ends idle sessions, with its own words; others go on.
def test_wait_timeout_of_the_server_passes_its_own_words(pair, sluice):
    one = sluice(pair).start_ready()
    pair.a.set_global("wait_timeout", 1)
    with nothing_left(one):
        with Good(one.port) as good:
            sock = pair.a.connect("app", port=one.port)
            words = sock._sock.recv(4096)  # pylint: disable=protected-access
            assert words[4:7] == b"\xff" + (4031).to_bytes(2, "little"), words
            sock._force_close()  # pylint: disable=protected-access
            good.wait_queries(20)
