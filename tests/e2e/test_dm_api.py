# SPDX-License-Identifier: Apache-2.0
"""The stand-in for DM is held to what a real DM said: the same fields, in the same order, of the same types."""
import http.client
import json
import pathlib

import pytest
from sluicetest import wait_until
from sluicetest.dm_stand_in import DmStandIn

DATA = pathlib.Path(__file__).resolve().parent.parent / "unit" / "consumer" / "data"
FREE_TEXT = {"cfg"}


def recorded(name):
    """(request, HTTP status, answer) of a recording."""
    record = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return record["request"], record["status"], json.loads(record["response_text"])


def shape(value):
    """What is compared: names in order, types; of texts that are figures, that they are."""
    if isinstance(value, dict):
        return {key: "text" if key in FREE_TEXT else shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    if isinstance(value, str):
        return "number" if value.isdigit() else "text"
    return type(value).__name__


def ask(dm, request):
    """Make the recorded call to the stand-in."""
    connection = http.client.HTTPConnection("127.0.0.1", dm.doors.port, timeout=60)
    try:
        body = None if request["body"] is None else json.dumps(request["body"])
        connection.request(request["method"], request["path"], body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture(name="dm")
def fixture_dm(trio):
    """The stand-in with one task t1, reading a itself."""
    trio.a.query("CREATE TABLE test.t (k BIGINT PRIMARY KEY)")
    stand_in = DmStandIn(trio.a.port, trio.c, relay=True, flush_s=0.1)
    yield stand_in
    stand_in.stop()


def same(dm, name):
    """One recorded call: HTTP status, shape and stages must be equal."""
    request, status, want = recorded(name)
    got_status, got = ask(dm, request)
    assert got_status == status, (name, got)
    assert json.dumps(shape(got)) == json.dumps(shape(want)), \
        f"{name}:\n{json.dumps(got)}\nrecorded:\n{json.dumps(want)}"
    return got, want


def stages(answer):
    """Of a status: the task's, the relay's and the validator's stage, and whether the pause was somebody's order."""
    source = answer["sources"][0]
    task, relay = source["subTaskStatus"][0], source["sourceStatus"]["relayStatus"]
    result = task["result"] and (task["result"]["isCanceled"], len(task["result"]["errors"]))
    validation = task["validation"] and task["validation"]["stage"]
    return task["stage"], task["unit"], result, relay and relay["stage"], validation


def same_status(dm, name):
    """A recorded status, with its stages."""
    got, want = same(dm, name)
    assert stages(got) == stages(want), name


def test_answers_equal_those_of_a_real_dm(dm):
    """Through a task's life: every recorded call that Sluice makes, each at the moment at which it was recorded."""
    same(dm, "03-status-of-a-task-that-does-not-exist")
    same(dm, "05-status-without-slash")
    same(dm, "13-members")
    same(dm, "15-source-config")
    dm.relay.is_started = False
    same(dm, "04-status-of-all")
    task = dm.add_task("t1")
    wait_until(lambda: task.flushed, 20, "a checkpoint")
    same_status(dm, "01-status-running")
    same(dm, "18-pause")
    same_status(dm, "19-status-paused")
    same(dm, "20-pause-again")
    same(dm, "21-pause-unknown-source")
    same(dm, "22-pause-unknown-task")
    same(dm, "23-resume")
    same(dm, "24-resume-again")
    same_status(dm, "31-status-after-hold")


def test_relay_and_validator_answers(dm):
    """With relay and validator: running, paused, stopped."""
    task = dm.add_task("t1", validator="full")
    wait_until(lambda: task.flushed and task.stage == "Running", 20, lambda: f"a checkpoint: {task.failure}")
    same_status(dm, "36-status-relay-and-validator")
    same(dm, "37-pause-with-validator")
    same_status(dm, "38-status-paused-with-validator")
    task.validator.end("Stopped")
    same_status(dm, "39-status-validator-stopped")


def test_paused_by_an_error_and_by_command_after_it(dm):
    """A task that cannot get its stream is Paused with the error; a pause makes it stay so, error and all."""
    dm.relay.is_started = False
    task = dm.add_task("t1")
    wait_until(lambda: task.flushed, 20, "a checkpoint")
    with dm.frozen_checker():
        port, dm.upstream_port = dm.upstream_port, 1
        task.stream.abandon()
        wait_until(lambda: task.stage == "Paused", 20, "an error pause")
        same_status(dm, "25-status-paused-by-error")
        got, want = same(dm, "26-pause-a-task-paused-by-error")
        assert "code=38032" in got["sources"][0]["msg"] and "code=38032" in want["sources"][0]["msg"]
        same_status(dm, "27-status-paused-by-command-after-error")
        dm.upstream_port = port
    same(dm, "29-resume-2")
    wait_until(lambda: task.stage == "Running", 20, "it runs again")


def test_status_in_a_hold_that_lasts(dm):
    """The upstream accepts and says nothing for longer than the worker's time: result true, and no task shown."""
    dm.add_task("t1")
    dm.status_timeout_s = 0.3
    with dm.silent_upstream():
        got, _ = same(dm, "30-status-while-held-35-s")
        assert got["sources"][0]["subTaskStatus"] == [] and "DeadlineExceeded" in got["sources"][0]["msg"]
