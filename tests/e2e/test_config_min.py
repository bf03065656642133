# SPDX-License-Identifier: Apache-2.0
"""The least that an operator writes is enough: the minimal file, IPv6, names, TCP admin, status, exit codes."""
import http.client
import json
import os
import re
import socket
import subprocess

import pytest
import yaml

from sluicetest import Reconnecting, Writer, free_port, wait_until
from sluicetest.raw import Good
from sluicetest.sluice import TREE

MINIMAL = TREE / "conf/sluice-minimal.yaml"


def no_ipv6():
    """Whether there is no ::1 here."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return False
    except OSError:
        return True


def fill_in(one, servers, text):
    """The minimal file with this machine's addresses, paths and port in the place of its own; no key more or less."""
    password = one.account("sluice")["password-file"]
    for old, new in (("/run/sluice/admin.sock", one.socket), ("/var/lib/sluice", str(one.state)),
                     ("/etc/sluice/password", password), ("0.0.0.0:3400", f"0.0.0.0:{one.port}"),
                     ("10.0.0.1:3306", servers.a.address), ("10.0.0.2:3306", servers.b.address),
                     ("10.0.0.9:3306", servers.c.address)):
        assert old in text, f"{MINIMAL} has no {old} any more"
        text = text.replace(old, new)
    return text


def keys_of(node):
    """The shape of a YAML document: its keys, without the values."""
    if isinstance(node, dict):
        return {key: keys_of(value) for key, value in node.items()}
    return [keys_of(value) for value in node] if isinstance(node, list) else None


@pytest.fixture(name="minimal")
def fixture_minimal(trio, sluice):
    """A Sluice that runs from the minimal file; the downstream's account is the same as on the backends."""
    one = sluice(trio, consumer=trio.c)
    one.config = yaml.safe_load(fill_in(one, trio, MINIMAL.read_text("utf-8")))
    assert keys_of(one.config) == keys_of(yaml.safe_load(MINIMAL.read_text("utf-8")))
    trio.c.unlogged("GRANT REPLICATION_SLAVE_ADMIN ON *.* TO sluice@'%'")
    return one


# From the minimal file: starts, routes, switches to and fro, with everything on 127.0.0.1: a writer, B's replication,
# our own legs.
def test_minimal_file_starts_routes_and_switches(trio, minimal):
    trio.c.replicate_from(trio.a, via=("127.0.0.1", minimal.port), start=False)
    minimal.start_ready()
    trio.c.start_replica()
    writer = Writer(trio.a, per_second=100).start()
    writer.wait_rows(20)
    for name in ("b", "a"):
        Good(minimal.port).stop()
        result = minimal.switch(name)
        assert result.json["switch"]["state"] == "done"
        writer.move_to(trio.get(name)[0])
        writer.wait_rows(20)
        assert minimal.active == name
    writer.stop()
    trio.c.wait_for(trio.a)
    assert writer.compare(trio.c) == (0, 0, 0)
    status = minimal.status()
    assert status["counters"]["invariant-violations"] == 0 and status["epoch"] == 3


# The same while clients of this host reconnect without pause, to each server directly and through Sluice: they are
# told apart by
# their sockets, none that is not ours is taken for ours, and none keeps the old server from being seen empty.
def test_minimal_file_switches_beside_local_clients_that_reconnect(trio, minimal, processes, tmp):
    trio.c.replicate_from(trio.a, via=("127.0.0.1", minimal.port), start=False)
    minimal.start_ready()
    trio.c.start_replica()
    direct = [Reconnecting(processes, tmp, server.port, clients=1) for server in (trio.a, trio.b)]
    through = Reconnecting(processes, tmp, minimal.port, clients=2)
    kept = {server.name: server.connect("writer") for server in (trio.a, trio.b)}
    for name in ("b", "a", "b"):
        through.wait_reads(20)
        for _ in range(5):  # these clients can starve a small machine so that a limit runs out; then all is undone
            result = minimal.switch(name, expect=None)
            assert result.code in (0, 4), result.stdout
            assert result.json["switch"]["threads-killed"] == 0
            if result.code == 0:
                break
        assert minimal.active == name
        through.wait_reads(4, uuid=trio.get(name)[0].uuid)
    for one in (through, *direct):
        one.wait_reads(10)
        one.stop()
    assert [read for one in direct for read in one.errors()] == []
    for connection in kept.values():
        connection.ping(reconnect=False)
        connection.close()
    assert minimal.status()["counters"]["invariant-violations"] == 0


# The file in the tree is the one that people read: it is accepted as it stands but for the secrets, which are not
# there.
def test_minimal_file_is_refused_only_for_its_secrets(sluice, pair):
    one = sluice(pair)
    done = subprocess.run(one.command("check-config", "-c", MINIMAL), text=True, capture_output=True, check=False)
    assert done.returncode == 2 and "/etc/sluice/password" in done.stderr, done.stderr
    assert re.search(r"sluice-minimal\.yaml:\d+: ", done.stderr), done.stderr


# IPv6 all the way: the listener, the backends, the consumer, a switch.
@pytest.mark.skipif(no_ipv6(), reason="no ::1 here")
def test_ipv6_listener_and_backends_switch(servers, processes, sluice):
    for server in servers.get("a", "b"):
        server.options["bind-address"] = "127.0.0.1,::1"
        server.stop()
        server.start()
    a, b = servers.get("a", "b")
    for server in (a, b):
        server.reset()
    a.replicate_from(b)
    b.replicate_from(a)
    one = sluice(servers, source_address=None)
    one.source["listen"] = f"[::1]:{one.port}"
    for entry in one.source["backends"]:
        entry["address"] = entry["address"].replace("127.0.0.1", "[::1]")
    one.start_ready()
    Good(one.port, host="::1").stop()
    assert one.status()["listen"] == f"[::1]:{one.port}"
    one.switch("b")
    kept = b.connect("app", host="::1", port=one.port)
    seen = [row["Host"] for row in b.processlist() if row["User"] == "app"]
    assert seen and all(host.startswith("::1") for host in seen), seen
    one.switch("a")  # with a session to be found in the processlist by its IPv6 address, and drained
    kept._force_close()  # pylint: disable=protected-access
    Good(one.port, host="::1").stop()
    assert one.status()["counters"]["invariant-violations"] == 0


# Backends and consumer by name: resolved, probed, switched to.
def test_backends_by_name_switch(trio, sluice):
    one = sluice(trio, consumer=trio.c, source_address=None)
    for entry in (*one.source["backends"], one.source["consumer"]):
        entry["address"] = entry["address"].replace("127.0.0.1", "localhost")
    trio.c.replicate_from(trio.a, via=("127.0.0.1", one.port), start=False)
    one.start_ready()
    trio.c.start_replica()
    Good(one.port).stop()
    one.switch("b")
    assert one.active == "b"
    Good(one.port).stop()


def http_status(port, token=None):
    """(HTTP status, answer) of GET /v1/sources over TCP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/v1/sources", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def launch_tcp(one, port, **admin):
    """Start with the admin interface on TCP and wait until it listens."""
    one.config["admin"] = {"listen": f"127.0.0.1:{port}", **admin}
    one.launch()

    def listens():
        assert one.is_running, one.log_tail()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, 20, "the admin interface listens")


def verb(one, *words, **environment):
    """Run a verb as a person does; nothing but |environment| and the words tell it where the daemon is."""
    env = {key: value for key, value in os.environ.items() if key != "SLUICE_ADMIN"}
    return subprocess.run(one.command(*words), text=True, capture_output=True, check=False, timeout=60,
                          env={**env, **environment}, stdin=subprocess.DEVNULL)


# Over TCP: the token is asked for, verbs find it by the file or by --token-file.
def test_tcp_admin_with_token_serves_verbs(pair, sluice, tmp):
    one, port, token_file = sluice(pair), free_port(), tmp / "token"
    with open(os.open(token_file, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
        file.write("a-word\n")
    launch_tcp(one, port, **{"token-file": str(token_file)})
    assert http_status(port)[0] == 401 and http_status(port, "a-wore")[0] == 401
    assert http_status(port, "a-word")[0] == 200
    wait_until(lambda: http_status(port, "a-word")[1]["sources"][0]["mode"] == "routing", 20, "clients are routed")
    address = f"http://127.0.0.1:{port}"
    assert verb(one, "status", "-c", one.file).returncode == 0
    assert verb(one, "status", "--admin", address, "--token-file", token_file).returncode == 0
    bare = verb(one, "status", "--admin", address)
    assert bare.returncode != 0 and "token" in bare.stderr, bare.stderr
    assert verb(one, "switch", one.source_id, "b", "--yes", "-c", one.file).returncode == 0


# Over TCP without a token only where the file says insecure, in so many words.
def test_tcp_admin_without_token_only_when_insecure(pair, sluice):
    one, port = sluice(pair), free_port()
    one.config["admin"] = {"listen": f"127.0.0.1:{port}"}
    one.write_config()
    done = verb(one, "check-config", "-c", one.file)
    assert done.returncode == 2 and "token-file" in done.stderr and "insecure" in done.stderr, done.stderr
    launch_tcp(one, port, insecure=True)
    assert http_status(port)[0] == 200
    assert verb(one, "status", SLUICE_ADMIN=f"http://127.0.0.1:{port}").returncode == 0


# status: a table for people, one object for programs; both say the same.
def test_status_for_people_and_for_programs(pair, sluice):
    one = sluice(pair).start_ready()
    wait_until(lambda: one.status()["mode"] == "routing", 20, "clients are routed")
    where = {"SLUICE_ADMIN": f"unix:{one.socket}"}
    shown = verb(one, "status", **where)
    assert shown.returncode == 0
    for word in (one.source_id, "active a", "epoch 1", "routing", pair.a.address, pair.b.address, pair.a.uuid[:8]):
        assert word in shown.stdout, (word, shown.stdout)
    assert verb(one, "status", one.source_id, **where).stdout.splitlines()[0] == shown.stdout.splitlines()[0]
    document = json.loads(verb(one, "status", "--json", **where).stdout)
    assert document["result"] is True and document["msg"] == ""
    assert [(source["source-id"], source["active"], source["epoch"]) for source in document["sources"]] == \
        [(one.source_id, "a", 1)]
    checked = verb(one, "check", one.source_id, "b", **where)
    assert checked.returncode == 0 and "a switch would begin" in checked.stdout, checked.stdout
    firsts = {line.split()[0] for line in checked.stdout.splitlines() if line.strip()}
    assert firsts <= {"ok", "warn", "->", "a"}, checked.stdout
    switched = verb(one, "switch", one.source_id, "b", "--yes", **where)
    assert switched.returncode == 0
    assert re.search(r"\[ *\d+\.\d{3}\] flip", switched.stdout) and "hold window" in switched.stdout, switched.stdout
    past = verb(one, "history", one.source_id, **where)
    assert past.returncode == 0 and re.search(r"^1 .* a +b +done", past.stdout, re.M), past.stdout


# Without a daemon every verb that needs one exits 1 and says how to start it; a wrong word exits 2; gtid needs none.
@pytest.mark.parametrize("words, code", [
    (("status",), 1), (("check", "mysql-01", "b"), 1), (("switch", "mysql-01", "b", "--yes"), 1),
    (("abort", "mysql-01"), 1), (("hold", "mysql-01"), 1), (("release", "mysql-01"), 1),
    (("adopt", "mysql-01", "a"), 1), (("repin", "mysql-01", "a"), 1), (("history", "mysql-01"), 1),
    (("switch", "mysql-01"), 2), (("stauts",), 2), (("status", "--nonsense"), 2), ((), 2),
    (("switch", "mysql-01", "b", "--accept-loss=x"), 2), (("gtid", "contains", "", ""), 0), (("--version",), 0),
    (("--help",), 0),
])
def test_exit_codes_without_a_daemon(sluice, pair, tmp, words, code):
    one = sluice(pair)
    done = verb(one, *words, SLUICE_ADMIN=f"unix:{tmp}/no.sock")
    assert done.returncode == code, (done.stdout, done.stderr)
    if code == 1:
        assert "no daemon" in done.stderr and "sluice serve" in done.stderr, done.stderr
        as_json = verb(one, *words, "--json", SLUICE_ADMIN=f"unix:{tmp}/no.sock")
        document = json.loads(as_json.stdout)
        assert as_json.returncode == 1 and document["result"] is False and document["code"] == 1 and document["msg"]
    elif code == 2:
        assert done.stderr.strip(), "a refusal without a word"


# With a daemon: 2 for names that are not there, 3 for what a check refuses, 1 for what is in the way.
def test_exit_codes_with_a_daemon(pair, sluice):
    one = sluice(pair).start_ready()
    wait_until(lambda: one.status()["mode"] == "routing", 20, "clients are routed")
    one.run("status", "no-such-source", expect=2)
    one.switch("no-such-backend", expect=2)
    one.switch("a", expect=3)
    one.run("abort", one.source_id, expect=1)
    pair.a.stop_replica()
    pair.b.query("CREATE TABLE test.errant (id INT PRIMARY KEY)")
    assert one.check("b", "--wait-catchup=0", expect=3).json["result"] is False
    refused = one.switch("b", "--wait-catchup=0", expect=3)
    assert refused.json["result"] is False and refused.json["code"] == 3 and refused.json["msg"]
