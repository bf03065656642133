# SPDX-License-Identifier: Apache-2.0
"""The command line: help, usage errors, how the daemon is found."""
import json
import os

import pytest
from conftest import run

VERBS = ["serve", "status", "check", "switch", "readdress", "abort", "hold", "release", "adopt", "repin", "history",
         "check-config", "gtid"]
SOURCES = (200, {"result": True, "msg": "", "sources": []})
UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


def test_version_names_the_program():
    """--version prints one line."""
    result = run("--version")
    assert result.code == 0 and result.stdout.startswith("sluice ") and result.stdout.count("\n") == 1


def test_help_lists_every_verb_and_each_verb_has_its_own():
    """--help of all and of each; on stdout, exit 0."""
    result = run("--help")
    assert result.code == 0 and not result.stderr
    for verb in VERBS:
        assert f"\n  {verb} " in result.stdout
        own = run(verb, "--help")
        assert own.code == 0 and verb in own.stdout and not own.stderr


@pytest.mark.parametrize("words, reason", [
    ([], "a verb is missing; see: sluice --help"),
    (["stauts"], "'stauts' is no verb; see: sluice --help"),
    (["status", "a", "b"], "'b' is one word too many; see: sluice status --help"),
    (["switch", "a"], "switch needs: SOURCE BACKEND; see: sluice switch --help"),
    (["switch", "a", "b", "--force"], "--force is no option; see: sluice switch --help"),
    (["status", "--yes"], "status takes no --yes; see: sluice status --help"),
    (["status", "--json=1"], "--json takes no value; see: sluice status --help"),
    (["status", "-c"], "--config needs its FILE; see: sluice status --help"),
    (["switch", "a", "b", "--wait-catchup", "5"],
     "--wait-catchup is a duration up to 24h such as 30s, or 0, not '5'; see: sluice switch --help"),
    (["switch", "a", "b", "--wait-catchup=25h"],
     "--wait-catchup is a duration up to 24h such as 30s, or 0, not '25h'; see: sluice switch --help"),
    (["switch", "a", "b", "--gtid-s", UUID + ":1-"], "--gtid-s is no GTID set: "),
    (["switch", "a", "b", "--accept-errant", "x"], "--accept-errant is no GTID set: "),
    (["switch", "a", "b", "--accept-loss", "some"], "--accept-loss is no GTID set: "),
    (["switch", "a", "b", "--waive=sql_mode,gtid_mode"],
     "--waive: 'gtid_mode' is no check that can be waived; these can be: time_zone, sql_mode, "),
    (["history", "a", "--limit", "0"], "--limit is a number from 1 to 1000, not '0'; see: sluice history --help"),
    (["serve", "--log-format", "xml", "-c", "f"], "--log-format is text or json, not 'xml'; see: sluice serve --help"),
    (["serve"], "serve needs -c FILE; see: sluice serve --help"),
    (["status"], "which daemon? name it with -c FILE, --admin unix:/PATH or SLUICE_ADMIN"),
    (["status", "--admin", "/run/x"],
     "--admin: '/run/x' is no address of a daemon; write unix:/PATH or http://HOST:PORT"),
    (["status", "--admin", "https://a:1"],
     "--admin: 'https://a:1' is no address of a daemon; write unix:/PATH or http://HOST:PORT"),
    (["readdress", "a", "--to", "x"], "--to is HOST:PORT, an IPv6 address in brackets, not 'x'; see: sluice readdress"),
    (["readdress", "a", "--to", "x:1"], "--source-file is missing"),
    (["readdress", "a", "--source-file", "x"], "--to is missing"),
    (["readdress", "a", "--source-file", "x", "--to", "x:1", "--undo"], "--undo goes with --resume"),
    (["readdress", "a", "--source-file", "x", "--resume", "--dry-run"], "--resume and --dry-run exclude each other"),
    (["readdress", "a", "--source-file", "/none", "--to", "x:1"], "/none: No such file or directory"),
    (["status", b"\xff"], "argument 2 is no UTF-8; see: sluice --help"),
])
def test_wrong_usage_exits_2_and_says_what_to_do(words, reason):
    """On stderr, and nothing on stdout."""
    words = [os.fsdecode(word) if isinstance(word, bytes) else word for word in words]
    result = run(*words)
    assert result.code == 2
    assert result.stderr.startswith("sluice: " + reason)
    assert not result.stdout


def test_wrong_usage_is_an_object_with_json():
    """A script that reads JSON reads JSON."""
    result = run("switch", "a", "--json")
    assert result.code == 2 and not result.stderr
    assert json.loads(result.stdout) == {
        "result": False, "msg": "switch needs: SOURCE BACKEND; see: sluice switch --help", "code": 2}


def test_no_daemon_exits_1(folder):
    """A socket that is not there, and a port on which nobody listens."""
    result = run("status", "--admin", f"unix:{folder}/none")
    assert result.code == 1
    assert result.stderr == (f"sluice: no daemon at unix:{folder}/none: No such file or directory; "
                             "start it with: sluice serve -c FILE\n")
    result = run("status", "--admin", "http://127.0.0.1:1", "--json")
    assert result.code == 1
    assert json.loads(result.stdout)["msg"].startswith("no daemon at http://127.0.0.1:1: Connection refused;")


def test_daemon_is_found_by_option_file_and_environment(daemon, folder):
    """--admin before -c before SLUICE_ADMIN; a file that is wrong elsewhere is good enough."""
    daemon.script["GET /v1/sources"] = SOURCES
    file = folder / "sluice.yaml"
    file.write_text(f"admin: {{socket: {daemon.address[5:]}}}\nsources: nonsense\n")
    wrong = folder / "wrong.yaml"
    wrong.write_text(f"admin: {{socket: {folder}/none}}\n")
    assert run("status", "--admin", daemon.address).code == 0
    assert run("status", f"--admin={daemon.address}", "-c", wrong).code == 0
    assert run("status", "-c", file).code == 0
    assert run("status", f"-c{file}", env={"SLUICE_ADMIN": f"unix:{folder}/none"}).code == 0
    assert run("status", env={"SLUICE_ADMIN": daemon.address}).code == 0
    assert len(daemon.requests) == 5


def test_broken_file_is_told_with_its_line(folder):
    """Exit 2, as of any wrong usage."""
    file = folder / "sluice.yaml"
    file.write_text("\nadmin: {sockt: a}\n")
    result = run("status", "-c", file)
    assert result.code == 2
    assert result.stderr == (f"sluice: {file}:2: admin.sockt: unknown key; known here are: socket, listen, token-file, "
                             "insecure\n")


def test_token_comes_from_the_option_or_the_file(tcp_daemon, folder):
    """And goes into the Authorization header; the option wins. A token that others can read is refused."""
    tcp_daemon.script["GET /v1/sources"] = SOURCES
    token, other, file = folder / "token", folder / "other", folder / "sluice.yaml"
    token.write_text("abc\n")
    other.write_text("def\n")
    token.chmod(0o600)
    other.chmod(0o600)
    listen = tcp_daemon.address[len("http://"):]
    file.write_text(f"admin: {{listen: '{listen}', token-file: {token}}}\n")
    assert run("status", "-c", file).code == 0
    assert run("status", "-c", file, "--token-file", other).code == 0
    assert run("status", "--admin", tcp_daemon.address).code == 0
    assert [request[2].get("Authorization") for request in tcp_daemon.requests] == ["Bearer abc", "Bearer def", None]
    token.chmod(0o644)
    result = run("status", "-c", file)
    assert result.code == 2 and "run: chmod 600" in result.stderr


def test_what_answers_is_no_sluice(tcp_daemon):
    """A web server in the daemon's place is told apart, and nothing of it is shown."""
    tcp_daemon.script["GET /v1/sources"] = (200, ["no object"])
    result = run("status", "--admin", tcp_daemon.address)
    assert result.code == 1
    assert result.stderr == (f"sluice: what answers at {tcp_daemon.address} is no sluice (HTTP status 200, no JSON "
                             "object); see -c, --admin and SLUICE_ADMIN\n")


def test_check_config_judges_the_whole_file(folder):
    """Good: exit 0; bad: exit 2 with file, line, key, reason, what to do; also as JSON."""
    password, file = folder / "password", folder / "sluice.yaml"
    password.write_text("x\n")
    password.chmod(0o600)
    good = (f"admin: {{socket: {folder}/s}}\nstate-dir: {folder}\nsources:\n"
            "  - {source-id: one, listen: 127.0.0.1:3400,\n"
            f"     account: {{user: u, password-file: {password}}}, active: a,\n"
            "     backends: [{name: a, address: 10.0.0.1:3306}], consumer: {type: none}}\n")
    file.write_text(good)
    result = run("check-config", "-c", file)
    assert (result.code, result.stdout) == (0, f"{file}: ok, 1 source\n")
    result = run("check-config", "-c", file, "--json")
    assert json.loads(result.stdout) == {"result": True, "msg": "", "code": 0, "config": str(file), "sources": 1}
    file.write_text(good + "threads: many\n")
    result = run("check-config", "-c", file)
    assert result.code == 2
    assert result.stderr == f"sluice: {file}:7: threads: 'many' is no number; write decimal digits only, such as 2000\n"
    result = run("check-config", "-c", file, "--json")
    assert result.code == 2 and json.loads(result.stdout)["result"] is False


def test_reference_is_a_table_of_all_keys():
    """Needs no file."""
    result = run("check-config", "--reference")
    assert result.code == 0
    assert result.stdout.startswith("| key | level | unit | default | range | contained | what it is |\n|---|")
    assert "| `hold-timeout` | global, source | duration | 8s | 1s..19s |" in result.stdout


def test_gtid_is_reached_with_its_own_words():
    """Its options and exit codes are its own."""
    assert run("gtid", "count", UUID + ":1-7").stdout == "7\n"
    assert run("gtid", "contains", UUID + ":1-7", UUID + ":8").code == 1
    assert run("gtid", "nonsense").code == 2
