# SPDX-License-Identifier: Apache-2.0
"""`sluice switch`: steps as they happen, its end, a broken stream, Ctrl-C, the question at a terminal."""
import json
import os
import pty
import signal
import subprocess
import threading
import time

import pytest
from conftest import SLUICE, environment, run, stream

STEPS = [{"type": "step", "at-ms": 0, "phase": "check", "text": "12 hold"},
         {"type": "step", "at-ms": 1512, "phase": "drain", "text": "busy 1, idle 0"}]
RECORD = {"number": 7, "source-id": "s", "from": "a", "to": "b", "state": "done", "phase": "end", "steps": STEPS,
          "checks": [],
          "hold-ms": 140, "held": 14, "longest-wait-ms": 124, "closed-idle": 8, "closed-boundary": 3, "killed": 1}
END = {"type": "end", "result": True, "msg": "", "code": 0, "switch": RECORD}
HEAD = "switch 7 of s to b; Ctrl-C detaches, the switch goes on"
DONE = ["switch 7 of s to b: done",
        "clients: held 14, the longest 124 ms; sessions closed: idle 8, at a boundary 3, killed 1; hold window 140 ms"]
# A step's text is the outcome of the phase before it.
STEP_LINES = ["[    0.000] check        12 hold", "[    1.512] check        busy 1, idle 0"]
RECORD_PATH, EVENTS_PATH = "GET /v1/switches/7", "GET /v1/switches/7/events"


@pytest.fixture(name="switch")
def fixture_switch(daemon):
    """A daemon that accepts the switch as number 7."""
    daemon.script["POST /v1/sources/s/switch"] = (202, {"result": True, "msg": "", "switch": 7})
    return daemon


def command(daemon, *words):
    """The words of a switch of s to b."""
    return ["switch", "s", "b", "--admin", daemon.address, *words]


def wait_until(condition, what):
    """Wait for |condition|, 20 s at most."""
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


@pytest.mark.parametrize("split", [None, 1, 7])
def test_steps_and_figures_are_shown(switch, split):
    """Each step on a line, then the outcome; in whatever pieces the stream arrives."""
    switch.script[EVENTS_PATH] = stream(*STEPS, END, split=split)
    result = run(*command(switch))
    assert result.code == 0
    assert result.stdout.splitlines() == [HEAD, *STEP_LINES, *DONE]
    assert not result.stderr
    assert switch.requests[0][3] == {"to": "b"}


def test_end_may_carry_its_figures_itself(switch):
    """A flat end event reads the same as one with a "switch" in it."""
    switch.script[EVENTS_PATH] = stream({**RECORD, "type": "end", "result": True, "msg": "", "code": 0})
    assert run(*command(switch)).stdout.splitlines() == [HEAD, *DONE]


def test_steps_are_shown_while_the_switch_runs(switch):
    """The first step is on stdout before the stream ends."""
    until = threading.Event()
    switch.script[EVENTS_PATH] = stream(STEPS[0], until=until)
    with subprocess.Popen([SLUICE, *command(switch)], stdout=subprocess.PIPE, env=environment(), text=True) as process:
        assert process.stdout.readline() == HEAD + "\n"
        assert process.stdout.readline() == STEP_LINES[0] + "\n"
        switch.script[RECORD_PATH] = (200, END)
        until.set()
        assert process.wait(20) == 0


@pytest.mark.parametrize("code, word", [
    (1, "undone"), (3, "refused"), (4, "a limit ran out"), (5, "state unknown, look at it")])
def test_exit_code_is_the_cause(switch, code, word):
    """What is not ok is shown with what to do; the reason is the last line of stderr."""
    checks = [{"id": "C01", "name": "fine", "state": "ok", "detail": "x", "todo": ""},
              {"id": "C04", "name": "behind", "state": "fail", "detail": "3 missing", "todo": "wait"}]
    end = {**END, "result": False, "msg": "b lacks 3", "code": code,
           "switch": {**RECORD, "state": "undone", "hold-ms": 0, "checks": checks}}
    switch.script[EVENTS_PATH] = stream(STEPS[0], end)
    result = run(*command(switch))
    assert result.code == code
    assert result.stdout.splitlines() == [
        HEAD, STEP_LINES[0], "fail  C04  behind  3 missing", "                   -> wait",
        f"switch 7 of s to b: {word}"]
    assert result.stderr == "sluice: b lacks 3\n"


def test_json_is_one_object(switch):
    """No step, result and msg on top, all figures."""
    switch.script[EVENTS_PATH] = stream(*STEPS, END)
    result = run(*command(switch, "--json"))
    assert result.code == 0
    answer = json.loads(result.stdout)
    assert list(answer) == ["result", "msg", "code", "switch"] and answer["switch"] == RECORD


def test_json_lines_are_the_events(switch):
    """Each on one line, the end last."""
    switch.script[EVENTS_PATH] = stream(*STEPS, END)
    result = run(*command(switch, "--json-lines"))
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines[:2] == STEPS and lines[2] == END and len(lines) == 3


def test_second_switch_is_refused_with_the_first_ones_number(daemon):
    """409: exit 1, and the number is in the JSON."""
    answer = {"result": False, "msg": "switch 6 is in progress; see: sluice status s", "code": 1, "switch": 6}
    daemon.script["POST /v1/sources/s/switch"] = (409, answer)
    result = run(*command(daemon))
    assert (result.code, result.stdout) == (1, "") and result.stderr == f"sluice: {answer['msg']}\n"
    result = run(*command(daemon, "--json"))
    assert result.code == 1 and json.loads(result.stdout) == answer


def test_broken_stream_is_followed_by_asking(switch):
    """Steps that were shown are not shown again; those that were missed are; the end is the record's."""
    switch.script[EVENTS_PATH] = stream(STEPS[0])
    running = {"result": True, "msg": "", "code": 0, "switch": {**RECORD, "state": "open", "steps": STEPS[:1]}}
    switch.script[RECORD_PATH] = [(200, running), (503, {"result": False, "msg": "starting", "code": 1}), (200, END)]
    result = run(*command(switch))
    assert result.code == 0
    assert result.stdout.splitlines() == [HEAD, *STEP_LINES, *DONE]
    assert result.stderr == "sluice: the stream of steps broke off; asking for them instead\n"


def test_half_an_event_at_the_end_of_a_stream_is_not_lost_nor_believed(switch):
    """A stream that is cut inside an event counts as broken."""
    switch.script[EVENTS_PATH] = stream(STEPS[0], after=b'data: {"type":"end","result":tr')
    switch.script[RECORD_PATH] = (200, {**END, "result": False, "msg": "no", "code": 4})
    assert run(*command(switch)).code == 4


def test_lost_events_are_not_asked_for_again(switch):
    """The daemon says how many it dropped: after that the stream's steps count on from there."""
    switch.script[EVENTS_PATH] = stream({"type": "lost", "count": 1}, STEPS[1])
    switch.script[RECORD_PATH] = (200, END)
    assert run(*command(switch)).stdout.splitlines() == [HEAD, "[    1.512] drain        busy 1, idle 0", *DONE]


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_ctrl_c_detaches(switch, words):
    """At once, with what to do; the switch, whose end nobody saw, goes on: exit 5. Nothing is sent to the daemon."""
    until = threading.Event()
    switch.script[EVENTS_PATH] = stream(STEPS[0], until=until)
    with subprocess.Popen([SLUICE, *command(switch, *words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=environment(), text=True) as process:
        wait_until(lambda: len(switch.requests) == 2, "the events are asked for")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert time.monotonic() - began < 5
        assert process.returncode == 5
    until.set()
    assert "detached; switch 7 goes on: sluice status s shows it, sluice abort s ends it" in (out if words else err)
    assert len(switch.requests) == 2


def at_terminal(daemon, answer, *words):
    """Run a switch whose stdin is a terminal where |answer| is typed."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        return run(*command(daemon, *words), stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)


def test_what_is_accepted_is_confirmed_at_a_terminal(switch):
    """Only "yes" goes on; what is accepted is listed; nothing is sent before."""
    switch.script[EVENTS_PATH] = stream(END)
    result = at_terminal(switch, b"y\n", "--old-is-dead", "--accept-loss=unknown")
    assert result.code == 2 and not switch.requests
    assert "that the old server is dead and stays so\n  that these are lost: unknown\n" in result.stderr
    assert result.stderr.endswith("sluice: not confirmed; nothing was done\n")
    assert at_terminal(switch, b"yes\n", "--old-is-dead").code == 0


def test_nothing_is_asked_without_need(switch):
    """Nothing accepted, --yes, or no terminal: no question."""
    switch.script[EVENTS_PATH] = stream(END)
    assert at_terminal(switch, b"no\n").code == 0
    assert at_terminal(switch, b"no\n", "--old-is-dead", "--yes").code == 0
    assert run(*command(switch, "--old-is-dead")).code == 0
