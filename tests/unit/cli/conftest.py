# SPDX-License-Identifier: Apache-2.0
"""A scripted daemon on a unix socket or on TCP, and the executable under test."""
import http.server
import json
import os
import pathlib
import socketserver
import subprocess
import tempfile
import threading
from collections import namedtuple

import pytest

SLUICE = os.environ["SLUICE_BIN"]
Result = namedtuple("Result", "code stdout stderr")


class Daemon:
    """
    Answers by a script: {"METHOD /path": answer}, where an answer is (status, object), or a function of the handler
    that writes what it likes. A list of answers is taken one after the other, the last one again and again. |requests|
    is what came: (method, path, headers, object).
    """

    def __init__(self, folder, is_tcp):
        self.script, self.requests = {}, []
        daemon = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One request."""

            protocol_version = "HTTP/1.1"

            def do_GET(self):  # pylint: disable=invalid-name
                """Answer by the script."""
                daemon.answer(self)

            do_POST = do_GET

            def address_string(self):
                return "client"

            def log_message(self, *_):
                pass

        if is_tcp:
            self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
            self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        else:
            path = str(folder / "admin.sock")
            self.server = socketserver.ThreadingUnixStreamServer(path, Handler)
            self.address = "unix:" + path
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def answer(self, handler):
        """Take the next answer of the script."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        self.requests.append((handler.command, handler.path, handler.headers, json.loads(body) if body else None))
        answer = self.script.get(f"{handler.command} {handler.path}",
                                 (404, {"result": False, "msg": "no such thing", "code": 1}))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer(handler)
        else:
            send(handler, answer[0], json.dumps(answer[1]).encode())

    def close(self):
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def send(handler, status, body, content_type="application/json"):
    """A whole answer."""
    handler.send_response(status)
    handler.send_header("Content-Type", content_type)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def stream(*events, split=None, until=None, after=b""):
    """An answer: |events| as server-sent events, in pieces of |split| bytes; then it waits for |until|, and ends."""

    def answer(handler):
        data = b": hello\n\n" + b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + after
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for at in range(0, len(data), split or len(data)):
            handler.wfile.write(data[at:at + (split or len(data))])
            handler.wfile.flush()
        if until is not None:
            until.wait(30)
        handler.close_connection = True

    return answer


def environment():
    """Ours, without what would lead to another daemon, or through a proxy."""
    env = {key: value for key, value in os.environ.items() if key != "SLUICE_ADMIN"}
    return {**env, "http_proxy": "http://127.0.0.1:9", "TZ": "UTC"}


def run(*words, env=None, stdin=subprocess.DEVNULL):
    """Run the executable to its end."""
    done = subprocess.run([SLUICE, *map(str, words)], env={**environment(), **(env or {})}, stdin=stdin, timeout=60,
                          capture_output=True, check=False)
    assert b"Sanitizer" not in done.stderr and b"runtime error" not in done.stderr, done.stderr.decode()
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(name="folder")
def fixture_folder():
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="sluice-cli-") as path:
        yield pathlib.Path(path)


@pytest.fixture(name="daemon")
def fixture_daemon(folder):
    """A scripted daemon on a unix socket."""
    daemon = Daemon(folder, False)
    yield daemon
    daemon.close()


@pytest.fixture(name="tcp_daemon")
def fixture_tcp_daemon(folder):
    """The same on TCP."""
    daemon = Daemon(folder, True)
    yield daemon
    daemon.close()
