# SPDX-License-Identifier: Apache-2.0
"""The address from which DM reads is changed, with a stand-in for DM: nothing lost, and whatever fails is led back."""
import pathlib
import stat

import pytest
import yaml
from sluicetest import PauseAt, free_port, wait_until
from sluicetest.dm_api import encode
from sluicetest.dm_stand_in import DmStandIn
from test_admin_openapi import api_of, source_path
from test_dm_api import recorded, same
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


def test_answers_equal_those_of_a_real_dm(trio):
    """The stand-in's own: stop-task, operate-source, start-task, each at the moment at which it was recorded."""
    trio.a.query("CREATE TABLE test.t (k BIGINT PRIMARY KEY)")
    dm = DmStandIn(trio.a.port, trio.c, relay=True, flush_s=0.1)
    try:
        # The recorded file names port 3400 and another password.
        dm.ports[3400] = trio.a.port
        for name in ("08-create-source", "09-create-source-again"):
            assert "port: 3400" in recorded(name)[0]["body"]["config"][0]
        task = dm.add_task("t1")
        wait_until(lambda: task.flushed and task.stage == "Running", 20, lambda: f"it runs: {task.failure}")
        same(dm, "40-stop-source-while-task-exists")
        same(dm, "41-stop-task-with-relay")
        same(dm, "42-stop-source-while-relay-runs")
        same(dm, "07-members-no-source")
        same(dm, "43-start-task-2")
        dm.check_upstream = False
        same(dm, "08-create-source")
        same(dm, "09-create-source-again")
        same(dm, "10-show-source")
        same(dm, "11-start-task")
        same(dm, "12-start-task-again")
        same(dm, "02-stop-task")
        same(dm, "06-stop-source")
    finally:
        dm.stop()


def test_whole_order_is_described_in_the_api(make):
    """Every event and record of an address change is as conf/openapi.yaml says, also of one that is refused."""
    run = make("a").start()
    api, path = api_of(run.proxy), source_path(run.proxy, "readdress")
    order = {"to": run.servers.b.address, "source-file": run.source_file.read_text("utf-8"),
             "task-files": [run.task_file("t1").read_text("utf-8")]}
    assert len(api.post(path, {**order, "dry-run": True})["calls"]) == 5
    number = api.post(path, order, status=202)["switch"]
    events = list(api.events(number))
    assert events[-1]["type"] == "end" and events[-1]["result"], events[-1]
    assert api.get(f"/v1/switches/{number}")["switch"]["options"]["kind"] == "readdress"
    number = api.post(path, order, status=202)["switch"]
    assert list(api.events(number))[-1]["code"] == 3
    assert len(api.get(source_path(run.proxy, "history"))["switches"]) == 2
    api.post(path, {**order, "undo": True}, 400)


@pytest.mark.parametrize("relay, validator", [(False, ""), (True, "fast")], ids=["plain", "relay-and-validator"])
def test_onto_sluice_and_from_it(make, capsys, relay, validator):
    """From a plain address onto Sluice, switched there, and to a plain address of the other server; under writes."""
    run = make("a", relay=relay).start(validator=validator)
    result = run.readdress(run.proxy.port)
    assert result.json["switch"]["state"] == "done" and result.json["switch"]["from"] == run.servers.a.address
    run.runs_as_before(port=run.proxy.port)
    new = run.new_file(run.proxy.port)
    assert stat.S_IMODE(new.stat().st_mode) == 0o640
    before, after = f"port: {run.servers.a.port}", f"port: {run.proxy.port}"
    assert new.read_text("utf-8") == run.source_file.read_text("utf-8").replace(before, after)
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


def test_relay_and_validators_that_rest_stay_so(make):
    """A relay paused by a person, a validator that was stopped: as they were, at the new address."""
    run = make("a", relay=True).start(validator="full")
    run.dm.tasks["t1"].validator.end("Stopped")
    run.dm.relay.end("Paused")
    run.dm.tasks["t1"].end("Paused")
    run.readdress(run.servers.b.port)
    assert run.dm.tasks["t1"].stage == "Paused" and run.dm.relay.stage == "Paused"
    assert run.dm.tasks["t1"].validator.stage == "Stopped"
    assert run.dm.from_port == run.servers.b.port


def test_dry_run_prints_the_calls_and_does_nothing(make):
    """Checks, then each call with its body, secrets masked; DM is asked and not ordered."""
    run = make("a", relay=True).start(validator="full")
    run.dm.calls.clear()
    result = run.readdress(run.servers.b.port, "--dry-run")
    paths = [f"{call['method']} {call['path']}" for call in result.json["calls"]]
    assert paths == ["gRPC /pb.Master/OperateWorkerRelayTask", "gRPC /pb.Master/StopValidation",
                     "PUT /apis/v1alpha1/tasks/t1", "PUT /apis/v1alpha1/tasks/t1", "gRPC /pb.Master/OperateRelay",
                     "PUT /apis/v1alpha1/sources", "PUT /apis/v1alpha1/sources", "gRPC /pb.Master/OperateRelay",
                     "POST /apis/v1alpha1/tasks", "gRPC /pb.Master/StartValidation", "gRPC /pb.Master/OperateRelay"]
    created = yaml.safe_load(result.json["calls"][6]["body"]["config"][0])
    assert created["from"] == {"host": "127.0.0.1", "port": run.servers.b.port, "user": "dm", "password": "******"}
    ordered = ("P", "StartV", "StopV", "Operate")
    assert not [call for call in run.order_of_calls() if call.startswith(ordered)]
    assert not run.new_file(run.servers.b.port).exists()
    assert run.proxy.status()["readdress"] is None
    code, text = run_text(run, *run.words(run.servers.b.port, "--dry-run"))
    assert code == 0 and "it would begin; nothing was done" in text and not [one for one in SECRETS if one in text]


def run_text(run, *words):
    """(exit code, what a person reads)."""
    log = run.folder / f"verb-{len(list(run.folder.iterdir()))}.log"
    verb = run.proxy.launch_verb(*words, log=log)
    code = verb.wait(60)
    run.proxy.processes.end(verb)
    return code, log.read_text("utf-8")


def test_what_does_not_fit_is_refused_and_nothing_is_ordered(make):
    """Wrong files, a missing one, a server that lacks or has purged what is needed, errant transactions, no address."""
    run = make("a").start(tasks=("t1", "t2"))
    run.dm.calls.clear()
    to = run.servers.b.port

    def refused(words, *options, code=3, port=to, tasks=None):
        result = run.readdress(port, *options, expect=code, tasks=tasks)
        assert words in result.stdout, result.stdout
        assert not [call for call in run.order_of_calls() if call.startswith("P")]
        assert not run.new_file(port).exists()

    refused("no file for task t2", tasks=["t1"])
    refused("give another one with --to", port=run.servers.a.port)
    refused("reachable", port=free_port())
    good = run.source_file.read_text("utf-8")
    run.source_file.write_text(good.replace("source-id: mysql-01", "source-id: mysql-02"), "utf-8")
    refused("its source-id is not mysql-01", code=2)
    run.source_file.write_text(good.replace(f"port: {run.servers.a.port}", "port: 3306"), "utf-8")
    refused("what the source file says is 127.0.0.1:3306")
    run.source_file.write_text(good.replace("enable-gtid: true", "enable-gtid: false"), "utf-8")
    refused("set enable-gtid: true in the file")
    run.source_file.write_text(good.replace("user: dm", "user: sluice"), "utf-8")
    refused("give Sluice an account of its own")
    run.source_file.write_text(good.replace("  host:", "  host: &h"), "utf-8")
    refused("line 6: from.host and from.port", code=2)
    run.source_file.write_text(good, "utf-8")
    run.servers.b.query("CREATE TABLE test.errant (k INT PRIMARY KEY)")
    run.servers.a.stop_replica()
    run.servers.b.query("INSERT INTO test.errant VALUES (1)")
    refused("errant", "--wait-catchup=0")
    run.runs_as_before(("t1", "t2"), port=run.servers.a.port)


def test_server_that_purged_or_lacks_what_is_needed_is_refused(make):
    """P not in S: refused at once. D not in E: waited for, then refused; all runs as before."""
    run = make("a").start()
    run.dm.tasks["t1"].end("Paused")
    run.writer.pause()
    run.servers.b.wait_for(run.servers.a)
    run.servers.a.query("CREATE TABLE test.more (k INT PRIMARY KEY)")
    run.servers.b.wait_for(run.servers.a)
    run.servers.b.purge()
    result = run.readdress(run.servers.b.port, expect=3)
    assert "gtid-P" in result.stdout
    assert run.dm.tasks["t1"].stage == "Paused"


# What is made to fail: how it is called, and which of those calls it is.
FAULTS = {
    "stop-task": (("PUT", "/apis/v1alpha1/tasks/t1"), lambda run, body: body["op"] == 7),
    "stop-relay": (("grpc", "OperateRelay"), lambda run, body: body[1] == [2] and run.dm.from_port != run.to),
    "stop-source": (("PUT", "/apis/v1alpha1/sources"), lambda run, body: body["op"] == 3),
    "create-source": (("PUT", "/apis/v1alpha1/sources"),
                      lambda run, body: body["op"] == 1 and str(run.to) in body["config"][0]),
    "start-task": (("POST", "/apis/v1alpha1/tasks"), lambda run, body: run.dm.from_port == run.to),
    "start-validation": (("grpc", "StartValidation"), lambda run, body: run.dm.from_port == run.to),
}
ANSWERS = {
    "http-500": (500, {"code": 2, "message": "DM does not want to", "details": []}),
    "refused": (200, {"result": False, "msg": "[code=1] DM does not want to", "sources": []}),
}


class Fault:
    """Within it one kind of call is answered in DM's place, until it goes back."""

    def __init__(self, run, name, how):
        self.run, self.how, self.count = run, how, 0
        self.key, self.is_it = FAULTS[name]

    def __enter__(self):
        self.run.dm.override = {self.key: self.grpc if self.key[0] == "grpc" else self.http}
        return self

    def __exit__(self, *_):
        self.run.dm.override = {}

    def grpc(self, message):
        """None: DM answers itself."""
        if not self.is_it(self.run, message):
            return None
        self.count += 1
        if self.how == "http-500":
            raise RuntimeError("DM does not want to")
        return encode({2: "DM does not want to"})

    def http(self, method, path, query, body):
        """As of the stand-in's http()."""
        if self.is_it(self.run, body):
            self.count += 1
            return ANSWERS[self.how]
        if path.endswith("/sources"):
            return 200, self.run.dm.operate_source(body)
        return 200, self.run.dm.start_task(body) if method == "POST" else \
            self.run.dm._operate_task("t1", body)  # pylint: disable=protected-access


@pytest.mark.parametrize("how", list(ANSWERS))
def test_a_call_that_fails_is_led_back(make, how):
    """At each call, by an error of HTTP or gRPC and by DM's own no: all runs at the old address again."""
    run = make("a", relay=True, dm={"flush_s": 0.3}, pause_timeout="3s").start(validator="fast")
    run.to = run.servers.b.port
    for name in FAULTS:
        with Fault(run, name, how) as fault:
            result = run.proxy.run(*run.words(run.to), limit=100)
            assert fault.count, f"{name} was not called"
        assert result.code in (1, 4), f"{name}: {result.stdout}"
        if name != "start-validation" or how == "refused":
            assert "does not want" in result.stdout, f"{name}: {result.stdout}"
        run.runs_as_before(port=run.servers.a.port)
        wait_until(lambda: run.dm.relay.stage == run.dm.tasks["t1"].validator.stage == "Running", 30,
                   lambda: f"{run.tell()}")
        assert not run.new_file(run.to).exists() and run.proxy.status()["readdress"] is None
    run.compare(run.servers.a)


def test_threads_left_on_the_old_server_lead_back(make):
    """A connection of DM's account that does not end: named with its id, and led back within pause-timeout."""
    run = make("a", pause_timeout="2s").start()
    left = run.servers.a.connect("dm")
    with left.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID() AS id")
        thread = cursor.fetchone()["id"]
    result = run.readdress(run.servers.b.port, expect=4)
    assert f"{thread} from 127.0.0.1:" in result.stdout, result.stdout
    left.close()
    run.runs_as_before(port=run.servers.a.port)


def test_abort_leads_back(make, tmp):
    """`sluice abort` when the source stands nowhere: it stands at the old address again."""
    stop = PauseAt(tmp, "create-source")
    run = make("a", environment=stop.environment).start()
    verb = run.proxy.launch_verb(*run.words(run.servers.b.port), log=tmp / "verb.log")
    stop.wait(60)
    stop.go()
    aborted = run.proxy.run("abort", "mysql-01")
    code = verb.wait(60)
    run.proxy.processes.end(verb)
    if aborted.code == 0:
        assert code == 1, (tmp / "verb.log").read_text()
        run.runs_as_before(port=run.servers.a.port)


CRASHES = ["pause", "note-stop", "stop-task", "stop-source", "empty", "gate-again", "create-source", "start-task",
           "note-done", "resume"]


@pytest.mark.parametrize("phase", CRASHES)
def test_crash_is_gone_on_with(make, tmp, phase):
    """kill -9 at a phase or an order: --resume with the same files goes on; before stop and after start alone."""
    stop = PauseAt(tmp, phase)
    run = make("a", environment=stop.environment).start()
    verb = run.proxy.launch_verb(*run.words(run.servers.b.port), log=tmp / "verb.log")
    stop.wait(60)
    run.proxy.kill()
    run.proxy.processes.end(verb)
    stop.go()
    run.proxy.start_ready(60)
    left = run.proxy.status()["readdress"]
    needs_files = phase not in ("pause", "note-stop", "resume")
    if needs_files:
        assert left["unfinished"] and left["command"].startswith("sluice readdress mysql-01 --resume"), left
        refused = run.proxy.switch("b", expect=1)
        assert "is unfinished" in refused.stdout
        run.source_file.write_text(run.source_file.read_text("utf-8") + "# another\n", "utf-8")
        assert "SHA-256" in run.readdress(None, "--resume", expect=3, tasks=["t1"]).stdout
        run.source_file.write_text(run.source_file.read_text("utf-8").removesuffix("# another\n"), "utf-8")
        run.readdress(None, "--resume", tasks=["t1"])
    at = run.servers.a if phase in ("pause", "note-stop") else run.servers.b
    run.runs_as_before(port=at.port)
    wait_until(lambda: run.proxy.status()["readdress"] is None, 30, lambda: f"it ends: {run.proxy.status()}")
    run.compare(run.servers.a)


def test_crash_is_taken_back(make, tmp):
    """kill -9 when the source stands at the new address already: --resume --undo leads back."""
    stop = PauseAt(tmp, "start-task")
    run = make("a", environment=stop.environment).start()
    verb = run.proxy.launch_verb(*run.words(run.servers.b.port), log=tmp / "verb.log")
    stop.wait(60)
    run.proxy.kill()
    run.proxy.processes.end(verb)
    stop.go()
    run.proxy.start_ready(60)
    run.readdress(None, "--resume", "--undo", tasks=["t1"], expect=1)
    run.runs_as_before(port=run.servers.a.port)
    assert run.proxy.status()["readdress"] is None
    run.compare(run.servers.a)
