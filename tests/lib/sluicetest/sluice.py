# SPDX-License-Identifier: Apache-2.0
"""Sluice itself: its configuration, its daemon, its command line."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
from collections import namedtuple

import yaml

from .ports import free_port, socket_path
from .process import descendants
from .server import LIB, PASSWORDS
from .wait import wait_until

TREE = LIB.parent.parent
SANITIZER = re.compile(r"(ERROR: \w+Sanitizer|runtime error: |Assertion .* failed|DEADLYSIGNAL)")

# TiDB's form of a line, and what a daemon that did not get to start tells the person at the shell.
QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\["\\n]|\\u[0-9a-f]{4})*"'
LOG_LINE = re.compile(r"\[\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d\d:\d\d\] \[(?:DEBUG|INFO|WARN|ERROR)\] "
                      rf'\[[a-z_]+\.c:\d+\] \[{QUOTED}\](?: \[[a-z_-]+=(?:[^\x00-\x20"=\[\]\\\x7f]+|{QUOTED})\])*')
LOG_KEYS = ["time", "level", "caller", "message"]  # of a line in JSON, in front of its own
PLAIN_LINE = re.compile(r"sluice: .*")


def has_form(line, log_format):
    """Whether a line of the log has the form of its format."""
    if log_format == "text":
        return bool(LOG_LINE.fullmatch(line))
    try:
        return list(json.loads(line))[:4] == LOG_KEYS
    except ValueError:
        return False


# What a verb did: its exit code, its object (None unless --json gave one), and the raw text.
Result = namedtuple("Result", "code json stdout stderr")


def binary():
    """The executable: $SLUICE_BIN, else the newest of the build directories of ./dev."""
    if os.environ.get("SLUICE_BIN"):
        return os.environ["SLUICE_BIN"]
    built = sorted((path for path in TREE.glob("build/*/**/sluice") if path.is_file() and os.access(path, os.X_OK)),
                   key=lambda path: path.stat().st_mtime)
    if not built:
        raise RuntimeError("no sluice was built: run ./dev build, or set SLUICE_BIN")
    return str(built[-1])


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Sluice:
    """
    One `sluice serve` with one source (more by changing |config| before start()).

    |backends| is {name: Server}; |consumer| the Server of a `replica` consumer, or "none" or "manual". Sluice's own
    legs and probes come from |source_address|, by which a Sampler tells them; None leaves the key out. |limits| are
    keys of the file with _ for -: hold_timeout="8s".
    """

    def __init__(self, folder, processes, backends, consumer="none", active=None, source_id="mysql-01", channel="",
                 source_address="127.0.0.2", environment=None, log_format="text", **limits):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.processes, self.source_id, self.environment = processes, source_id, dict(environment or {})
        self.port = free_port()
        self.socket = socket_path(self.folder / "admin.sock")
        self.file, self.log, self.state = self.folder / "sluice.yaml", self.folder / "sluice.log", self.folder / "state"
        self.runs, self.serve_options, self.log_format = 0, (), log_format
        self._process = None
        self._expect_exit = 0
        source = {
            "source-id": source_id,
            "listen": f"127.0.0.1:{self.port}",
            "account": self.account("sluice"),
            "active": active or next(iter(backends)),
            "backends": [{"name": name, "address": server.address} for name, server in backends.items()],
            "consumer": {"type": consumer} if isinstance(consumer, str) else
            {"type": "replica", "address": consumer.address, "account": self.account("consumer"),
             **({"channel": channel} if channel else {})},
            **({"source-address": source_address} if source_address else {}),
            **{key.replace("_", "-"): value for key, value in limits.items()},
        }
        self.config = {"admin": {"socket": self.socket}, "state-dir": str(self.state), "sources": [source]}

    @property
    def source(self):
        """The first source of the configuration, to be changed before start()."""
        return self.config["sources"][0]

    def account(self, user):
        """The `account` of a test account, its password in a file that only we can read."""
        path = self.folder / f"password-{user}"
        if not path.exists():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
                file.write(PASSWORDS[user] + "\n")
        return {"user": user, "password-file": str(path)}

    # The daemon.

    def write_config(self):
        """Write the file; start() does so too."""
        self.state.mkdir(exist_ok=True)
        self.file.write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")

    def launch(self, **environment):
        """Start the daemon and do not wait for it."""
        assert not self.is_running, "sluice runs already"
        self.write_config()
        self.runs += 1
        env = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1",
               **self.environment, **environment}
        words = [binary(), "serve", "-c", self.file, "--log-format", self.log_format, *self.serve_options]
        self._process = self.processes.start(words, log=self.log, env=env)
        return self

    def start(self, limit=20.0, **environment):
        """Start the daemon and wait until its admin socket answers."""
        self.launch(**environment)
        wait_until(self._answers, limit, lambda: f"sluice's admin socket answers; its log:\n{self.log_tail()}")
        return self

    def start_ready(self, limit=20.0, **environment):
        """Start it and wait until it routes clients: all sources are open."""
        self.start(limit, **environment)
        return self.wait_ready(limit)

    def wait_ready(self, limit=20.0):
        """Wait for 200 from /readyz."""
        wait_until(lambda: self.get("/readyz")[0] == 200, limit,
                   lambda: f"sluice is ready; status: {self.get('/v1/sources')}; its log:\n{self.log_tail()}")
        return self

    def _answers(self):
        if not self.is_running:
            raise RuntimeError(f"sluice ended with {self._process.returncode}:\n{self.log_tail()}")
        try:
            return self.get("/healthz")[0] == 200
        except OSError:
            return False

    @property
    def is_running(self):
        """Whether the daemon lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self):
        """The daemon's process id."""
        return self._process.pid

    def wait_exit(self, limit=20.0):
        """Wait until the daemon ends by itself; returns its exit code."""
        code = self._process.wait(limit)
        self.processes.end(self._process)
        return code

    def stop(self, limit=30.0):
        """SIGTERM, and all that must be true then: exit 0, no report of a sanitizer, no child left."""
        if self._process is None:
            return
        if self.is_running:
            children = descendants(self.pid)
            code = self.processes.end(self._process, signal.SIGTERM, limit)
            left = {pid: command for pid, command in children.items() if os.path.exists(f"/proc/{pid}")}
            assert not left, f"sluice left children: {left}"
            assert code == 0, f"sluice ended with {code} on SIGTERM:\n{self.log_tail()}"
        self._process = None
        self.check_log()

    def kill(self):
        """SIGKILL."""
        self.processes.end(self._process, signal.SIGKILL)

    def restart(self, **environment):
        """stop() and start_ready()."""
        self.stop()
        return self.start_ready(**environment)

    def signal(self, number):
        """Send a signal: SIGSTOP, SIGCONT, a first SIGTERM."""
        self._process.send_signal(number)

    def log_text(self):
        """All that was logged, by all runs."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines=60):
        """The end of the log."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def check_log(self):
        """Fails on a report of a sanitizer, a failed assertion, or a line that has not the form of the log."""
        found = SANITIZER.search(self.log_text())
        assert not found, f"sluice's log has '{found.group(0)}':\n{self.log_text()[found.start():][:6000]}"
        odd = [line for line in self.log_text().split("\n")[:-1]
               if not has_form(line, self.log_format) and not PLAIN_LINE.fullmatch(line)]
        assert not odd, f"{len(odd)} lines of sluice's log are not in the form '{self.log_format}': {odd[:3]}"

    # The command line.

    def command(self, *words):
        """The words of a verb's command, to run it as one likes."""
        return [binary(), *map(str, words)]

    def run(self, *words, limit=60.0, expect=None):
        """Run a verb with --json against this daemon; fails unless it exits with |expect|, if that is given."""
        done = subprocess.run(self.command(*words, "--json"), text=True, capture_output=True, timeout=limit,
                              env={**os.environ, "SLUICE_ADMIN": f"unix:{self.socket}"}, stdin=subprocess.DEVNULL,
                              check=False)
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            answer = None
        result = Result(done.returncode, answer, done.stdout, done.stderr)
        assert not SANITIZER.search(done.stderr), done.stderr
        assert expect is None or result.code == expect, \
            f"sluice {' '.join(map(str, words))}: exit {result.code}, wanted {expect}\n{done.stdout}\n{done.stderr}\n" \
            f"its log:\n{self.log_tail()}"
        return result

    def launch_verb(self, *words, log):
        """Start a verb in the background, its output in the file |log|. Returns the Popen, for processes.end()."""
        return self.processes.start(self.command(*words), log=log, env={"SLUICE_ADMIN": f"unix:{self.socket}"})

    def switch(self, to, *options, limit=60.0, expect=0):
        """`sluice switch SOURCE to --yes`."""
        return self.run("switch", self.source_id, to, "--yes", *options, limit=limit, expect=expect)

    def check(self, to, *options, expect=None):
        """`sluice check SOURCE to`."""
        return self.run("check", self.source_id, to, *options, expect=expect)

    def status(self):
        """This source's object in `sluice status --json`."""
        answer = self.run("status", expect=0).json
        return next(source for source in answer["sources"] if source["source-id"] == self.source_id)

    @property
    def active(self):
        """The active backend's name."""
        return self.status()["active"]

    # HTTP.

    def request(self, method, path, body=None):
        """(HTTP status, answer): the answer is parsed when it is JSON."""
        connection = _UnixConnection(self.socket)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
            answer = connection.getresponse()
            data = answer.read().decode()
            kind = answer.getheader("Content-Type") or ""
            return answer.status, json.loads(data) if "json" in kind and data else data
        finally:
            connection.close()

    def get(self, path):
        """GET."""
        return self.request("GET", path)

    def post(self, path, body=None):
        """POST."""
        return self.request("POST", path, body or {})

    def metrics(self):
        """{'name{label="x"}': value} of /metrics."""
        _, text = self.get("/metrics")
        found = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                found[name] = float(value)
        return found
