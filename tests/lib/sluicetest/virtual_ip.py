# SPDX-License-Identifier: Apache-2.0
"""
A virtual IP, played by a TCP relay: an address in front of one server, that can be moved to another. What the manual
of DM has in front of the upstream. New connections go where it points; those that are open stay where they are.
"""
import socket
import threading


class VirtualIp:
    """Listens on 127.0.0.1:|port| and connects to |server| from |source_address|, by which a Sampler tells it."""

    def __init__(self, port, server, source_address="127.0.0.3"):
        self.port, self._target, self._source = port, server.port, source_address
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self._open, self._lock, self._is_closed = set(), threading.Lock(), False
        threading.Thread(target=self._accept_all, daemon=True).start()

    def move(self, server):
        """New connections go to |server| from now on."""
        self._target = server.port

    def stop(self):
        """Close the port and all connections."""
        with self._lock:
            self._is_closed = True
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            for sock in self._open:
                _shut(sock)

    def _accept_all(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self._target), 10, (self._source, 0))
        except OSError:
            client.close()  # the server is away: so is its address
            return
        with self._lock:
            self._open |= {client, server}
            if self._is_closed:
                _shut(client)
        server.settimeout(None)
        back = threading.Thread(target=_copy, args=(server, client), daemon=True)
        back.start()
        _copy(client, server)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()


def _shut(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _copy(one, other):
    try:
        while data := one.recv(1 << 18):
            other.sendall(data)
    except OSError:
        pass
    _shut(one)
    _shut(other)
