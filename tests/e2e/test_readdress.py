# SPDX-License-Identifier: Apache-2.0
"""The address from which DM reads is changed, with a stand-in for DM: nothing lost, and whatever fails is led back."""
import pathlib
import stat

import pytest
import yaml
from sluicetest import PauseAt, free_port, wait_until
from sluicetest.dm_stand_in import DmStandIn
from test_dm_switch import World

SHORT = {"hold_timeout": "3s", "drain_timeout": "1s", "connect_timeout": "2s", "pause_timeout": "8s",
         "catchup_timeout": "4s", "verify_timeout": "20s"}
SOURCE = """\
# 上游数据库 mysql-01, geheim-in-a-comment
source-id: mysql-01
enable-gtid: true
enable-relay: {relay}
from:
  host: 127.0.0.1   # 主机
  port: {port}
  user: dm
  password: "dm-secret"
"""
TASK = """\
name: {name}
task-mode: incremental
target-database: {{host: 127.0.0.1, port: 4000, user: root, password: "target-secret"}}
mysql-instances:
  - source-id: mysql-01
"""
SECRETS = ("dm-secret", "target-secret", "geheim-in-a-comment")


class Readdress(World):
    """A World of which DM reads from wherever a test wants."""

    def __init__(self, servers, proxy, dm, folder, relay):
        super().__init__(servers, proxy, dm)
        self.folder = pathlib.Path(folder)
        self.files = {}
        self.source_file = self.folder / "source.yaml"
        self.source_file.write_text(SOURCE.format(port=dm.from_port, relay="true" if relay else "false"), "utf-8")
        self.source_file.chmod(0o640)

    def task_file(self, name):
        """The user's file of a task."""
        path = self.folder / f"{name}.yaml"
        path.write_text(TASK.format(name=name), "utf-8")
        return path

    def words(self, port, *options, tasks=None):
        """The command line of a readdress to a port of this host."""
        names = sorted(self.dm.tasks) if tasks is None else tasks
        files = [word for name in names for word in ("--task-file", str(self.task_file(name)))]
        to = [] if port is None else ["--to", f"127.0.0.1:{port}"]
        return ["readdress", "mysql-01", *to, "--source-file", str(self.source_file), *files, "--yes", *options]

    def readdress(self, port, *options, expect=0, tasks=None, limit=60):
        """Do it; the result."""
        result = self.proxy.run(*self.words(port, *options, tasks=tasks), limit=limit, expect=expect)
        for secret in SECRETS:
            assert secret not in result.stdout + result.stderr + self.proxy.log.read_text(), secret
        return result

    def new_file(self, port):
        """The file that is written beside the old one."""
        return self.folder / f"source.127.0.0.1-{port}.yaml"

    def took_over(self, port):
        """From now on the new file is the source's."""
        self.source_file = self.new_file(port)
        return self

    def order_of_calls(self):
        """What was ordered of DM, in short."""
        names = []
        for call in self.dm.calls:
            if call[0] == "grpc":
                names.append(f"{call[1]}{'' if len(call) < 3 else call[2]}")
            elif call[0] in ("PUT", "POST"):
                names.append(f"{call[0]} {call[1].removeprefix('/apis/v1alpha1/')} {call[3].get('op', '')}".strip())
        return names

    def runs_as_before(self, names=("t1",), port=None):
        """Tasks, relay and validator run at |port|, and rows come."""
        def is_so():
            tasks = [self.dm.tasks.get(name) for name in names]
            return all(task and task.stage == "Running" for task in tasks)
        wait_until(is_so, 30, lambda: f"{names} run: {self.tell()}")
        assert port is None or self.dm.from_port == port
        if self.writer:
            self.writer.wait_rows(20)


@pytest.fixture(name="make")
def fixture_make(trio, sluice, tmp):
    """Makes it: make("a", relay=True): DM reads from server a itself; make("sluice"): through Sluice."""
    made = []

    def make(reads_from, relay=False, dm=None, **how):
        proxy = sluice(trio, consumer="none", **{**SHORT, **how})
        port = proxy.port if reads_from == "sluice" else trio.get(reads_from)[0].port
        stand_in = DmStandIn(port, trio.c, relay=relay, **(dm or {}))
        proxy.source["consumer"] = {"type": "dm", "master-addr": stand_in.address}
        made.append(Readdress(trio, proxy, stand_in, tmp, relay))
        proxy.start_ready()
        return made[-1]

    yield make
    for one in made:
        if one.writer and one.writer._thread.is_alive():  # pylint: disable=protected-access
            one.stop()
        one.dm.stop()


@pytest.mark.parametrize("relay, validator", [(False, ""), (True, "fast")], ids=["plain", "relay-and-validator"])
def test_onto_sluice_and_from_it(make, capsys, relay, validator):
    """From a plain address onto Sluice, switched there, and to a plain address of the other server; under writes."""
    run = make("a", relay=relay).start(validator=validator)
    result = run.readdress(run.proxy.port)
    assert result.json["switch"]["state"] == "done" and result.json["switch"]["from"] == run.servers.a.address
    run.runs_as_before(port=run.proxy.port)
    new = run.new_file(run.proxy.port)
    assert stat.S_IMODE(new.stat().st_mode) == 0o640
    assert new.read_text("utf-8") == run.source_file.read_text("utf-8").replace(f"port: {run.servers.a.port}",
                                                                                  f"port: {run.proxy.port}")
    assert run.dm.created[-1] == new.read_text("utf-8")
    run.took_over(run.proxy.port).switch("b")
    run.runs_as_before()
    steps = run.readdress(run.servers.b.port).json["switch"]["steps"]
    run.runs_as_before(port=run.servers.b.port)
    at = {step["phase"]: step["at-ms"] for step in reversed(steps)}  # when each phase began
    with capsys.disabled():
        print(f"\nreaddress, relay {relay}: DM read nothing for {at['resume'] - at['pause']} ms; all of it took "
              f"{steps[-1]['at-ms']} ms; began at {at}")
    wait_until(lambda: run.dm.relay.stage == ("Running" if relay else "Stopped"), 30, lambda: f"{run.tell()}")
    validators = run.dm.tasks["t1"].validator
    assert (validators.mode, validators.stage) == ((validator, "Running") if validator else ("", "Stopped"))
    run.compare(run.servers.b)
    run.sampler.stop()


def test_between_two_servers(make):
    """From one server to another, with a task that a person paused: it ends paused, the other one runs."""
    run = make("a").start(tasks=("t1", "t2"))
    run.dm.tasks["t2"].end("Paused")
    run.dm.calls.clear()
    run.readdress(run.servers.b.port)
    run.runs_as_before(port=run.servers.b.port)
    assert run.dm.tasks["t2"].stage == "Paused" and run.dm.tasks["t2"].is_canceled
    orders = [call for call in run.order_of_calls() if call.startswith("P")]
    assert orders == ["PUT tasks/t1 2", "PUT tasks/t1 7", "PUT tasks/t2 7", "PUT sources 3", "PUT sources 1",
                      "POST tasks", "POST tasks", "PUT tasks/t2 2"]
    run.writer.move_to(run.servers.b)
    run.dm.tasks["t2"].start()
    run.compare(run.servers.b)
