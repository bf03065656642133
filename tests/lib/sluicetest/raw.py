# SPDX-License-Identifier: Apache-2.0
"""The protocol with bare hands: clients that do not behave, and what exactly a client reads."""
import socket
import struct
import threading
import time
from collections import namedtuple

import pymysql

from .server import PASSWORDS
from .wait import wait_until

# An error packet: its number, its text as it came (a "#sqlstate" included), and how long the client waited for it.
Refusal = namedtuple("Refusal", "errno text waited")
RST = struct.pack("ii", 1, 0)  # SO_LINGER: close with a RST


def connect(port, host="127.0.0.1", limit=30.0):
    """A connected socket that has neither sent nor read a byte."""
    return socket.create_connection((host, port), timeout=limit)


def reset(sock):
    """Close with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
    sock.close()


def read_exactly(sock, count):
    """|count| bytes, fewer where the peer ends."""
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            break
        data += more
    return data


def read_packet(sock):
    """(sequence number, payload) of one packet; None where the peer closed instead."""
    head = read_exactly(sock, 4)
    if not head:
        return None
    assert len(head) == 4, f"half a header: {head!r}"
    length = int.from_bytes(head[:3], "little")
    payload = read_exactly(sock, length)
    assert len(payload) == length, f"half a packet: {head!r} {payload!r}"
    return head[3], payload


def is_greeting(payload):
    """Whether a packet is a server's greeting."""
    return payload[:1] == b"\x0a"


def read_refusal(sock, began=None):
    """The error packet that comes in the place of a greeting, and the end behind it; fails on anything else."""
    began = time.monotonic() if began is None else began
    packet = read_packet(sock)
    assert packet is not None, "a silent end"
    number, payload = packet
    waited = time.monotonic() - began
    assert number == 0 and payload[:1] == b"\xff", f"no error packet: {number} {payload!r}"
    assert sock.recv(1) == b"", "more behind the error packet"
    return Refusal(int.from_bytes(payload[1:3], "little"), payload[3:].decode(), waited)


def refused(port, host="127.0.0.1"):
    """Connect, and read the refusal."""
    began = time.monotonic()
    with connect(port, host) as sock:
        return read_refusal(sock, began)


class Good:
    """
    A client that behaves: queries without pause on one connection that it keeps, and on a new one now and then. It must
    not notice what others do; stop() fails if it did.
    """

    def __init__(self, port, host="127.0.0.1", user="app", reconnects=True):
        self.queries, self.connects, self.error = 0, 0, None
        self._where = {"host": host, "port": port, "user": user, "password": PASSWORDS[user]}
        self._reconnects = reconnects
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.wait_queries(5)

    def _connect(self):
        return pymysql.connect(**self._where, connect_timeout=30, read_timeout=30)

    @staticmethod
    def _ask(connection):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == ((1,),)

    def _run(self):
        try:
            kept = self._connect()
            while not self._stop.is_set():
                self._ask(kept)
                self.queries += 1
                if self._reconnects and self.queries % 5 == 0:
                    short = self._connect()
                    self._ask(short)
                    short.close()
                    self.connects += 1
                self._stop.wait(0.005)
            kept.close()
        except (pymysql.Error, OSError, AssertionError) as error:
            self.error = error

    def wait_queries(self, more, limit=30.0):
        """|more| queries from now on succeed."""
        target = self.queries + more
        wait_until(lambda: self.error or self.queries >= target, limit, lambda: f"{more} more queries of a good client")
        assert self.error is None, f"a client that behaves was disturbed: {self.error!r}"

    def stop(self):
        """End; fails if the client was ever disturbed."""
        if self.error is None:
            self.wait_queries(5)
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the good client does not end"
        assert self.error is None, f"a client that behaves was disturbed: {self.error!r}"

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        else:
            self._stop.set()
            self._thread.join(60)
