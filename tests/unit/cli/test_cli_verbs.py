# SPDX-License-Identifier: Apache-2.0
"""Verbs that are one call: what is asked, what is shown, which exit code."""
import json
import subprocess

import pytest
from conftest import SLUICE, environment, run

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
SOURCE = {
    "source-id": "mysql-01", "listen": "0.0.0.0:3400", "active": "a", "epoch": 5, "mode": "routing", "phase": "",
    "held": 0, "sessions": 12,
    "backends": [
        {"name": "a", "address": "10.0.0.1:3306", "reachable": True, "server-uuid": UUID, "pinned-uuid": UUID,
         "version": "9.7.0", "read-only": False, "gtid-executed": UUID + ":1-1000", "gtid-purged": UUID + ":1-10",
         "error": None, "connections": 12},
        {"name": "b", "address": "10.0.0.2:3306", "reachable": False, "server-uuid": None,
         "pinned-uuid": UUID.replace("3", "4"), "version": None, "read-only": None, "gtid-executed": None,
         "gtid-purged": None, "error": "connect: time\x1b[31m out", "connections": 0}],
    "consumer": {"type": "replica", "quiet": False, "error": "",
                 "tasks": [{"name": "channel ''", "stage": "Running", "gtid-s": UUID + ":1-9"}]},
    "latch": None, "accepted-loss": "", "counters": {},
    "switch": {"number": 7, "from": "a", "to": "b", "phase": "drain", "started": 1, "elapsed-ms": 3210},
}


def status(daemon, *words):
    """Run status against a daemon that answers SOURCE under both paths."""
    two = {**SOURCE, "source-id": "two"}
    daemon.script["GET /v1/sources"] = (200, {"result": True, "msg": "", "sources": [SOURCE, two]})
    daemon.script["GET /v1/sources/mysql-01"] = (200, {"msg": "", "source": SOURCE, "result": True})
    return run("status", *words, "--admin", daemon.address)


def test_status_shows_the_figures_of_a_source(daemon):
    """One head, one line a backend, the consumer, the switch; a backend's error on a line of its own, made harmless."""
    result = status(daemon, "mysql-01")
    assert result.code == 0
    assert result.stdout.splitlines() == [
        "mysql-01  active a  epoch 5  routing  listen 0.0.0.0:3400  sessions 12  held 0",
        "     BACKEND  ADDRESS        STATE        VERSION  UUID      READ-ONLY  E     P   CONN",
        "  *  a        10.0.0.1:3306  up           9.7.0    3e11fa47  no         1000  10  12",
        "     b        10.0.0.2:3306  unreachable  -        4e11fa47  -          -     -   0",
        "  b: connect: time?[31m out",
        "  consumer replica",
        f"    channel ''  Running  S {UUID}:1-9",
        "  switch 7: a -> b, drain for 3.2 s",
    ]


def test_status_without_a_source_shows_all(daemon):
    """With a blank line between two."""
    result = status(daemon)
    heads = [line for line in result.stdout.splitlines() if "  active " in line]
    assert [head.split()[0] for head in heads] == ["mysql-01", "two"]
    assert "\n\ntwo  active" in result.stdout


def test_status_shows_alarms(daemon):
    """A latch, an accepted loss, a server that is not the pinned one, and why clients wait."""
    alarmed = {**SOURCE, "active": None, "mode": "holding", "phase": "held by hand", "accepted-loss": UUID + ":7",
               "latch": {"backend": "b", "reason": "rewound"}}
    alarmed["backends"] = [{**SOURCE["backends"][0], "pinned-uuid": UUID.replace("3", "4")}]
    daemon.script["GET /v1/sources/x"] = (200, {"result": True, "msg": "", "source": alarmed})
    out = run("status", "x", "--admin", daemon.address).stdout
    assert "active unknown" in out and "  clients wait: held by hand\n" in out
    assert "NOT ITS PIN" in out and f"  accepted as lost: {UUID}:7\n" in out
    assert "LATCHED: {\"backend\":\"b\",\"reason\":\"rewound\"}" in out


def test_json_is_the_answer_with_result_and_msg_on_top(daemon):
    """Whatever order the daemon used."""
    result = status(daemon, "mysql-01", "--json")
    assert list(json.loads(result.stdout)) == ["result", "msg", "code", "source"]
    assert json.loads(result.stdout)["source"] == SOURCE
    assert result.code == 0


def test_names_are_escaped_in_the_path(daemon):
    """A source-id cannot reach another path."""
    run("abort", "../a b/ü?x", "--admin", daemon.address)
    assert daemon.requests[0][1] == "/v1/sources/..%2Fa%20b%2F%C3%BC%3Fx/abort"


CHECKS = [
    {"id": "C06", "name": "gtid-mode", "state": "ok", "detail": "ON on a and b", "todo": ""},
    {"id": "C02", "name": "purged", "state": "fail", "detail": f"{UUID}:1-10 is purged on b",
     "todo": "restore b from a newer backup"},
]


def test_check_shows_every_line_and_exits_3(daemon):
    """State, number, name, figures, and what to do below; the reason on stderr."""
    daemon.script["POST /v1/sources/s/check"] = (
        200, {"result": False, "msg": "1 check fails", "code": 3, "checks": CHECKS})
    result = run("check", "s", "b", "--admin", daemon.address)
    assert result.code == 3
    assert result.stdout.splitlines() == [
        "ok    C06  gtid-mode  ON on a and b",
        f"fail  C02  purged     {UUID}:1-10 is purged on b",
        "                      -> restore b from a newer backup",
    ]
    assert result.stderr == "sluice: 1 check fails\n"
    assert daemon.requests[0][3] == {"to": "b"}


def test_check_that_passes_exits_0(daemon):
    """And says that a switch would begin."""
    daemon.script["POST /v1/sources/s/check"] = (200, {"result": True, "msg": "", "code": 0, "checks": CHECKS[:1]})
    result = run("check", "s", "b", "--admin", daemon.address)
    assert result.code == 0 and result.stdout.endswith("a switch would begin\n")


def test_check_sends_what_is_accepted(daemon):
    """All options of a switch that change its verdict."""
    daemon.script["POST /v1/sources/s/check"] = (200, {"result": True, "msg": "", "code": 0, "checks": []})
    run("check", "--admin", daemon.address, "s", "--old-is-dead", "b", "--accept-loss", "unknown",
        "--accept-errant", UUID, "--accept-errant", UUID + ":7", "--gtid-s", UUID + ":1-9", "--wait-catchup=1m30s",
        "--waive=sql_mode,time_zone", "--waive", "dm-ddl-locks")
    assert daemon.requests[0][3] == {
        "to": "b", "old-is-dead": True, "accept-loss": "unknown", "accept-errant": [UUID, UUID + ":7"],
        "gtid-s": UUID + ":1-9", "wait-catchup": 90000, "waive": ["sql_mode", "time_zone", "dm-ddl-locks"]}


@pytest.mark.parametrize("verb, words, body", [
    ("abort", [], {}), ("hold", [], {}), ("release", [], {}), ("adopt", ["b"], {"backend": "b"}),
    ("repin", ["b"], {"backend": "b"})])
def test_orders_are_posted_and_confirmed(daemon, verb, words, body):
    """Each verb posts to the path of its name."""
    daemon.script[f"POST /v1/sources/s/{verb}"] = (200, {"result": True, "msg": "being done", "code": 0})
    result = run(verb, "s", *words, "--admin", daemon.address)
    assert (result.code, result.stdout, result.stderr) == (0, f"{verb} s: being done\n", "")
    assert daemon.requests[0][0] == "POST" and daemon.requests[0][3] == body
    assert daemon.requests[0][2]["Content-Type"] == "application/json"


@pytest.mark.parametrize("status_code, answer, code", [
    (404, {"result": False, "msg": "no source s", "code": 1}, 1),
    (400, {"result": False, "msg": "bad", "code": 2}, 2),
    (409, {"result": False, "msg": "refused", "code": 3}, 3),
    (504, {"result": False, "msg": "late", "code": 4}, 4),
    (500, {"result": False, "msg": "unknown", "code": 5}, 5),
    (500, {"result": False, "msg": "no code"}, 1),
    (200, {"result": True, "msg": "a code of tomorrow", "code": 99}, 0),
    (500, {"result": True, "msg": "a server that errs"}, 1),
])
def test_exit_code_is_the_answers(daemon, status_code, answer, code):
    """The daemon's code, else result and HTTP status; the same with --json."""
    daemon.script["POST /v1/sources/s/hold"] = (status_code, answer)
    result = run("hold", "s", "--admin", daemon.address)
    assert result.code == code
    assert (result.stderr == f"sluice: {answer['msg']}\n") == (code != 0)
    result = run("hold", "s", "--admin", daemon.address, "--json")
    assert result.code == code and json.loads(result.stdout)["code"] == code


def test_order_whose_answer_breaks_off_is_unknown(daemon):
    """An order whose connection ends instead of an answer may have been done: exit 5. A question that breaks off: 1."""
    def hang_up(handler):
        handler.close_connection = True
        handler.connection.shutdown(2)

    daemon.script["POST /v1/sources/s/hold"] = hang_up
    daemon.script["GET /v1/sources/s"] = hang_up
    result = run("hold", "s", "--admin", daemon.address)
    assert result.code == 5
    assert "whether the order was carried out is not known, see: sluice status s" in result.stderr
    assert run("status", "s", "--admin", daemon.address).code == 1


def test_history_is_a_table(daemon):
    """Newest first as the daemon gives it; the limit goes into the query."""
    change = {"number": 7, "source-id": "s", "from": "a", "to": "b", "state": "done", "phase": "end",
              "started-unix-ms": 1767953702114, "hold-ms": 140, "held": 14, "killed": 1}
    daemon.script["GET /v1/sources/s/history?limit=5"] = (200, {"result": True, "msg": "", "switches": [change]})
    result = run("history", "s", "--limit", "5", "--admin", daemon.address)
    assert result.code == 0
    assert result.stdout.splitlines() == [
        "SWITCH  STARTED              FROM  TO  STATE  PHASE  HOLD-MS  HELD  KILLED",
        "7       2026-01-09 10:15:02  a     b   done   end    140      14    1",
    ]


def test_output_that_nobody_takes_is_a_failure(daemon):
    """A full disk behind stdout is not exit 0."""
    daemon.script["GET /v1/sources"] = (200, {"result": True, "msg": "", "sources": [SOURCE]})
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([SLUICE, "status", "--admin", daemon.address], stdout=full, stderr=subprocess.PIPE,
                              timeout=60, env=environment(), check=False)
    assert done.returncode == 1 and b"stdout did not take all" in done.stderr
