# SPDX-License-Identifier: Apache-2.0
"""The data path between real servers and real clients."""
import os
import pathlib
import subprocess
import sys
import threading

import pymysql
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "lib"))

from sluicetest import Processes, Server  # noqa: E402
from sluicetest.clients import BinlogStream  # noqa: E402
from sluicetest.mariadb import MariaDB, NoMariaDB  # noqa: E402
from sluicetest.proxy_header import connect as connect_behind, version1, version2  # noqa: E402
from sluicetest.server import PASSWORDS  # noqa: E402
from sluicetest.wait import wait_until  # noqa: E402


class Relay:
    """The program of relay_main.c."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([os.environ["RELAY"], *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def say(self, line):
        """Give an order; returns the counters as a dictionary, the legs as a list under "leg"."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        seen = {"leg": [word[4:].split("/") for word in words if word.startswith("leg=")]}
        seen["told"] = dict(word[5:].split("/") for word in words if word.startswith("told="))
        seen.update((key, int(value)) for key, value in (word.split("=", 1) for word in words)
                    if key not in ("leg", "told"))
        return seen

    def route(self, server, index, epoch):
        """To |server|."""
        return self.say(f"route {server.port} {index} {epoch}")

    def end(self):
        """Returns its exit code: 0 when no handle, no byte was left."""
        self.process.stdin.close()
        return self.process.wait(20)


@pytest.fixture(scope="module", name="servers")
def fixture_servers(tmp_path_factory):
    """Two servers that know nothing of each other."""
    processes = Processes()
    both = [Server(name, tmp_path_factory.mktemp("net"), processes) for name in "ab"]
    for server in both:
        server.launch()
    for server in both:
        server.wait_ready()
        server.query("CREATE TABLE test.t (k INT PRIMARY KEY, body LONGTEXT)")
    yield both
    processes.end_all()


@pytest.fixture(name="relay")
def fixture_relay():
    """A relay that must end with nothing left."""
    relay = Relay()
    yield relay
    assert relay.end() == 0


def connect(relay, user="app", **how):
    """A client of the relay."""
    return pymysql.connect(host="127.0.0.1", port=relay.port, user=user, password=PASSWORDS[user], autocommit=True,
                           connect_timeout=20, read_timeout=20, **how)


def ask(connection, sql):
    """The first column of the first row."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
        return row[0] if row else None


def test_legs_are_those_of_the_servers_processlist(servers, relay):
    """Thread id and HOST of each leg are what the server shows, and phases follow what clients do."""
    relay.route(servers[0], 0, 1)
    idle, working = connect(relay), connect(relay)
    ask(working, "BEGIN")
    legs = relay.say("show")["leg"]
    listed = {str(row["Id"]): row["Host"] for row in servers[0].processlist() if row["User"] == "app"}
    assert {leg[0]: leg[1] for leg in legs} == listed
    by_id = {int(leg[0]): leg[2:] for leg in legs}
    assert by_id[idle.thread_id()] == ["app", "command", "idle"]
    assert by_id[working.thread_id()] == ["app", "command", "busy", "transaction"]
    idle.close()
    working.close()
    wait_until(lambda: relay.say("show")["legs"] == 0)
    assert relay.say("show")["lost"] == 0


def test_large_values_pass_unchanged(servers, relay):
    """Statements and rows of more than one 16 MB packet."""
    servers[0].query("SET GLOBAL max_allowed_packet = 67108864")
    relay.route(servers[0], 0, 1)
    client = connect(relay, max_allowed_packet=67108864)
    body = "x" * (17 << 20)
    with client.cursor() as cursor:
        cursor.execute("REPLACE INTO test.t VALUES (1, %s)", (body,))
        cursor.execute("SELECT body FROM test.t WHERE k = 1")
        assert cursor.fetchone()[0] == body
    seen = relay.say("show")
    assert seen["buffered"] == 0 and seen["leg"][0][4] == "idle"
    client.close()


def test_move_of_all_clients_from_a_to_b(servers, relay):
    """Idle ones are closed, a busy one gets its answer, a stream ends, newcomers are held; then all are on B."""
    a, b = servers
    relay.route(a, 0, 1)
    idle, busy, stuck = connect(relay), connect(relay), connect(relay)
    ask(stuck, "BEGIN")
    streamer = BinlogStream(a.processes, a.folder, relay.port)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask(busy, "SELECT SLEEP(1.5)")))
    try:
        wait_until(lambda: relay.say("show")["streams"] == 1)
        thread.start()
        wait_until(lambda: any(leg[3] == "reply" for leg in relay.say("show")["leg"]))
        relay.say("hold")
        relay.say("drain")
        wait_until(lambda: relay.say("show")["legs"] == 2)  # the busy one and the one in a transaction are left
        seen = relay.say("show")
        assert seen["idle"] + seen["boundary"] == 2 and seen["idle"] >= 1  # the stream may have been in a transaction
        held = []
        late = threading.Thread(target=lambda: held.append(ask(connect(relay), "SELECT @@server_uuid")))
        late.start()
        wait_until(lambda: relay.say("show")["held"] >= 1)
        thread.join(10)
        assert answers == [0]
        wait_until(lambda: relay.say("show")["legs"] == 1)
        assert relay.say("show")["boundary"] == seen["boundary"] + 1
        assert relay.say("kill")["killed"] == 1
        assert relay.say("show")["legs"] == 0
        relay.route(b, 1, 2)
        late.join(10)
        assert held == [b.uuid]
        for client in (idle, busy, stuck):
            with pytest.raises(pymysql.err.OperationalError):
                ask(client, "SELECT 1")
    finally:
        streamer.stop()
    assert relay.say("show")["lost"] == 0


def test_a_killed_server_is_a_loss_and_a_wrong_password_is_none(servers, relay):
    """What the driver has to look at the server again for."""
    relay.route(servers[1], 0, 1)
    with pytest.raises(pymysql.err.OperationalError) as refused:
        pymysql.connect(host="127.0.0.1", port=relay.port, user="app", password="wrong", connect_timeout=10)
    assert refused.value.args[0] == 1045
    assert relay.say("show")["lost"] == 0
    client = connect(relay)
    servers[1].query(f"KILL {client.thread_id()}")
    with pytest.raises(pymysql.err.OperationalError):
        ask(client, "SELECT 1")
    wait_until(lambda: relay.say("show")["lost"] == 1)
    relay.route(servers[1], 0, 1)
    client = connect(relay)
    servers[1].kill()
    with pytest.raises(pymysql.err.OperationalError):
        ask(client, "SELECT 1")
    wait_until(lambda: relay.say("show")["lost"] == 2)
    servers[1].start()


@pytest.fixture(scope="module", name="mariadb")
def fixture_mariadb(tmp_path_factory):
    """A MariaDB server that reads PROXY headers from 127.0.0.1."""
    processes = Processes()
    try:
        server = MariaDB(tmp_path_factory.mktemp("maria"), processes)
    except NoMariaDB as error:
        pytest.skip(f"no MariaDB server: {error}")
    print(server.version)
    yield server
    processes.end_all()


@pytest.mark.parametrize("version", ["1", "2"])
def test_mariadb_is_told_who_the_clients_are(mariadb, version):
    """Its processlist shows what the header said, IPv4 and IPv6; a client at 127.0.0.1 is not told."""
    relay = Relay(version)
    relay.route(mariadb, 0, 1)
    clients = [connect_behind(relay.port, version2("10.1.2.3", 4567)),
               connect_behind(relay.port, version1("2001:db8::9", 4000)), connect_behind(relay.port, bind="127.0.0.5")]
    local = connect(relay)
    seen = relay.say("show")
    listed = {str(row["Id"]): row["Host"] for row in mariadb.query("SHOW PROCESSLIST")}
    assert {"10.1.2.3:4567", "2001:db8::9:4000"} < set(seen["told"].values()) and len(seen["told"]) == 3
    assert seen["told"].items() <= listed.items()
    own = {leg[0]: leg[1] for leg in seen["leg"]}
    assert listed[str(local.thread_id())] == own[str(local.thread_id())]
    assert seen["lost"] == seen["protocol"] == 0
    for client in [*clients, local]:
        ask(client, "SELECT 1")
        client.close()
    assert relay.end() == 0
