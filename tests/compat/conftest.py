# SPDX-License-Identifier: Apache-2.0
"""
Fixtures of the tests of real clients: each client's own work is done directly and through the proxy, and must come
out the same.

    mode        "off", "mirror" and "passthrough": what the source does about TLS, and whether the client asks for it
    routes      the two ways to the server: routes.direct and routes.through; routes.compare(work) runs it on both
    build       the folder of what is built for these tests
"""
import importlib.util
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent


def _shared():
    """The fixtures of the end-to-end tests."""
    spec = importlib.util.spec_from_file_location("e2e_conftest", HERE.parent / "e2e" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


e2e = _shared()
from sluicetest import Processes, Server, Sluice  # noqa: E402  pylint: disable=wrong-import-position
from sluicetest.sluice import binary  # noqa: E402  pylint: disable=wrong-import-position
from sluicetest.certificates import make_all  # noqa: E402  pylint: disable=wrong-import-position

pytest_report_header = e2e.pytest_report_header
folder = e2e.folder

MODES = ("off", "mirror", "passthrough")
USER, PASSWORD = "compat", "compat-secret"
OTHER, OTHER_PASSWORD = "other", "other-secret"
OPTIONS = {"local-infile": "ON", "max-allowed-packet": "256M", "innodb-redo-log-capacity": "256M"}


class Route:
    """One way to the server, as a client's options."""

    def __init__(self, port, ca):
        self.host, self.port, self.ca = "127.0.0.1", port, ca
        self.user, self.password = USER, PASSWORD

    @property
    def mysql_options(self):
        """Options of the MySQL programs; the password goes by the environment."""
        tls = ["--ssl-mode=VERIFY_CA", f"--ssl-ca={self.ca}"] if self.ca else \
            ["--ssl-mode=DISABLED", "--get-server-public-key"]
        return [f"--host={self.host}", f"--port={self.port}", "--protocol=TCP", f"--user={self.user}", *tls]

    @property
    def mariadb_options(self):
        """Options of MariaDB's programs."""
        tls = ["--ssl", f"--ssl-ca={self.ca}"] if self.ca else ["--skip-ssl"]
        return [f"--host={self.host}", f"--port={self.port}", "--protocol=TCP", f"--user={self.user}", *tls]

    @property
    def environment(self):
        """The environment of a client: where to connect, and the secrets."""
        return {"MYSQL_PWD": self.password, "COMPAT_HOST": self.host, "COMPAT_PORT": str(self.port),
                "COMPAT_USER": self.user, "COMPAT_PASSWORD": self.password, "COMPAT_CA": str(self.ca or ""),
                "COMPAT_OTHER": OTHER, "COMPAT_OTHER_PASSWORD": OTHER_PASSWORD}


def difference(wanted, got):
    """The first place where two results differ, with a little around it."""
    wanted, got = (text if isinstance(text, str) else repr(text) for text in (wanted, got))
    at = next((i for i, (a, b) in enumerate(zip(wanted, got)) if a != b), min(len(wanted), len(got)))
    begin = max(at - 200, 0)
    return f"at {at} of {len(wanted)} and {len(got)}:\n{wanted[begin:at + 300]!r}\n{got[begin:at + 300]!r}"


class Routes:
    """The server a, directly and through a Sluice in front of it."""

    def __init__(self, server, proxy, mode, ca):
        self.server, self.proxy, self.mode = server, proxy, mode
        self.direct = Route(server.port, ca)
        self.through = Route(proxy.port, ca)

    def forget_logins(self):
        """The server forgets all logins: the next one of each account is a full one."""
        self.server.query("FLUSH NO_WRITE_TO_BINLOG PRIVILEGES")

    def compare(self, work, logins=("cold", "warm")):
        """
        work(route) directly, then through the proxy with the server's cache of logins cold, and with it warm. The
        results must be the same, and something; returns it.
        """
        self.forget_logins()
        wanted = work(self.direct)
        assert wanted, "the work came to nothing"
        self.forget_logins()
        for cache in logins:
            got = work(self.through)
            if got != wanted:  # not left to assert: it would look for all differences of 64 MB
                pytest.fail(f"through the proxy (tls {self.mode}, logins {cache}) the result is another: "
                            f"{difference(wanted, got)}")
        self.check()
        return wanted

    def run(self, command, stdin=None, limit=120):
        """compare() of a program: command(route) is its words. Returns its output."""
        def work(route):
            done = subprocess.run([str(word) for word in command(route)], env={**os.environ, **route.environment},
                                  input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                                  capture_output=True, timeout=limit, check=False,
                                  text=True, errors="surrogateescape")
            assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            return done.stdout
        return self.compare(work)

    def check(self):
        """The proxy understood all that passed."""
        counters = self.proxy.status()["counters"]
        assert counters["protocol-errors"] == 0 and counters["invariant-violations"] == 0, counters
        self.proxy.check_log()


@pytest.fixture(scope="session")
def build():
    """The folder of these tests in the build tree, kept between runs."""
    path = pathlib.Path(binary()).resolve().parent.parent / "tests" / "compat"
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def certificates(folder):  # pylint: disable=redefined-outer-name
    """A folder with certificates of a CA of our own."""
    return make_all(folder / "certificates")


@pytest.fixture(scope="session")
def processes():
    """Starts what lives as long as the file; nothing else may be left at the end."""
    mine = Processes()
    yield mine
    left = e2e.descendants(os.getpid())
    mine.end_all()
    assert not left, f"processes were left: {left}"


@pytest.fixture(scope="session")
def server(folder, processes, certificates):  # pylint: disable=redefined-outer-name
    """The server, with an account that may do all."""
    tls = {"ssl-ca": certificates / "ca.pem", "ssl-cert": certificates / "server.pem",
           "ssl-key": certificates / "server.key"}
    own = Processes()
    made = Server("a", pathlib.Path(tempfile.mkdtemp(dir=folder)), own, {**OPTIONS, **tls}).start()
    for user, password in ((USER, PASSWORD), (OTHER, OTHER_PASSWORD)):
        made.unlogged(f"CREATE USER {user}@'%' IDENTIFIED BY '{password}'", f"GRANT ALL ON *.* TO {user}@'%'")
    made.query("RESET BINARY LOGS AND GTIDS")
    yield made
    own.end_all()


@pytest.fixture(scope="session", params=MODES)
def mode(request):
    """What the source does about TLS."""
    return request.param


@pytest.fixture(scope="session")
def routes(mode, server, folder, certificates):  # pylint: disable=redefined-outer-name
    """The two ways, with a proxy of the mode."""
    tls = {} if mode == "off" else {"tls": {"mode": mode}}
    if mode == "mirror":
        tls["tls"].update({"cert": str(certificates / "server2.pem"), "key": str(certificates / "server2.key"),
                           "backend-ca": str(certificates / "ca.pem"), "verify": "ca"})
    own = Processes()
    where = pathlib.Path(tempfile.mkdtemp(dir=folder))
    proxy = Sluice(where, own, {"a": server}, **tls).start_ready()
    yield Routes(server, proxy, mode, None if mode == "off" else certificates / "ca.pem")
    proxy.stop()
    own.end_all()
    shutil.rmtree(where, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):  # pylint: disable=unused-argument
    """A failed test shows what Sluice logged."""
    outcome = yield
    report = outcome.get_result()
    made = item.funcargs.get("routes") if report.failed and hasattr(item, "funcargs") else None
    if made:
        report.sections.append((f"sluice, tls {made.mode}", made.proxy.log_tail(100)))
