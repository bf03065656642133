# SPDX-License-Identifier: Apache-2.0
"""Clients that do not behave: each gets a clear end, nothing is left of it, and those beside it do not notice."""
import contextlib
import random
import resource
import selectors
import socket
import subprocess
import time

import pymysql
import pytest

from leaks import nothing_left, resident_kb
from sluicetest import wait_until
from sluicetest.raw import Good, connect, is_greeting, read_packet, refused, reset

BUFFER_BYTES = 2 * 65536  # what Sluice may keep of one session, both ways
SEED = 20260111
ER_CON_COUNT_ERROR = 1040


@pytest.fixture(name="one")
def fixture_one(pair, sluice):
    """A Sluice that routes to a; nobody is connected."""
    return sluice(pair).start_ready()


@contextlib.contextmanager
def undisturbed(one):
    """A client that behaves notices nothing, and nothing is left at the end."""
    with nothing_left(one):
        with Good(one.port) as good:
            yield good
    assert one.status()["counters"]["invariant-violations"] == 0


def drained(sock):
    """Read to the end, whatever comes and however it ends."""
    with contextlib.suppress(ConnectionError):
        while sock.recv(65536):
            pass


# Bytes that are no protocol, before the greeting, in its place and behind it, end the one connection and no other.
def test_garbage_ends_only_the_connection_it_came_on(one):
    draw = random.Random(SEED)
    with undisturbed(one) as good:
        for number in range(60):
            with connect(one.port) as sock:
                if number % 3:
                    assert is_greeting(read_packet(sock)[1])
                with contextlib.suppress(ConnectionError):
                    sock.sendall(draw.randbytes(draw.choice([1, 3, 4, 5, 37, 4000, 70000])))
                    sock.shutdown(socket.SHUT_WR)
                drained(sock)
        good.wait_queries(20)


# A command that is no command, after a login, is the server's to answer; the session goes on.
def test_unknown_command_is_answered_by_the_server(pair, one):
    with undisturbed(one):
        connection = pair.a.connect("app", port=one.port)
        with pytest.raises(pymysql.Error):
            connection._execute_command(0xF7, b"nonsense")  # pylint: disable=protected-access
            connection._read_packet()  # pylint: disable=protected-access
        connection._force_close()  # pylint: disable=protected-access


# A client that stops in the middle of a packet keeps its own session and nobody else's; when it goes, all goes.
def test_half_a_packet_keeps_only_its_own_session(one):
    with undisturbed(one) as good:
        socks = []
        for sent in (b"\x20", b"\x20\x00\x00", b"\x20\x00\x00\x01", b"\x20\x00\x00\x01\x85\xa6\xff\x19",
                     b"\xff\xff\xff\x01" + b"x" * 900000):
            sock = connect(one.port)
            assert is_greeting(read_packet(sock)[1])
            sock.settimeout(0.2)
            with contextlib.suppress(OSError):
                sock.sendall(sent)
            socks.append(sock)
        good.wait_queries(40)
        assert one.status()["counters"]["buffered-bytes"] <= BUFFER_BYTES * (len(socks) + 2)
        for sock in socks:
            sock.close()


# A client that never says who it is is ended by the server's connect_timeout, and told so by the end of its connection.
def test_silent_client_ends_with_the_servers_own_limit(pair, one):
    pair.a.set_global("connect_timeout", 2)
    with undisturbed(one) as good:
        socks = [connect(one.port) for _ in range(20)]
        for sock in socks:
            assert is_greeting(read_packet(sock)[1])
        for sock in socks:
            drained(sock)
            sock.close()
        good.wait_queries(20)


# A client that asks for 200 MB and never reads them costs two buffers, not 200 MB.
def test_client_that_never_reads_costs_two_buffers(pair, one):
    many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) " \
           "SELECT REPEAT('x', 1000000) FROM n"
    before_kb = resident_kb(one)
    with undisturbed(one) as good:
        lazy = [pair.a.connect("app", port=one.port) for _ in range(4)]
        for connection in lazy:
            connection._execute_command(3, many)  # pylint: disable=protected-access
        seen = {}

        def stands_still():
            counters = one.status()["counters"]
            stood = seen.get("buffered") == counters["buffered-bytes"] > 65536
            seen["buffered"] = counters["buffered-bytes"]
            return stood

        wait_until(stands_still, 30, lambda: f"the lazy clients stand still: {seen}", every=0.2)
        good.wait_queries(40)
        assert one.status()["counters"]["buffered-bytes"] <= BUFFER_BYTES * (len(lazy) + 2)
        assert resident_kb(one) - before_kb < 32 * 1024
        for connection in lazy:
            connection._force_close()  # pylint: disable=protected-access


# Nor does it hold up a switch: at drain-timeout it is ended, and the server that it read from is let go.
def test_client_that_never_reads_is_ended_by_a_switch(pair, sluice):
    one = sluice(pair, drain_timeout="200ms").start_ready()
    with nothing_left(one):
        lazy = pair.a.connect("app", port=one.port)
        lazy._execute_command(3, "SELECT REPEAT('x', 60000000)")  # pylint: disable=protected-access
        wait_until(lambda: one.status()["counters"]["buffered-bytes"] > 0, 20, "its answer has begun")
        result = one.switch("b").json["switch"]
        assert result["killed"] == 1 and result["hold-ms"] < 8000
        Good(one.port).stop()
        assert not [row for row in pair.a.processlist() if row["User"] == "app"]
        lazy._force_close()  # pylint: disable=protected-access


# Connect and close, connect and reset, by hundreds, routed and held: all counted, nothing left.
def test_port_scanner_leaves_nothing(one):
    def scan():
        for number in range(300):
            sock = connect(one.port)
            reset(sock) if number % 2 else sock.close()

    with undisturbed(one) as good:
        scan()
        good.wait_queries(20)
    one.run("hold", one.source_id, expect=0)
    with nothing_left(one):
        before = one.status()["counters"]
        scan()
        wait_until(lambda: one.status()["counters"]["hold-hangup"] >= before["hold-hangup"] + 300, 20,
                   lambda: f"all were seen to hang up: {one.status()['counters']}")


# Past max-sessions a client reads why, and what to do; the counter says how many did; a free place is given again.
def test_past_max_sessions_a_client_reads_why(pair, sluice):
    one = sluice(pair, max_sessions=4, hold_clients=2).start_ready()
    with nothing_left(one):
        with Good(one.port, reconnects=False) as good:
            inside = [pair.a.connect("app", port=one.port) for _ in range(3)]
            for _ in range(5):
                refusal = refused(one.port)
                assert refusal.errno == ER_CON_COUNT_ERROR
                assert refusal.text.startswith(f"sluice: source '{one.source_id}': Too many connections")
                assert "max-sessions" in refusal.text and "sluice status" in refusal.text
            assert one.status()["counters"]["hold-full"] == 5
            assert one.metrics()[f'sluice_sessions_ended_total{{source="{one.source_id}",how="hold-full"}}'] == 5
            inside.pop().close()
            wait_until(lambda: one.status()["sessions"] == 3, 10, "a place is free")
            pair.a.connect("app", port=one.port).close()
            good.wait_queries(10)
            for connection in inside:
                connection.close()


# Past hold-clients likewise, at once and not after hold-timeout; those who wait are served in the end.
def test_past_hold_clients_a_client_reads_why(pair, sluice):
    one = sluice(pair, hold_clients=3, hold_timeout="19s").start_ready()
    with nothing_left(one):
        with Good(one.port, reconnects=False) as good:
            one.run("hold", one.source_id, expect=0)
            waiting = [connect(one.port) for _ in range(3)]
            wait_until(lambda: one.status()["held"] == 3, 10, "three are held")
            for _ in range(4):
                refusal = refused(one.port)
                assert refusal.errno == ER_CON_COUNT_ERROR and "hold-clients" in refusal.text
                assert "held by hand" in refusal.text and "sluice status" in refusal.text
            assert one.status()["counters"]["hold-full"] == 4
            good.wait_queries(10)
            one.run("release", one.source_id, expect=0)
            for sock in waiting:
                assert is_greeting(read_packet(sock)[1])
                sock.close()


# With no descriptor left each client still reads an error packet or is served: nobody meets a silent end.
def test_no_descriptor_left_is_told_and_counted(one):
    with nothing_left(one):
        with Good(one.port, reconnects=False) as good:
            old = resource.prlimit(one.pid, resource.RLIMIT_NOFILE)
            used = max(int(name) for name in subprocess.check_output(["ls", f"/proc/{one.pid}/fd"], text=True).split())
            resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (used + 12, old[1]))
            socks = [connect(one.port) for _ in range(60)]
            served, told = 0, 0
            for sock in socks:
                packet = read_packet(sock)
                assert packet is not None, "a silent end"
                if is_greeting(packet[1]):
                    served += 1
                else:
                    assert packet[1][:3] == b"\xff" + ER_CON_COUNT_ERROR.to_bytes(2, "little")
                    assert b"file descriptor" in packet[1] and b"LimitNOFILE" in packet[1]
                    told += 1
            assert served > 0 and told > 0, (served, told)
            good.wait_queries(20)
            for sock in socks:
                sock.close()
            resource.prlimit(one.pid, resource.RLIMIT_NOFILE, old)
            wait_until(lambda: one.status()["counters"]["emfile"] >= told, 20,
                       lambda: f"{told} are counted: {one.status()['counters']}")


# What the file asks for and the system does not give is told at the start, with what to do.
def test_limits_that_do_not_fit_the_descriptors_are_refused_at_start(pair, sluice):
    one = sluice(pair, max_sessions=5000, hold_clients=1000)
    one.write_config()
    done = subprocess.run(["prlimit", "--nofile=300:300", *one.command("serve", "-c", one.file)], text=True,
                          capture_output=True, timeout=30, check=False)
    assert done.returncode in (1, 2), done.stderr
    assert "LimitNOFILE" in done.stderr and "max-sessions" in done.stderr and "300" in done.stderr


def crowd(port, count, limit):
    """|count| clients at once; returns those that are connected, all within |limit| seconds."""
    socks, deadline = [], time.monotonic() + limit
    with selectors.DefaultSelector() as selector:
        for _ in range(count):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            selector.register(sock, selectors.EVENT_WRITE)
        while len(socks) < count:
            assert time.monotonic() < deadline, f"{len(socks)} of {count} are connected"
            for key, _ in selector.select(1):
                selector.unregister(key.fileobj)
                assert key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                socks.append(key.fileobj)
    return socks


def first_packets(socks, limit):
    """{"greeting": n, errno: n, "silent end": n, "nothing": n} of clients, each of which is closed when it has read."""
    found, deadline = {}, time.monotonic() + limit
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(1):
                selector.unregister(key.fileobj)
                with key.fileobj as sock:
                    sock.settimeout(10)
                    packet = read_packet(sock)
                kind = "silent end" if packet is None else "greeting" if is_greeting(packet[1]) else \
                    int.from_bytes(packet[1][1:3], "little")
                found[kind] = found.get(kind, 0) + 1
        if selector.get_map():
            found["nothing"] = len(selector.get_map())
    return found


# Ten thousand clients at once (or as many as the descriptors of this machine allow) are all held, and all are answered.
def test_thousands_of_clients_at_once_are_held_and_answered(pair, sluice, capsys):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(10000, (hard - 300) // 3)
    try:
        one = sluice(pair, hold_clients=count, max_sessions=count + 1, hold_timeout="19s").start_ready()
        with nothing_left(one):
            with Good(one.port, reconnects=False) as good:
                one.run("hold", one.source_id, expect=0)
                began = time.monotonic()
                socks = crowd(one.port, count, 60)
                wait_until(lambda: one.status()["counters"]["held"] >= count, 60,
                           lambda: f"{count} began to wait: {one.status()}")
                held = one.status()["held"]
                good.wait_queries(10)
                one.run("release", one.source_id, expect=0)
                answers = first_packets(socks, 60)
                seconds = time.monotonic() - began
        with capsys.disabled():
            print(f"\n{count} clients at once (limit of descriptors {hard}): {held} held together, "
                  f"answered with {answers} within {seconds:.1f} s")
        assert sum(answers.values()) == count
        # Greetings; the server's own "too many connections"; on a slow machine the end of the longest wait.
        assert set(answers) <= {"greeting", ER_CON_COUNT_ERROR, 1105} and answers["greeting"] > 100, answers
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
