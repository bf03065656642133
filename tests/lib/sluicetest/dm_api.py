# SPDX-License-Identifier: Apache-2.0
"""
The doors of the stand-in for DM: one port that takes HTTP/1.1 (grpc-gateway's JSON) and HTTP/2 (gRPC), as dm-master's
does, with or without TLS. The gRPC server is grpcio's; what it serves is bytes, so that the messages are written down
here a second time.
"""
import http.server
import json
import select
import socket
import ssl
import threading
import urllib.parse
from concurrent import futures

import grpc

from .ports import free_port

PREFACE = b"PRI * HTTP/2.0"


# Protobuf, as much as is needed: {field: value}; bytes for texts and messages, int for numbers; a list repeats the
# field.

def encode(message):
    """The bytes of a message."""
    def varint(number):
        data = b""
        while number > 0x7F:
            data += bytes([number & 0x7F | 0x80])
            number >>= 7
        return data + bytes([number])

    data = b""
    for field, values in message.items():
        for value in values if isinstance(values, list) else [values]:
            value = value.encode() if isinstance(value, str) else value
            if isinstance(value, bytes):
                data += varint(field << 3 | 2) + varint(len(value)) + value
            elif value:
                data += varint(field << 3) + varint(int(value))
    return data


def decode(data):
    """{field: [values]} of a message of varints and bytes."""
    at, found = 0, {}

    def varint():
        nonlocal at
        number, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        elif key & 7 == 2:
            length = varint()
            value, at = data[at:at + length], at + length
            assert len(value) == length, "a message that is cut"
        else:
            raise ValueError(f"wire type {key & 7}")
        found.setdefault(key >> 3, []).append(value)
    return found


class Doors:
    """
    Serves |master|: master.http(method, path, query, body) gives (status, object or text), master.grpc is {method:
    function of the decoded message that gives the encoded one}. |tls| is (ca, cert, key) paths: a client's
    certificate is then demanded.
    """

    def __init__(self, master, port=None, tls=None):
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._stop = threading.Event()
        self._http = _http_server(master)
        self._grpc, self._grpc_port = _grpc_server(master)
        self._tls = _tls_context(tls) if tls else None
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._listener.settimeout(0.1)
        self._open = set()
        self._threads = [threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True),
                         threading.Thread(target=self._accept, daemon=True)]
        for thread in self._threads:
            thread.start()

    def close(self):
        """Close the port and all connections; calls that are being answered are not waited for."""
        self._stop.set()
        self._listener.close()
        for sock in list(self._open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(0).wait(10)
        for thread in self._threads:
            thread.join(10)

    def _accept(self):
        while not self._stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except socket.timeout:
                continue
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        self._open.add(sock)
        behind = None
        try:
            sock.settimeout(30)
            first = b""
            if self._tls:
                self._open.discard(sock)
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._open.add(sock)
            while len(first) < len(PREFACE):
                more = sock.recv(65536)
                if not more:
                    return
                first += more
                if not PREFACE.startswith(first[:len(PREFACE)]):
                    break
            port = self._grpc_port if first.startswith(PREFACE) else self._http.server_address[1]
            behind = socket.create_connection(("127.0.0.1", port))
            behind.sendall(first)
            self._copy(sock, behind)
        except OSError:
            pass
        finally:
            self._open.discard(sock)
            sock.close()
            if behind:
                behind.close()

    def _copy(self, sock, behind):
        while not self._stop.is_set():
            pending = getattr(sock, "pending", lambda: 0)()
            ready = [sock] if pending else select.select([sock, behind], [], [], 0.1)[0]
            for one in ready:
                data = one.recv(65536)
                if not data:
                    return
                (behind if one is sock else sock).sendall(data)


def _tls_context(paths):
    ca, cert, key = map(str, paths)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def _http_server(master):
    class Handler(http.server.BaseHTTPRequestHandler):
        """Hands each request to the master."""
        protocol_version = "HTTP/1.1"

        def _answer(self):
            url = urllib.parse.urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            query = urllib.parse.parse_qs(url.query)
            status, answer = master.http(self.command, urllib.parse.unquote(url.path), query, body)
            data = answer if isinstance(answer, bytes) else json.dumps(answer, indent=2).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            try:
                self.wfile.write(data)
            except OSError:
                self.close_connection = True  # the caller's time was over

        do_GET = do_PUT = do_POST = do_DELETE = _answer

        def log_message(self, *args):  # pylint: disable=arguments-differ
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    return server


def _grpc_server(master):
    def handler(function):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: function(decode(request)))

    server = grpc.server(futures.ThreadPoolExecutor(8))
    handlers = {name: handler(function) for name, function in master.grpc.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("pb.Master", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
