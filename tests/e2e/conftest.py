# SPDX-License-Identifier: Apache-2.0
"""
Fixtures of the end-to-end tests.

    processes   starts processes; what a test started and left is a failure of that test
    pair        two servers, replicating from each other; writes go to a (pair.a) until the test promotes b
    trio        the same and pair.c, empty: a downstream
    sluice      makes a Sluice: sluice(pair, consumer=pair.c, hold_timeout="8s").start_ready()

Servers live as long as the file's tests and are reset before each of them.
"""
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

from sluicetest import Processes, Server, Sluice, circular, descendants, mysql_version, reset_all  # noqa: E402
from sluicetest.process import adopt_orphans  # noqa: E402


def pytest_report_header():
    """Name the server that the tests run against."""
    return f"mysqld: {mysql_version()}"


class Servers:
    """The servers of one file of tests, started when first asked for."""

    def __init__(self, folder, environment=None):
        self.folder, self.processes, self.environment = folder, Processes(), environment
        self.all = {}

    def get(self, *names):
        """Servers by name, running; those that are new start side by side."""
        new = [Server(name, self.folder, self.processes, environment=self.environment) for name in names
               if name not in self.all]
        for server in new:
            server.launch()
        for server in new:
            self.all[server.name] = server.wait_ready()
        return [self.all[name] for name in names]

    def __getattr__(self, name):
        try:
            return self.__dict__["all"][name]
        except KeyError as error:
            raise AttributeError(name) from error

    @property
    def backends(self):
        """{name: Server} as Sluice's constructor takes it."""
        return {"a": self.a, "b": self.b}

    def pids(self):
        """Of the servers that run."""
        return {server.pid for server in self.all.values() if server.is_running}


@pytest.fixture(scope="session")
def folder():
    """A short path (unix sockets allow 107 characters), removed at the end."""
    adopt_orphans()
    path = pathlib.Path(tempfile.mkdtemp(prefix="sluice-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def servers(folder):  # pylint: disable=redefined-outer-name
    """The servers of this file."""
    made = Servers(pathlib.Path(tempfile.mkdtemp(dir=folder)))
    yield made
    made.processes.end_all()
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
def tmp(folder):  # pylint: disable=redefined-outer-name
    """A short temporary directory of the test's own."""
    return pathlib.Path(tempfile.mkdtemp(dir=folder))


@pytest.fixture
def processes(servers, request):  # pylint: disable=redefined-outer-name
    """Starts processes, and proves at the end that none is left but the file's servers."""
    mine = Processes()
    yield mine
    left = {pid: command for pid, command in descendants().items() if pid not in servers.pids()}
    mine.end_all()
    assert not left, f"{request.node.name} left processes: {left}"


@pytest.fixture
def pair(servers, processes):  # pylint: disable=redefined-outer-name,unused-argument
    """a and b, empty, replicating from each other."""
    a, b = servers.get("a", "b")
    reset_all(a, b)
    circular(a, b)
    return servers


@pytest.fixture
def trio(servers, processes):  # pylint: disable=redefined-outer-name,unused-argument
    """a and b, empty, replicating from each other, and an empty c."""
    a, b, c = servers.get("a", "b", "c")
    reset_all(a, b, c)
    circular(a, b)
    return servers


@pytest.fixture
def sluice(processes, tmp):  # pylint: disable=redefined-outer-name
    """Makes Sluices in front of a pair; each is stopped at the end, and must have ended well."""
    made = []

    def make(servers=None, **how):  # pylint: disable=redefined-outer-name
        how.setdefault("backends", servers.backends if servers else None)
        made.append(Sluice(tmp / f"s{len(made)}", processes, **how))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):  # pylint: disable=unused-argument
    """A failed test shows what Sluice logged."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        made = item.funcargs.get("tmp") if hasattr(item, "funcargs") else None
        for log in sorted(pathlib.Path(made).glob("**/*.log")) if made else []:
            text = log.read_text(errors="replace").splitlines()[-200:]
            report.sections.append((str(log.name), "\n".join(text)))
