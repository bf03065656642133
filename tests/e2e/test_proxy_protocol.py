# SPDX-License-Identifier: Apache-2.0
"""
PROXY headers of clients.

The load balancer's address is 127.0.0.9, of a listed network; other clients come from 127.0.0.1.
"""
import contextlib
import shutil
import socket
import threading
import time

import pymysql
import pytest
from leaks import nothing_left
from sluicetest import World, wait_until
from sluicetest.certificates import make_all
from sluicetest.proxy_header import LOCAL, UNKNOWN, ask, connect, dial, tlv, version1, version2
from sluicetest.raw import Good, is_greeting, read_packet, read_refusal

LISTED = ["127.0.0.8/29", "fd00:9::/64"]
CLIENT = ("10.1.2.3", 4567)


@pytest.fixture(name="one")
def fixture_one(pair, sluice):
    """A Sluice that routes to a, and takes headers from the load balancer's network."""
    return sluice(pair, proxy_protocol={"accept-from": LISTED}, drain_timeout="300ms", hold_timeout="6s").start_ready()


def clients(one):
    """What the status of this one source lists."""
    status, answer = one.get(f"/v1/sources/{one.source_id}")
    assert status == 200
    return answer["source"]["clients"]


def wait_client(one, **wanted):
    """Wait for a client that is as |wanted|; returns it."""
    found = []

    def is_there():
        found[:] = [client for client in clients(one) if wanted.items() <= client.items()]
        return found

    wait_until(is_there, 10, lambda: f"a client {wanted} is there: {clients(one)}")
    return found[0]


# ---- who sends one ----


@pytest.mark.parametrize("header, shown", [
    (version1(*CLIENT), "10.1.2.3:4567"),
    (version1("2001:db8::9", 4000), "2001:db8::9:4000"),
    (version2(*CLIENT), "10.1.2.3:4567"),
    (version2("2001:db8::9", 4000), "2001:db8::9:4000"),
    (version2(*CLIENT, tlvs=tlv(3, b"crc!") + tlv(4, b"") + tlv(0x20, b"x" * 300)), "10.1.2.3:4567"),
], ids=["v1", "v1-tcp6", "v2", "v2-inet6", "v2-tlvs"])
def test_client_behind_a_load_balancer_is_who_the_header_says(pair, one, header, shown):
    """It works as any other, and the status names it, with the load balancer beside it and its thread on the server."""
    client = connect(one.port, header)
    thread = ask(client, "SELECT CONNECTION_ID()")
    assert ask(client, "SELECT @@server_uuid") == pair.a.uuid
    seen = wait_client(one, client=shown)
    assert seen["via"].startswith("127.0.0.9:")
    assert (seen["thread"], seen["backend"], seen["epoch"], seen["user"]) == (thread, "a", one.status()["epoch"], "app")
    assert seen["phase"] == "command" and not seen["stream"]
    code, text = World(pair, one).text("status", one.source_id)
    assert code == 0 and shown in text and "VIA" in text
    assert one.status()["counters"]["proxy-headers"] == 1
    assert one.metrics()[f'sluice_proxy_headers_total{{source="{one.source_id}"}}'] == 1
    client.close()


@pytest.mark.parametrize("header", [LOCAL, UNKNOWN, LOCAL[:-1] + b"\x05hello"], ids=["local", "unknown", "local-more"])
def test_health_check_is_itself(one, header):
    """A header that tells nobody leaves the connection's own address."""
    client = connect(one.port, header)
    assert ask(client, "SELECT 1") == 1
    seen, = clients(one)
    assert seen["client"].startswith("127.0.0.9:") and seen["via"] is None
    client.close()


def test_client_of_no_listed_network_needs_none_and_may_not_send_one(one):
    """Without a header it works; with one it breaks the protocol, as with any bytes in front of the greeting."""
    with nothing_left(one):
        with Good(one.port):
            with dial(one.port, version1(*CLIENT), bind="127.0.0.1") as sock:
                assert is_greeting(read_packet(sock)[1])
                with contextlib.suppress(ConnectionError):
                    while sock.recv(4096):
                        pass
    counters = one.status()["counters"]
    assert counters["protocol-errors"] == 1 and counters["proxy-headers"] == counters["proxy-headers-refused"] == 0


# ---- who does not ----


@pytest.mark.parametrize("sent, why, at_once", [
    (b"", "nothing came in time", False),
    (version1(*CLIENT)[:-1], "it was not whole in time", False),
    (version2(*CLIENT)[:20], "it was not whole in time", False),
    (b"\x20\0\0\1\x85\xa6\xff\x19" + b"x" * 30, "what came is no PROXY header", True),
    (b"PROXY UNKNOWN " + b"x" * 200, "does not end within 107 bytes", True),
    (b"PROXY TCP4 10.1.2.3 10.0.0.1 4567 99999\r\n", "a port of version 1", True),
    (version2(*CLIENT, tlvs=b"x" * 10000), "longer than 4112 bytes", True),
    (version2(*CLIENT, tlvs=b"\3\xff\xffx"), "a TLV of version 2", True),
], ids=["silence", "half-v1", "half-v2", "garbage", "long-line", "bad-port", "10-kb", "bad-tlv"])
def test_missing_or_wrong_header_is_told_and_closed(one, sent, why, at_once):
    """The sender reads why in the place of a greeting; the log names it; it is counted; others do not notice."""
    with nothing_left(one):
        with Good(one.port) as good:
            began = time.monotonic()
            with dial(one.port, sent) as sock:
                refusal = read_refusal(sock, began)
            good.wait_queries(5)
    assert refusal.errno == 1105 and why in refusal.text and "PROXY header" in refusal.text
    assert refusal.waited < 2 if at_once else 2.5 < refusal.waited < 10
    line, = [line for line in one.log_text().splitlines() if "no valid PROXY header came" in line]
    assert "[client=127.0.0.9]" in line and why in line and "accept-from" in line
    assert one.status()["counters"]["proxy-headers-refused"] == 1


def test_tries_of_the_port_leave_nothing(one):
    """A load balancer that only connects and hangs up, a hundred times; and one that gives up half-way."""
    with nothing_left(one):
        for number in range(100):
            dial(one.port, version1(*CLIENT)[:number % 30]).close()
        wait_until(lambda: one.status()["counters"]["proxy-headers-refused"] == 100, 20, "all were noticed")


# ---- held, secured, moved ----


def test_held_client_is_known_by_its_header(pair, one):
    """The header is read while clients are held: who waits is named, and is served when they are released."""
    one.run("hold", one.source_id, expect=0)
    found = []

    def wait():
        found.append(ask(connect(one.port, version2(*CLIENT)), "SELECT @@server_uuid"))

    thread = threading.Thread(target=wait)
    silent = dial(one.port)
    thread.start()
    seen = wait_client(one, client="10.1.2.3:4567", phase="held")
    assert seen["thread"] is None and seen["backend"] is None
    assert wait_client(one, phase="proxy-header")["client"].startswith("127.0.0.9:")
    assert one.status()["held"] == 1
    one.run("release", one.source_id, expect=0)
    thread.join(30)
    assert found == [pair.a.uuid]
    silent.close()


def test_held_client_is_told_and_logged_by_its_own_address(pair, sluice):
    """Its wait expires as any other's, counted from when it came."""
    one = sluice(pair, proxy_protocol={"accept-from": LISTED}, hold_timeout="1500ms", drain_timeout="100ms",
                 connect_timeout="1s").start_ready()
    one.run("hold", one.source_id, expect=0)
    began = time.monotonic()
    with dial(one.port, version1(*CLIENT)) as sock:
        refusal = read_refusal(sock, began)
    assert "waited" in refusal.text and 1.4 < refusal.waited < 5
    assert any("client wait expired" in line and "[client=10.1.2.3] [port=4567]" in line
               for line in one.log_text().splitlines())


def test_tls_behind_a_header_is_untouched(folder, pair, sluice, tmp):
    """Client and server both speak TLS, verified; the header in front of it was read and no byte more."""
    certs = make_all(folder / "certs-proxy")
    for key, name in {"ssl_ca": "ca.pem", "ssl_cert": "server.pem", "ssl_key": "server.key"}.items():
        pair.a.set_global(key, str(certs / name))
    pair.a.query("ALTER INSTANCE RELOAD TLS")
    for suffix in ("pem", "key"):
        shutil.copy(certs / f"server.{suffix}", tmp / f"own.{suffix}")
    tls = {"mode": "require", "cert": tmp / "own.pem", "key": tmp / "own.key", "backend-ca": certs / "ca.pem"}
    one = sluice(pair, proxy_protocol={"accept-from": LISTED}, tls={key: str(value) for key, value in tls.items()})
    one.start_ready()
    for header in (version1(*CLIENT), version2(*CLIENT, tlvs=tlv(0x20, b"y" * 3000))):
        client = connect(one.port, header, ssl={"ca": str(certs / "ca.pem")})
        assert ask(client, "SHOW SESSION STATUS LIKE 'Ssl_cipher'") != ""
        wait_client(one, client="10.1.2.3:4567", phase="command")
        client.close()


def test_switch_moves_clients_behind_a_load_balancer(pair, one):
    """Idle ones are closed, a busy one is killed and logged by its own address, new ones are on b in the new epoch."""
    idle, busy = (connect(one.port, version2("10.1.2.3", port)) for port in (1001, 1002))
    ask(busy, "BEGIN")
    epoch = one.status()["epoch"]
    result = one.switch("b").json["switch"]
    assert result["closed-idle"] == 1 and result["killed"] == 1
    for client in (idle, busy):
        with pytest.raises(pymysql.Error):
            ask(client, "SELECT 1")
    line, = [line for line in one.log_text().splitlines() if "session killed by the drain" in line]
    assert "[client=10.1.2.3] [port=1002]" in line
    assert not [row for row in pair.a.processlist() if row["User"] == "app"]
    client = connect(one.port, version1(*CLIENT))
    assert ask(client, "SELECT @@server_uuid") == pair.b.uuid
    seen = wait_client(one, client="10.1.2.3:4567")
    assert seen["backend"] == "b" and seen["epoch"] == epoch + 1
    client.close()


def test_list_of_clients_is_bounded(one):
    """Two hundred are listed, more are counted."""
    socks = [dial(one.port, version1("10.2.0.1", 1000 + number)) for number in range(230)]
    wait_until(lambda: one.status()["sessions"] == 230, 30, "all have a session")
    listed = clients(one)
    assert len(listed) == 200 and len({client["client"] for client in listed}) == 200
    for sock in socks:
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()
    wait_until(lambda: one.status()["sessions"] == 0, 30, "all have gone")
