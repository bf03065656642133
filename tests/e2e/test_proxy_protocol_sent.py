# SPDX-License-Identifier: Apache-2.0
"""
Backends that read PROXY headers: their processlist shows the client's address, and Sluice must know its own threads.

The servers are real; tests/lib/proxy_header_preload.c gives them what Percona Server has and MySQL's own has not, for
connections from 127.0.0.2, which is Sluice's address. Clients come from 127.0.0.5 and the like: 127.0.0.1 is told to
nobody.
"""
import pathlib
import shutil
import tempfile

import pymysql
import pytest
from conftest import Servers
from sluicetest import BinlogStream, IdlePool, PauseAt, Writer, wait_until
from sluicetest.proxy_header import ask, connect, version2
from sluicetest.sluice import binary

PRELOAD = pathlib.Path(binary()).resolve().parent.parent / "tests" / "lib" / "libproxy_header_preload.so"
READS = {"LD_PRELOAD": str(PRELOAD), "SLUICE_TEST_PROXY_FROM": "127.0.0.2"}
LISTED = ["127.0.0.8/29"]


@pytest.fixture(name="servers", scope="module")
def fixture_servers(folder):
    """The servers of this file read PROXY headers."""
    assert PRELOAD.exists(), f"{PRELOAD} was not built"
    made = Servers(pathlib.Path(tempfile.mkdtemp(dir=folder)), environment=READS)
    yield made
    made.processes.end_all()
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture(name="make")
def fixture_make(pair, sluice):
    """Makes a Sluice that tells backends who its clients are, and routes to a."""

    def make(send="v2", start=True, **how):
        how.setdefault("drain_timeout", "300ms")
        own = how.pop("own", False)
        one = sluice(pair, proxy_protocol={"accept-from": LISTED, "send": send, **({"send-own": True} if own else {})},
                     **how)
        return one.start_ready() if start else one

    return make


@pytest.fixture(name="stream")
def fixture_stream(processes, tmp):
    """Makes a binlog reader that comes from 127.0.0.5."""
    made = []

    def make(port, **how):
        made.append(BinlogStream(processes, tmp, port, bind="127.0.0.5", **how))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def hosts(server, **wanted):
    """{thread: HOST} of a server's threads that are as |wanted|."""
    return {row["Id"]: row["Host"] for row in server.processlist()
            if all(str(row[key]).startswith(value) for key, value in wanted.items())}


def dumps(server):
    """{thread: HOST} of the binlog readers that do not come from the other server of the pair."""
    return {thread: host for thread, host in hosts(server, Command="Binlog Dump").items()
            if not host.startswith("127.0.0.1:")}


@pytest.mark.parametrize("send", ["v1", "v2"])
def test_server_shows_the_clients_address(pair, make, send):
    """As the header in front of Sluice said, or as the client's own socket; a client at 127.0.0.1 is not told."""
    one = make(send)
    behind, direct = connect(one.port, version2("10.1.2.3", 4567)), connect(one.port, bind="127.0.0.5")
    inet6, local = connect(one.port, version2("2001:db8::9", 4000)), connect(one.port, bind="127.0.0.1")
    found = {name: hosts(pair.a)[ask(client, "SELECT CONNECTION_ID()")]
             for name, client in {"behind": behind, "direct": direct, "inet6": inet6, "local": local}.items()}
    assert found["behind"] == "10.1.2.3:4567" and found["inet6"] == "2001:db8::9:4000"
    assert found["direct"].startswith("127.0.0.5:") and found["local"].startswith("127.0.0.2:")
    for client in (behind, direct, inet6, local):
        client.close()


def test_switch_knows_its_threads_by_the_clients_addresses(pair, make, stream):
    """Every session is seen on the old server before the drain, none is left after it, those of others stay."""
    one = make()
    writer = Writer(pair.a, per_second=50).start()
    stream(one.port)
    pool, busy = IdlePool(one.port, 3, host="127.0.0.1"), connect(one.port, version2("10.1.2.3", 1002))
    idle = connect(one.port, version2("127.0.0.2", 1001))  # a client with Sluice's own address
    other = connect(pair.a.port, bind="127.0.0.5")         # not ours
    ask(busy, "BEGIN")
    wait_until(lambda: len(dumps(pair.a)) == 1, 20, lambda: f"the reader reads: {pair.a.processlist()}")
    result = one.switch("b").json["switch"]
    seen, = [step["text"] for step in result["steps"] if "processlist shows all" in step["text"]]
    assert "shows all 6 sessions" in seen, seen
    assert result["killed"] == 1
    wait_until(lambda: list(hosts(pair.a, User="app")) == [ask(other, "SELECT CONNECTION_ID()")], 10,
               lambda: f"only the other client is left on a: {pair.a.processlist()}")
    assert not dumps(pair.a)
    writer.move_to(pair.b)
    writer.stop()
    pool.stop()
    for client in (busy, idle):
        with pytest.raises(pymysql.Error):
            ask(client, "SELECT 1")
    assert ask(connect(one.port, version2("10.1.2.3", 1003)), "SELECT @@server_uuid") == pair.b.uuid
    assert one.status()["counters"]["invariant-violations"] == 0
    other.close()


def test_threads_of_a_killed_sluice_are_found_by_the_clients_addresses(pair, make, stream):
    """kill -9: a binlog thread stays on the server with the client's address; the next Sluice ends it, and no other."""
    one = make()
    reader, client = stream(one.port), connect(one.port, version2("10.1.2.3", 4567))
    other = stream(pair.a.port, server_id=9002)
    wait_until(lambda: len(dumps(pair.a)) == 2, 20, lambda: f"both readers read: {pair.a.processlist()}")
    before = dumps(pair.a)
    one.kill()
    reader.stop()
    assert dumps(pair.a) == before, "a binlog thread without a client ended by itself: nothing is shown here"
    one.start_ready()
    wait_until(lambda: len(dumps(pair.a)) == 1, 10, lambda: f"what the dead one left ends: {pair.a.processlist()}")
    assert other.is_running, "the reader that does not come through Sluice was ended"
    assert one.status()["delivered"]["known"], one.status()["delivered"]
    client.close()


def test_killed_in_the_drain_a_restart_ends_what_is_left(pair, make, stream, tmp):
    """Killed with the drain begun: the restart undoes; the same switch then passes, and nothing is left on a."""
    pause = PauseAt(tmp, "drain")
    one = make(environment=pause.environment, drain_timeout="1s")
    busy = connect(one.port, version2("10.1.2.3", 1002))
    ask(busy, "BEGIN")
    stream(one.port)
    wait_until(lambda: len(dumps(pair.a)) == 1, 20, "the reader reads")
    verb = one.launch_verb("switch", one.source_id, "b", "--yes", log=tmp / "verb.log")
    pause.wait()
    one.kill()
    one.processes.end(verb)
    one.start_ready(SLUICE_FAULT_PAUSE="")
    assert one.active == "a"
    one.switch("b")
    assert not dumps(pair.a) and not hosts(pair.a, User="app")


def test_damaged_file_of_connections_stops_switches_until_a_restart(make):
    """What a dead Sluice left could be anybody's: clients are served, no switch passes, and it is said what to do."""
    one = make()
    one.kill()
    (one.state / f"legs.{one.source_id}").write_bytes(b"x" * 4096)
    one.start_ready()
    result = one.switch("b", expect=3)
    assert "was damaged" in result.json["msg"] and "restart Sluice" in result.json["msg"]
    assert one.active == "a"
    one.restart()
    one.switch("b")


def test_bypass_check_names_readers_by_their_own_addresses(pair, make, stream):
    """Who reads through Sluice is fine and is named; who reads around it from the same address is a refusal."""
    one = make(consumer="manual")
    stream(one.port)
    wait_until(lambda: len(dumps(pair.a)) == 1, 20, "the reader reads")
    (thread, host), = dumps(pair.a).items()
    line, = [check for check in one.check("b", "--gtid-s=").json["checks"]
             if check["name"] == "bypass" and check["detail"].startswith("a:")]
    assert line["state"] == "ok" and f"through it: {thread} of repl from {host}" in line["detail"], line
    stream(pair.a.port, server_id=9002)
    wait_until(lambda: len(dumps(pair.a)) == 2, 20, "the second reader reads")
    around, = {key: value for key, value in dumps(pair.a).items() if key != thread}.items()
    line, = [check for check in one.check("b", "--gtid-s=").json["checks"]
             if check["name"] == "bypass" and check["detail"].startswith("a:")]
    assert line["state"] == "fail" and f"{around[0]} of repl from {around[1]}" in line["detail"], line
    assert f"{thread} of repl" not in line["detail"]


def test_server_that_demands_the_header_of_everybody(pair, make):
    """As Percona Server does: without send-own no probe gets in, and that is said; with it all is well."""
    pair.a.stop()
    pair.a.environment["SLUICE_TEST_PROXY_DEMAND"] = "1"
    pair.a.start()
    try:
        one = make(start=False, probe_timeout="1s").start()
        wait_until(lambda: one.status()["backends"][0]["error"], 20, "the probe fails")
        assert not one.status()["backends"][0]["reachable"]
        one.stop()
        one = make(own=True)
        client = connect(one.port, version2("10.1.2.3", 4567))
        assert hosts(pair.a)[ask(client, "SELECT CONNECTION_ID()")] == "10.1.2.3:4567"
        client.close()
        one.switch("b")
    finally:
        pair.a.stop()
        del pair.a.environment["SLUICE_TEST_PROXY_DEMAND"]
        pair.a.start()


def test_check_tells_of_a_server_that_reads_no_header(make):
    """MySQL's own server has no such variable: the check warns of it, whatever stands in for it here."""
    line, = [check for check in make().check("b").json["checks"] if check["name"] == "proxy-protocol"]
    assert line["state"] == "warn" and "proxy_protocol_networks" in line["detail"]
