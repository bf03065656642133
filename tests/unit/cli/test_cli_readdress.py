# SPDX-License-Identifier: Apache-2.0
"""`sluice readdress`: the user's files, the new one beside the old one, the order, and what is told of its end."""
import stat

import pytest
from conftest import run, stream

SOURCE = "source-id: s # 源\r\nfrom: {host: 1.2.3.4, port: 3306, user: dm, password: 'geheim'}\r\n"
TASK = "name: t1\nmysql-instances: [{source-id: s}]\ntarget-database: {password: geheim}\n"
RECORD = {"number": 7, "source-id": "s", "from": "1.2.3.4:3306", "to": "10.0.0.9:3400", "state": "done", "phase": "end",
          "steps": [], "checks": [], "hold-ms": 0, "options": {"kind": "readdress"}}


@pytest.fixture(name="files")
def fixture_files(folder):
    """A folder with both files, the source's readable by its owner only."""
    (folder / "source.yaml").write_bytes(SOURCE.encode())
    (folder / "source.yaml").chmod(0o600)
    (folder / "t1.yaml").write_text(TASK, encoding="utf-8")
    return folder


def order(daemon, files, *words):
    """The command line."""
    return ["readdress", "s", "--to", "10.0.0.9:3400", "--source-file", files / "source.yaml", "--task-file",
            files / "t1.yaml", "--admin", daemon.address, *words]


def accepts(daemon, **end):
    """A daemon that takes the order, and ends it so."""
    daemon.script["POST /v1/sources/s/readdress"] = (202, {"result": True, "msg": "", "switch": 7})
    event = {"type": "end", "result": True, "msg": "", "code": 0, "switch": RECORD, **end}
    daemon.script["GET /v1/switches/7/events"] = stream(event)


def new_file(files):
    """The one beside the old one."""
    return files / "source.10.0.0.9-3400.yaml"


def test_new_file_is_written_beside_the_old_one_with_its_mode(daemon, files):
    """Two words differ; the texts are posted as they are."""
    accepts(daemon)
    result = run(*order(daemon, files))
    assert result.code == 0, result
    assert new_file(files).read_bytes() == SOURCE.replace("1.2.3.4", "10.0.0.9").replace("3306", "3400").encode()
    assert stat.S_IMODE(new_file(files).stat().st_mode) == 0o600
    assert daemon.requests[0][3] == {"to": "10.0.0.9:3400", "source-file": SOURCE, "task-files": [TASK]}
    assert "readdress 7 of s to 10.0.0.9:3400: done" in result.stdout
    assert f"the source's file from now on: {new_file(files)}" in result.stdout
    assert "geheim" not in result.stdout + result.stderr


@pytest.mark.parametrize("code, stays", [(1, False), (3, False), (4, False), (5, True)])
def test_new_file_goes_where_nothing_came_of_it(daemon, files, code, stays):
    """Undone or refused: DM never had it. Where the state is unknown it stays."""
    accepts(daemon, result=False, code=code, msg="why")
    result = run(*order(daemon, files))
    assert result.code == code and "why" in result.stderr
    assert new_file(files).exists() == stays


def test_no_file_is_ever_overwritten(daemon, files):
    """Another file of that name stops it; the same one, of an earlier try, does not, and is left alone."""
    accepts(daemon)
    new_file(files).write_text("another", encoding="utf-8")
    result = run(*order(daemon, files))
    assert result.code == 2 and "move it away" in result.stderr and not daemon.requests
    assert new_file(files).read_text(encoding="utf-8") == "another"
    new_file(files).write_bytes(SOURCE.replace("1.2.3.4", "10.0.0.9").replace("3306", "3400").encode())
    accepts(daemon, result=False, code=1, msg="why")
    assert run(*order(daemon, files)).code == 1
    assert new_file(files).exists()


@pytest.mark.parametrize("name, text, words", [
    ("source.yaml", "from: {host: *x}\n", "source.yaml: line"),
    ("source.yaml", "from: {host: a}\nsource-id: geheim\n", "from.port (DM knows no default) is missing"),
    ("source.yaml", "a\0b", "a byte of zero"),
    ("t1.yaml", "name: [geheim\n", "t1.yaml: line"),
    ("t1.yaml", "name: t1\n", "mysql-instances names no source-id"),
    ("t1.yaml", "x" * 300_000, "larger than 256 KiB"),
], ids=["alias", "no-port", "zero", "flow", "no-sources", "large"])
def test_files_that_cannot_be_used_are_told_by_name_and_line(daemon, files, name, text, words):
    """Before anybody is asked; no value of theirs is shown."""
    (files / name).write_text(text, encoding="utf-8")
    result = run(*order(daemon, files))
    assert result.code == 2 and words in result.stderr, result
    assert "geheim" not in result.stderr and not daemon.requests and not new_file(files).exists()


def test_dry_run_shows_checks_and_calls_and_writes_nothing(daemon, files):
    """Each call with its body, and a file in it as people read it."""
    body = {"op": 1, "config": ["a: b\nc: \"******\"\n"]}
    calls = [{"method": "PUT", "path": "/apis/v1alpha1/sources", "body": body},
             {"method": "gRPC", "path": "/pb.Master/OperateRelay", "body": {"op": "StopRelayV2"}}]
    checks = [{"id": "C1", "name": "n", "state": "ok", "detail": "fine", "todo": ""}]
    daemon.script["POST /v1/sources/s/readdress"] = (200, {"result": True, "msg": "", "code": 0, "checks": checks,
                                                           "calls": calls})
    result = run(*order(daemon, files, "--dry-run"))
    assert result.code == 0 and "1. PUT /apis/v1alpha1/sources" in result.stdout, result
    assert "2. gRPC /pb.Master/OperateRelay\n   {\"op\":\"StopRelayV2\"}" in result.stdout
    assert "   which is:\na: b\nc: \"******\"\n" in result.stdout and "nothing was done" in result.stdout
    assert daemon.requests[0][3]["dry-run"] is True and not new_file(files).exists()


def test_resume_needs_no_address(daemon, files):
    """It is the journal's; with --undo it leads back."""
    accepts(daemon)
    words = ["readdress", "s", "--resume", "--undo", "--source-file", files / "source.yaml", "--admin", daemon.address]
    assert run(*words).code == 0
    assert daemon.requests[0][3] == {"source-file": SOURCE, "task-files": [], "resume": True, "undo": True}


def test_daemon_that_was_restarted_says_that_it_is_unfinished(daemon, files):
    """The stream broke: the record is open, and nobody works on it: exit 5, with what to do."""
    daemon.script["POST /v1/sources/s/readdress"] = (202, {"result": True, "msg": "", "switch": 7})
    daemon.script["GET /v1/switches/7/events"] = stream()
    answer = {"result": False, "msg": "how to go on: sluice status s", "code": 5, "unfinished": True}
    daemon.script["GET /v1/switches/7"] = (200, {**answer, "switch": {**RECORD, "state": "open"}})
    result = run(*order(daemon, files))
    assert result.code == 5 and "sluice status s" in result.stderr, result
    assert new_file(files).exists()
