# SPDX-License-Identifier: Apache-2.0
"""What a check says of a DM consumer and of the two servers' settings, and what is looked at after the flip."""
import time

import pytest
from sluicetest import BinlogStream, PauseAt, wait_until
from sluicetest.dm_stand_in import Failure, Task
from test_dm_failures import runs_again
from test_dm_switch import fixture_world  # noqa: F401  pylint: disable=unused-import

SHORT = {"hold_timeout": "3s", "drain_timeout": "1s", "connect_timeout": "2s"}
KEPT = ("time_zone", "sql_mode", "character_set_server", "collation_server")


def lines(result, name):
    """The lines with this name, of a check or of a switch that has ended."""
    checks = result["checks"] if isinstance(result, dict) else result.json["checks"]
    return [line for line in checks if line["name"] == name]


def begin(run, tmp, *options):
    """A switch to b that goes on beside the test; end() tells its exit code and what it printed."""
    verb = run.proxy.launch_verb("switch", "mysql-01", "b", "--yes", *options, log=tmp / "verb.log")

    def end(limit=60):
        code = verb.wait(limit)
        run.proxy.processes.end(verb)
        return code, (tmp / "verb.log").read_text()

    return end


def test_settings_that_dm_keeps_fail_and_are_waived_by_name(world):
    """Each difference fails on a line of its own, with both values; waived, it warns, and the history says so."""
    run = world(**SHORT).start()
    server = run.servers.b
    assert all(line["state"] == "ok" for name in KEPT for line in lines(run.proxy.check("b", expect=0), name))
    server.set_global("time_zone", "+08:00")
    server.set_global("sql_mode", "")
    server.set_global("character_set_server", "latin1")
    result = run.proxy.check("b", expect=3)
    for name in KEPT:
        (line,) = lines(result, name)
        assert (line["id"], line["state"]) == ("C17", "fail"), line
    assert "b: +08:00 = +08:00" in lines(result, "time_zone")[0]["detail"]
    assert "only a has: ONLY_FULL_GROUP_BY," in lines(result, "sql_mode")[0]["detail"]
    assert "a: utf8mb4, b: latin1" in lines(result, "character_set_server")[0]["detail"]
    result = run.proxy.check("b", "--waive=time_zone", expect=3)
    assert lines(result, "time_zone")[0]["state"] == "warn" and lines(result, "sql_mode")[0]["state"] == "fail"
    run.switch("b", "--waive=time_zone,sql_mode", "--waive", ",".join(KEPT[2:]))
    runs_again(run)
    last = run.proxy.run("history", "mysql-01", expect=0).json["switches"][0]
    assert last["options"]["waive"] == list(KEPT)
    assert all(line["detail"].startswith("waived: ") for name in KEPT for line in lines(last, name))


def test_what_cannot_be_waived_is_a_usage_error(world):
    """By the command line and by the admin interface; those that can be are listed."""
    run = world(**SHORT)
    for name in ("gtid_mode", "gtid-D in gtid-E", "bypass", "nonsense", ""):
        result = run.proxy.check("b", f"--waive={name}", expect=2)
        assert "these can be: time_zone, sql_mode" in result.json["msg"], result.stdout
        status, answer = run.proxy.post("/v1/sources/mysql-01/switch", {"to": "b", "waive": ["sql_mode", name]})
        assert status == 400 and "these can be: time_zone" in answer["msg"], answer


def test_ddl_locks_are_waivable_and_seen_again_after_the_pause(world, tmp):
    """A lock is waived by name; one that comes up between the check and the gate undoes the switch."""
    stop = PauseAt(tmp, "pause")
    run = world(environment=stop.environment, **SHORT).start()
    run.dm.locks = [("t1-`test`.`t`", "t1")]
    assert "--waive=dm-ddl-locks" in lines(run.proxy.check("b", expect=3), "dm-ddl-locks")[0]["todo"]
    run.proxy.check("b", "--waive=dm-ddl-locks", expect=0)
    run.dm.locks = []
    end = begin(run, tmp)
    stop.wait(60)
    run.dm.tasks["t1"].locks = "t1-`test`.`t`"
    stop.go()
    code, text = end()
    assert code == 3 and "lock 't1-`test`.`t`'" in text, text
    assert run.proxy.active == "a"
    run.dm.tasks["t1"].locks = ""
    runs_again(run)


def test_other_readers_are_told(world, processes, tmp):
    """A mysqlbinlog of another account is listed with its address and server_id; it does not hinder the switch."""
    run = world(**SHORT).start()
    assert lines(run.proxy.check("b", expect=0), "other-readers")[0]["state"] == "ok"
    stream = BinlogStream(processes, tmp, run.proxy.port, server_id=9001)
    stream.ensure()
    wait_until(lambda: lines(run.proxy.check("b", expect=0), "other-readers")[0]["state"] == "warn", 30, "it is seen")
    detail = lines(run.proxy.check("b", expect=0), "other-readers")[0]["detail"]
    assert "dm: 1: repl from 127.0.0.1:" in detail and "(server_id 9001)" in detail, detail
    run.switch("b")
    stream.stop()
    runs_again(run)


def test_task_that_is_lost_already_blocks_nobody(world):
    """Its S lacks what both servers have purged: told, and the others are switched; the end names it."""
    run = world(dm={"check_s": 30}, **SHORT).start()
    run.writer.pause()
    executed = run.servers.a.executed()
    wait_until(lambda: run.servers.a.one("SELECT GTID_SUBSET(%s, %s)", executed, str(run.dm.tasks["t1"].flushed)), 30,
               lambda: f"a checkpoint: {run.tell()}")
    run.servers.b.wait_for(run.servers.a)
    run.servers.a.purge()
    run.servers.b.purge()
    run.writer.resume()
    run.dm.add_task("t2", start=f"{run.servers.a.uuid}:1")
    wait_until(lambda: run.dm.tasks["t2"].failure, 30, lambda: f"t2 fails: {run.tell()}")
    result = run.proxy.check("b", expect=0)
    (line,) = lines(result, "gtid-P in gtid-S(t2)")
    assert line["state"] == "warn" and "lost already" in line["detail"], line
    done = run.switch("b").json["switch"]
    assert any("task t2 was in error before the switch" in step["text"] for step in done["steps"]), done
    assert run.dm.tasks["t1"].stage == "Running"
    run.writer.wait_rows(20)


def test_task_that_is_begun_in_the_middle_undoes_the_switch(world, tmp):
    """It is in no plan: seen after the pause, undone, and it goes on."""
    stop = PauseAt(tmp, "gate")
    run = world(**SHORT, environment=stop.environment).start()
    end = begin(run, tmp)
    stop.wait(60)
    task = Task(run.dm, "t9", str(run.dm.tasks["t1"].flushed))
    task.pool = list(run.dm.tasks["t1"].pool)  # Sluice stands still: a new one would wait for it
    task.start()
    run.dm.tasks["t9"] = task
    stop.go()
    code, text = end()
    assert code == 3 and "or begun, after it had been paused: task t9: Running" in text, text
    assert run.proxy.active == "a"
    runs_again(run, ("t1", "t9"))


def test_task_that_is_resumed_after_the_gate_is_held(world, tmp):
    """Between gate and hold: its stream is parked from birth and drained, D does not grow; the switch goes on."""
    stop = PauseAt(tmp, "see")
    run = world(**SHORT, environment=stop.environment).start()
    end = begin(run, tmp)
    stop.wait(60)
    run.dm.tasks["t1"].start()
    stop.go()
    code, text = end()
    assert code == 0, text
    assert run.proxy.active == "b"
    run.writer.move_to(run.servers.b)
    runs_again(run)
    run.compare(run.servers.b)


def test_worker_that_changes_at_the_gate_is_waited_for(world, tmp):
    """For a moment no worker has the source: asked again within probe-timeout, and the switch goes on."""
    stop = PauseAt(tmp, "gate")
    run = world(**SHORT, environment=stop.environment).start()
    end = begin(run, tmp)
    stop.wait(60)
    nobody = {"result": True, "msg": "", "sources": [
        {"result": False, "msg": "worker not bound", "subTaskStatus": [],
         "sourceStatus": {"source": "mysql-01", "worker": "source not bound", "result": None, "relayStatus": None}}]}
    run.dm.override = {("GET", "/apis/v1alpha1/status/"): (200, nobody)}
    stop.go()
    time.sleep(1.5)
    run.dm.override = {}
    code, text = end()
    assert code == 0, text
    run.writer.move_to(run.servers.b)
    runs_again(run)
    run.compare(run.servers.b)


def test_undo_that_cannot_reach_dm_is_told_and_goes_on(world, tmp):
    """No leader from the gate on: undone, and resumed once there is one; status says what is waited for until then."""
    stop = PauseAt(tmp, "gate")
    run = world(**SHORT, environment=stop.environment, probe_timeout="1s", pause_timeout="1s").start()
    end = begin(run, tmp)
    stop.wait(60)
    run.dm.has_leader = False
    stop.go()
    wait_until(lambda: "38043" in (run.proxy.status()["switch"] or {}).get("waiting-for", ""), 30,
               lambda: f"status says why: {run.proxy.status()['switch']}")
    assert run.proxy.status()["switch"]["phase"] == "undo-resume"
    run.dm.has_leader = True
    code, text = end()
    assert code == 3, text
    runs_again(run)


@pytest.fixture(name="slow_relay")
def fixture_slow_relay(world, tmp):
    """A switch whose relay takes long to read b's binlog again, and end(); its progress is a step already."""
    stop = PauseAt(tmp, "resume")
    run = world(relay=True, environment=stop.environment, **SHORT).start()
    run.writer.wait_rows(300)
    end = begin(run, tmp)
    stop.wait(60)
    run.dm.relay_delay_s = 0.02
    stop.go()
    wait_until(lambda: "the relay reads the new server's binlog again" in (tmp / "verb.log").read_text(), 60,
               lambda: f"{(tmp / 'verb.log').read_text()} {run.tell()}")
    assert run.dm.tasks["t1"].stage == "Paused"
    return run, end


def test_relay_that_reads_again_shows_its_progress(slow_relay):
    """While it is behind the tasks they stay paused, and the steps say how far it has come."""
    run, end = slow_relay
    run.dm.relay_delay_s = 0
    code, text = end()
    assert code == 0, text
    run.writer.move_to(run.servers.b)
    runs_again(run)
    run.compare(run.servers.b)


def test_relay_that_has_not_read_all_it_was_sent_skips_nothing(world, tmp):
    """
    Its stream was parked whole, and it is far behind in its own buffers when it is to be paused. It is stopped, and
    started once the task has what the server had at the flip: no row is lost.
    """
    stop = PauseAt(tmp, "resume")
    run = world(relay=True, environment=stop.environment, **SHORT).start()
    run.dm.relay_delay_s = 0.02
    run.writer.wait_rows(200)
    end = begin(run, tmp)
    stop.wait(60)
    run.dm.relay_delay_s = 0
    stop.go()
    code, text = end()
    assert code == 0 and "the relay has not read all that was sent" in text, text
    assert [call[2] for call in run.dm.calls if call[:2] == ("grpc", "OperateRelay")] == [2, 1]
    run.writer.move_to(run.servers.b)
    runs_again(run)
    run.compare(run.servers.b)


def test_abort_while_the_relay_reads_again_leaves_a_clear_word(slow_relay):
    """Exit 5, what was waited for, and that the rest is to be done by hand; nothing wakes the tasks by itself."""
    run, end = slow_relay
    run.proxy.run("abort", "mysql-01", expect=0)
    code, text = end()
    assert code == 5 and "aborted by an operator, while: the relay reads" in text and "resume it by hand" in text, text
    run.dm.relay_delay_s = 0
    wait_until(lambda: run.dm.relay.gtids.contains(run.dm.tasks["t1"].flushed), 60, lambda: f"{run.tell()}")
    orders = len(run.dm.calls)
    time.sleep(1)
    assert not [call for call in run.dm.calls[orders:] if call[0] in ("PUT", "grpc")]
    assert run.dm.tasks["t1"].stage == "Paused"
    run.dm.tasks["t1"].start()
    run.writer.move_to(run.servers.b)
    runs_again(run)


def test_task_that_fails_after_the_flip_is_told_with_its_error(world, tmp):
    """Nothing is undone; exit 5, DM's own words, and what to do."""
    stop = PauseAt(tmp, "resume")
    run = world(**SHORT, environment=stop.environment, verify_timeout="2s").start()
    task = run.dm.tasks["t1"]
    end = begin(run, tmp)
    stop.wait(60)
    work = task.work

    def fail():
        raise Failure(44006, "execute statement failed: ALTER TABLE t")

    task.work = fail
    stop.go()
    code, text = end()
    task.work = work
    assert code == 5 and "[code=44006] execute statement failed: ALTER TABLE t" in text, text
    assert "mend it and resume-task" in text
    assert run.proxy.active == "b"
    run.writer.move_to(run.servers.b)
    runs_again(run)
    run.compare(run.servers.b)
