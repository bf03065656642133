# SPDX-License-Identifier: Apache-2.0
"""What clients send in clear, COM_REGISTER_SLAVE with its password above all, is in no log and stays in no memory."""
import re
import secrets
import time

import pymysql
import pytest

from sluicetest import wait_until
from sluicetest.certificates import make_all
from sluicetest.server import PASSWORDS

COM_QUERY, COM_REGISTER_SLAVE = 0x03, 0x15


def packet(payload):
    """One packet of a client that begins a command."""
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def registration(password):
    """The payload of COM_REGISTER_SLAVE as go-mysql sends it."""
    words = (b"dm-worker", b"repl", password.encode())
    return (7001).to_bytes(4, "little") + b"".join(bytes([len(one)]) + one for one in words) + bytes(10)


def register(reader, password):
    """Send it, and read the server's OK."""
    # pylint: disable=protected-access
    reader._execute_command(COM_REGISTER_SLAVE, registration(password))
    assert reader._read_packet().is_ok_packet()


def places(pid, needle):
    """[(address, whether a core file would show it)] of each place in a process's memory that has |needle|."""
    found, regions = [], []
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as file:
        for line in file:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (r?)", line)
            if head:
                regions.append([int(head[1], 16), int(head[2], 16), bool(head[3]), True])
            elif line.startswith("Rss:"):
                regions[-1][2] = regions[-1][2] and int(line.split()[1]) > 0
            elif line.startswith("VmFlags:"):
                regions[-1][3] = " dd" not in line
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for first, end, is_there, is_dumped in regions:
            # ASan's shadow is terabytes of nothing, and holds no byte of the program's.
            if not is_there or end - first > 4 << 30:
                continue
            found += [(at, is_dumped) for at in search(memory, first, end, needle)]
    return found


def search(memory, first, end, needle):
    """Where in [first, end) the bytes are."""
    step, at = 16 << 20, first
    while at < end:
        try:
            memory.seek(at)
            data = memory.read(min(step + len(needle), end - at))
        except OSError:
            return
        here = data.find(needle)
        while here >= 0:
            yield at + here
            here = data.find(needle, here + 1)
        at += step


@pytest.fixture(name="one")
def fixture_one(pair, sluice):
    """Makes a Sluice that logs all it can."""
    def make(**how):
        one = sluice(pair, consumer="none", **how)
        one.serve_options = ("--log-level", "debug")
        return one.start_ready()

    return make


@pytest.fixture(name="tls")
def fixture_tls(tmp, pair):
    """The part of a configuration that ends TLS at Sluice, in front of servers that have it."""
    certs = make_all(tmp / "certs")
    for server in (pair.a, pair.b):
        for key, name in (("ssl_ca", "ca.pem"), ("ssl_cert", "server.pem"), ("ssl_key", "server.key")):
            server.set_global(key, str(certs / name))
        server.query("ALTER INSTANCE RELOAD TLS")
    return {"mode": "mirror", "cert": str(certs / "server.pem"), "key": str(certs / "server.key"),
            "backend-ca": str(certs / "ca.pem")}


def is_registered(server):
    """Whether the registration has come to a server's list of its replicas."""
    return 7001 in [row["Server_Id"] for row in server.query("SHOW REPLICAS")]


def check_nowhere(one, reader, secret):
    """It passed, and is neither in memory nor in the log, which has all that is ever logged of a session."""
    assert not places(one.pid, secret.encode())
    reader._force_close()  # pylint: disable=protected-access
    wait_until(lambda: re.search(r"\[DEBUG\].*session ended", one.log_text()), 10, "the session's end is logged")
    assert secret not in one.log_text()


def test_a_registration_is_forgotten_once_it_has_passed(pair, one):
    """In the server's list its server_id has arrived; of the password not a byte is left. The search itself works."""
    proxy, secret = one(), secrets.token_hex(12)
    reader = pair.a.connect("repl", port=proxy.port)
    register(reader, secret)
    assert is_registered(pair.a)
    assert [at for at, is_dumped in places(proxy.pid, proxy.source_id.encode()) if is_dumped]
    check_nowhere(proxy, reader, secret)


def test_a_registration_that_waits_is_in_no_core_file(pair, one):
    """Behind a KILL that waits for its turn: it is in memory then, where no core file shows it; and gone after that."""
    proxy, secret = one(), secrets.token_hex(12)
    reader = pair.a.connect("repl", port=proxy.port, read_timeout=30)
    reader._sock.sendall(packet(bytes([COM_QUERY]) + b"SELECT SLEEP(8)")  # pylint: disable=protected-access
                         + packet(bytes([COM_QUERY]) + b"KILL QUERY 4000000000")
                         + packet(bytes([COM_REGISTER_SLAVE]) + registration(secret)))
    wait_until(lambda: places(proxy.pid, secret.encode()), 6, "the registration waits in memory")
    assert not [at for at, is_dumped in places(proxy.pid, secret.encode()) if is_dumped]
    assert not is_registered(pair.a)
    wait_until(lambda: is_registered(pair.a), 20, "it has passed")
    time.sleep(0.1)
    check_nowhere(proxy, reader, secret)


def test_a_registration_by_tls_is_forgotten_too(pair, one, tls):
    """What TLS decrypted is wiped like the rest."""
    proxy, secret = one(tls=tls), secrets.token_hex(12)
    reader = pymysql.connect(host="127.0.0.1", port=proxy.port, user="repl", password=PASSWORDS["repl"],
                             ssl={"check_hostname": False, "verify_mode": "none"})
    assert reader._secure  # pylint: disable=protected-access
    register(reader, secret)
    check_nowhere(proxy, reader, secret)
