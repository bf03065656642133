# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around a DM consumer: each is decided, and afterwards what ran before runs again."""
import pytest
from sluicetest import PauseAt, free_port, wait_until
from sluicetest.certificates import make_all
from test_dm_switch import fixture_world  # noqa: F401  pylint: disable=unused-import

SHORT = {"hold_timeout": "3s", "drain_timeout": "1s", "connect_timeout": "2s"}


def runs_again(run, names=("t1",)):
    """All of |names| run, and stay so until there are new rows."""
    tasks = [run.dm.tasks[name] for name in names]
    wait_until(lambda: all(task.stage == "Running" for task in tasks), 30, lambda: f"{run.tell()}")
    run.writer.wait_rows(20)


def test_what_a_person_paused_stays_paused(world):
    """Of two tasks one was paused by command: it stays so, and only the other one is ordered anything."""
    run = world(**SHORT).start(tasks=("t1", "t2"))
    run.dm.tasks["t2"].end("Paused")
    result = run.switch("b").json["switch"]
    runs_again(run)
    assert run.dm.tasks["t2"].stage == "Paused"
    orders = [call for call in run.dm.calls if call[0] == "PUT"]
    assert {call[1] for call in orders} == {"/apis/v1alpha1/tasks/t1"}
    assert all(call[3]["sources"] == ["mysql-01"] for call in orders)
    assert result["hold-ms"] < 3000


def test_dead_and_leaderless_masters_are_passed_over(world):
    """The first address is dead: the second answers. Without a leader nothing is ordered, and DM's words are told."""
    run = world(**SHORT)
    run.proxy.stop()
    run.proxy.source["consumer"]["master-addr"] = [f"127.0.0.1:{free_port()}", run.dm.address]
    run.proxy.start_ready()
    run.start()
    run.switch("b")
    run.dm.has_leader = False
    result = run.proxy.check("a", expect=3)
    assert "38043" in result.stdout and "master is not leader" in result.stdout


BROKEN = {
    "http-500": ((500, {"code": 2, "message": "rpc broken", "details": []}), "HTTP 500: code 2: rpc broken"),
    "http-501": ((501, {"code": 12, "message": "Not Implemented", "details": []}), "HTTP 501"),
    "http-503": ((503, b"<html>away</html>"), "HTTP 503: <html>away</html>"),
    "null": ((200, b"null"), "no JSON object"),
    "empty": ((200, b""), "no JSON object"),
    "list": ((200, b"[]"), "no JSON object"),
    "half": ((200, b'{"result": true, "sources": [{"res'), "no JSON object"),
    "no-tasks": ((200, {"result": True, "msg": "", "sources": []}), "not the same as having none"),
    "10-MB": ((200, b'{"pad": "' + b"x" * 10_000_000 + b'"}'), "longer than any that DM gives"),
}


def test_broken_answers_refuse_a_switch_with_their_words(world):
    """HTTP errors, half an answer, a huge one, one without tasks: refused, nothing ordered, and all works after."""
    run = world(**SHORT).start()
    for name, (answer, words) in BROKEN.items():
        run.dm.override = {("GET", "/apis/v1alpha1/status/"): answer}
        result = run.proxy.switch("b", expect=3)
        assert words in result.stdout, f"{name}: {result.stdout}"
        assert not [call for call in run.dm.calls if call[0] == "PUT"], name
    run.dm.override = {}
    run.switch("b")
    runs_again(run)


def test_units_and_settings_that_cannot_be_switched_are_refused(world):
    """Unit Load, no enable-gtid, another address, an unresolved lock: each is a line of check with what to do."""
    run = world(**SHORT).start()

    def refused(words):
        result = run.proxy.check("b", expect=3)
        assert words in result.stdout, result.stdout

    run.proxy.check("b", expect=0)
    task = run.dm.tasks["t1"]
    task.unit = "Load"
    refused("wait until the full load has ended")
    task.unit = "Sync"
    run.dm.enable_gtid = False
    refused("enable-gtid: false")
    run.dm.enable_gtid = True
    run.dm.from_port = 1
    refused("DM reads from 127.0.0.1:1")
    run.dm.from_port = run.proxy.port
    run.dm.locks = [("t1-`test`.`t`", "t1")]
    refused("unresolved lock")
    run.dm.locks = []
    run.proxy.check("b", expect=0)


def begin_large_transaction(run):
    """B lacks it, and DM has applied a part of it when this returns."""
    run.servers.b.stop_replica()
    run.servers.a.query("SET SESSION cte_max_recursion_depth = 100000")
    run.servers.a.query("INSERT INTO test.rows_written SELECT n, 'big', 'x' FROM (WITH RECURSIVE s AS (SELECT 1000000 "
                        "AS n UNION ALL SELECT n + 1 FROM s WHERE n < 1010000) SELECT n FROM s) AS all_of_them")
    wait_until(lambda: count_large(run.servers.c) > 0, 30, "a part of it is downstream")


def count_large(server):
    """Its rows on |server|."""
    return server.one("SELECT COUNT(*) FROM test.rows_written WHERE writer = 'big'")


def test_large_transaction_is_whole_or_refused(world):
    """
    A switch to a server that lacks a large transaction which DM is applying: the streams are parked behind it, D is not
    in E, all is undone, and the downstream has what the upstream has.
    """
    run = world(dm={"batch_delay_s": 0.01, "batch": 20}, **SHORT).start(per_second=20)
    begin_large_transaction(run)
    result = run.proxy.run("switch", "mysql-01", "b", "--yes", "--wait-catchup=0", limit=100)
    assert result.code in (3, 4), result.stdout
    run.servers.b.start_replica()
    runs_again(run)
    run.compare(run.servers.a)


def test_without_parking_and_gate_a_part_of_a_transaction_stays(world):
    """The same with both promises switched off: DM says Running, and the downstream keeps rows that B does not have."""
    run = world(dm={"batch_delay_s": 0.01, "batch": 20, "pause_wait_s": 0.2},
                environment={"SLUICE_FAULT": "skip-park,skip-gate"}, **SHORT).start(per_second=20)
    begin_large_transaction(run)
    run.writer.pause()
    run.proxy.switch("b", "--wait-catchup=0", limit=100)
    wait_until(lambda: run.dm.tasks["t1"].stage == "Running", 30, lambda: f"{run.tell()}")
    assert 0 < count_large(run.servers.c) < 10001
    assert count_large(run.servers.b) == 0


def test_operator_who_resumes_in_the_middle_undoes_the_switch(world, tmp):
    """Resumed by dmctl after the pause, before the hold: seen, undone, and the task runs."""
    stop = PauseAt(tmp, "gate")
    run = world(environment=stop.environment, **SHORT).start()
    verb = run.proxy.launch_verb("switch", "mysql-01", "b", "--yes", log=tmp / "verb.log")
    stop.wait(60)
    run.dm.tasks["t1"].start()
    stop.go()
    code = verb.wait(60)
    run.proxy.processes.end(verb)
    text = (tmp / "verb.log").read_text()
    assert code == 3 and "resumed by somebody" in text, text
    assert run.proxy.active == "a"
    runs_again(run)


@pytest.mark.parametrize("phase", ["pause", "gate", "drain", "resume"])
def test_crash_in_a_phase_ends_with_everything_resumed(world, tmp, phase):
    """
    kill -9 of Sluice at a phase: the next start finishes or undoes the switch, and wakes what the plan names. At the
    begin of the pause nothing was ordered yet: what the cut of its stream alone did to DM's validator is DM's.
    """
    stop = PauseAt(tmp, phase)
    run = world(relay=True, environment=stop.environment, **SHORT).start(validator="fast", tasks=("t1", "t2"))
    run.dm.tasks["t2"].end("Paused")
    verb = run.proxy.launch_verb("switch", "mysql-01", "b", "--yes", log=tmp / "verb.log")
    stop.wait(60)
    run.proxy.kill()
    run.proxy.processes.end(verb)
    stop.go()
    run.proxy.start_ready(60)
    runs_again(run)
    validator = run.dm.tasks["t1"].validator
    units = [run.dm.relay] if phase == "pause" else [run.dm.relay, validator]
    wait_until(lambda: all(unit.stage == "Running" for unit in units), 60, lambda: f"{run.tell()}")
    assert run.dm.tasks["t2"].stage == "Paused"
    assert run.proxy.active == ("b" if phase == "resume" else "a")


def test_worker_that_is_restarted_while_paused_is_quiet(world, tmp):
    """dm-worker killed and started again while its task is paused: stage Paused, result null. The switch goes on."""
    stop = PauseAt(tmp, "gate")
    run = world(environment=stop.environment, **SHORT).start()
    verb = run.proxy.launch_verb("switch", "mysql-01", "b", "--yes", log=tmp / "verb.log")
    stop.wait(60)
    run.dm.tasks["t1"].is_canceled = None
    stop.go()
    code = verb.wait(60)
    run.proxy.processes.end(verb)
    assert code == 0, (tmp / "verb.log").read_text()
    run.writer.move_to(run.servers.b)
    runs_again(run)
    run.compare(run.servers.b)


def test_relay_whose_stream_was_not_parked_is_stopped_and_started_anew(world):
    """Parking off: the relay is stopped, the tasks read the server, and it starts once they have what that had."""
    run = world(relay=True, environment={"SLUICE_FAULT": "skip-park"}, **SHORT).start()
    run.switch("b")
    runs_again(run)
    orders = [call[2] for call in run.dm.calls if call[:2] == ("grpc", "OperateRelay")]
    assert orders == [2, 1]
    assert run.dm.relay.stage == "Running"
    run.compare(run.servers.b)


def test_masters_over_tls_with_a_client_certificate(world, tmp):
    """DM with ssl-ca demands a certificate: with it a switch works, JSON and gRPC; without it nothing is ordered."""
    certs = make_all(tmp / "certs")
    security = {"ssl-ca": certs / "ca.pem", "ssl-cert": certs / "client.pem", "ssl-key": certs / "client.key"}
    run = world(relay=True, dm={"tls": (certs / "ca.pem", certs / "server.pem", certs / "server.key")},
                security={key: str(path) for key, path in security.items()}, **SHORT)
    run.start()
    run.switch("b")
    runs_again(run)
    assert [call[2] for call in run.dm.calls if call[:2] == ("grpc", "OperateWorkerRelayTask")] == [2, 3]
    del run.proxy.source["consumer"]["security"]
    run.proxy.restart()
    result = run.proxy.switch("a", expect=3)
    assert "DM master" in result.stdout
