# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for a broken server: what no real server can be told to do."""
import selectors
import socket
import threading
import time

from .ports import free_port
from .raw import reset
from .wait import wait_until


class BrokenServer:
    """
    A stand-in for a broken server: between Sluice and a real |server| (or none), at an address of its own.

    |mode|, to be changed at any time:
      "pass"    bytes go both ways, as if it were not there
      "silent"  accepts and says nothing, what came before stays open and silent too
      "drip"    what the server says comes a byte a |drip| seconds
      "reset"   the next bytes of the server come by half, then a RST; so with each new connection
    """

    def __init__(self, server=None, mode="pass", drip=1.0):
        self.server, self.mode, self.drip = server, mode, drip
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.accepted = 0
        self._pairs = []  # [client, server or None, bytes that drip, when the next may go]
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self._listener.setblocking(False)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def open(self):
        """Connections that are open on Sluice's side."""
        return len(self._pairs)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            self.accepted += 1
            behind = None
            try:
                behind = socket.create_connection(("127.0.0.1", self.server.port), timeout=10) if self.server else None
            except OSError:
                client.close()
                continue
            self._pairs.append([client, behind, b"", 0.0])

    def _end(self, pair, how=socket.socket.close):
        self._pairs.remove(pair)
        how(pair[0])
        if pair[1]:
            pair[1].close()

    def _from_server(self, pair):
        data = pair[1].recv(65536)
        if not data:
            self._end(pair)
        elif self.mode == "reset":
            pair[0].sendall(data[: max(1, len(data) // 2)])
            self._end(pair, reset)
        elif self.mode == "drip":
            pair[2] += data
        else:
            pair[0].sendall(pair[2] + data)
            pair[2] = b""

    def _from_client(self, pair):
        data = pair[0].recv(65536)
        if not data:
            self._end(pair)
        elif pair[1]:
            pair[1].sendall(data)

    def _drip(self, pair):
        if not pair[2] or time.monotonic() < pair[3]:
            return
        count = 1 if self.mode == "drip" else len(pair[2])
        pair[0].sendall(pair[2][:count])
        pair[2], pair[3] = pair[2][count:], time.monotonic() + self.drip

    def _turn(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            for pair in self._pairs:
                selector.register(pair[0], selectors.EVENT_READ, (pair, self._from_client))
                if pair[1] and self.mode != "silent":
                    selector.register(pair[1], selectors.EVENT_READ, (pair, self._from_server))
            for key, _ in selector.select(0.02):
                if key.data is None:
                    self._accept()
                elif key.data[0] in self._pairs:
                    self._guarded(*reversed(key.data))
        for pair in self._pairs[:]:
            self._guarded(self._drip, pair)

    def _guarded(self, action, pair):
        try:
            action(pair)
        except OSError:
            if pair in self._pairs:
                self._end(pair)

    def _run(self):
        while not self._stop.is_set():
            self._turn()

    def wait_closed(self, limit=30.0):
        """Wait until Sluice has let go of every connection."""
        wait_until(lambda: self.open == 0, limit, lambda: f"{self.open} connections to the stand-in end")

    def stop(self):
        """Close all."""
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the stand-in does not end"
        for pair in self._pairs[:]:
            self._end(pair)
        self._listener.close()
