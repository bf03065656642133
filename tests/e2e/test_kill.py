# SPDX-License-Identifier: Apache-2.0
"""KILL through the proxy: it reaches the thread that the client means, or nobody."""
import socket
import ssl
import struct
import threading

import pymysql
import pytest
from sluicetest import free_port, wait_until

COM_PROCESS_KILL = 0x0c
COM_STMT_PREPARE = 0x16
UNKNOWN_THREAD = 1094
UNKNOWN_COMMAND = 1047
ALIASES = 0xc0000000  # ids of our choice begin here


class PlainProxy:
    """What a virtual IP or a TCP proxy does in Sluice's place: new connections go to |server| as it is then."""

    def __init__(self, server):
        self.server = server
        self.port = free_port()
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            behind = socket.create_connection(("127.0.0.1", self.server.port))
            self._sockets += [client, behind]
            for one, other in ((client, behind), (behind, client)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self):
        """Close all."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            one.close()
        self._thread.join(10)


def is_alive(connection):
    """Whether a session still answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return True
    except (pymysql.Error, OSError):
        return False


def ask(connection, sql):
    """All rows as dictionaries."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def command(connection, number, payload):
    """A command of the protocol by itself: None for OK, else the error's number."""
    connection._execute_command(number, payload)  # pylint: disable=protected-access
    try:
        connection._read_packet()  # pylint: disable=protected-access
        return None
    except pymysql.MySQLError as error:
        return error.args[0]


def kill(connection, thread, binary):
    """KILL by text or by COM_PROCESS_KILL: None for OK, else the error's number."""
    if binary:
        return command(connection, COM_PROCESS_KILL, struct.pack("<I", thread & 0xffffffff))
    try:
        ask(connection, f"KILL {thread}")
        return None
    except pymysql.MySQLError as error:
        return error.args[0]


def next_id(server):
    """About the id that the server gives next."""
    connection = server.connect("app")
    try:
        return connection.thread_id()
    finally:
        connection.close()


def even_out(a, b):
    """Both servers give about the same ids next."""
    while abs(next_id(a) - next_id(b)) > 20:
        low = min((a, b), key=next_id)
        for _ in range(10):
            low.connect("app").close()


def ended_by(server, killer, victim, binary):
    """
    A KILL through the proxy ends |victim|. MySQL 9 no longer has COM_PROCESS_KILL: its own answer comes through, as
    it does without a proxy, and the victim lives.
    """
    direct = server.connect("app")
    if binary and kill(direct, 4000000000, binary) == UNKNOWN_COMMAND:
        assert kill(killer, victim.thread_id(), binary) == UNKNOWN_COMMAND
        assert is_alive(victim)
    else:
        assert kill(killer, victim.thread_id(), binary) is None
        wait_until(lambda: not is_alive(victim), 10, "the session that was meant is gone")
    direct._force_close()  # pylint: disable=protected-access


class World:
    """A source without a consumer, its backends a and b; writes go to a."""

    def __init__(self, servers, proxy):
        self.a, self.b, self.proxy, self.opened = servers.a, servers.b, proxy, []

    def connect(self, port=None, **how):
        """A client of the proxy, or of another port."""
        self.opened.append(self.a.connect("app", port=port or self.proxy.port, read_timeout=20, **how))
        return self.opened[-1]

    def switch(self):
        """To b, with everything there."""
        self.b.wait_for(self.a)
        self.proxy.switch("b")

    def told_on_a(self, port=None):
        """Ids that clients were told on a and that b has still to give."""
        bound, told = next_id(self.b) + 5, []
        while len(told) < 5:
            number = self.connect(port).thread_id()
            told += [number] if number > bound else []
        return told

    def inside_tls(self):
        """A client whose TLS ends at the server: Sluice sees none of its commands."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = self.connect(ssl=context)
        assert ask(client, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0]["Value"]
        return client

    def bystanders(self, told):
        """Direct sessions on b, {id: session}, and one id of |told| that means one of them there."""
        made = {}
        while not made or max(made) <= max(told):
            connection = self.b.connect("app")
            made[connection.thread_id()] = connection
        self.opened += made.values()
        hits = sorted(set(told) & set(made))
        assert hits, f"no session of b has an id of {told}: the test shows nothing"
        return made, hits[0]


@pytest.fixture(name="world")
def fixture_world(pair, sluice):
    """A started world."""
    made = []

    def make(**how):
        proxy = sluice(pair, consumer="none", drain_timeout="500ms", **how)
        made.append(World(pair, proxy))
        return made[0]

    even_out(pair.a, pair.b)
    yield make
    for world in made:
        for connection in world.opened:
            connection._force_close()  # pylint: disable=protected-access


def start(world):
    """The proxy routes."""
    world.proxy.start_ready()
    return world


def test_without_sluice_a_stale_kill_ends_an_innocent_session(pair, world):
    """The hazard: an address that moves from a to b, and a client that kills its old session by a new connection."""
    plain = PlainProxy(pair.a)
    here = world()
    try:
        told = here.told_on_a(plain.port)
        plain.server = pair.b
        others, number = here.bystanders(told)
        assert kill(here.connect(plain.port), number, binary=False) is None
        wait_until(lambda: not is_alive(others[number]), 10, "the innocent session is gone")
        assert sum(not is_alive(one) for one in others.values()) == 1
    finally:
        plain.stop()


@pytest.mark.parametrize("binary", [False, True], ids=["text", "COM_PROCESS_KILL"])
def test_a_stale_kill_hits_nobody_behind_a_switch(world, binary):
    """The same through Sluice: 1094, and every session on b lives."""
    here = start(world())
    told = here.told_on_a()
    here.switch()
    others, number = here.bystanders(told)
    client = here.connect()
    assert kill(client, number, binary) == UNKNOWN_THREAD
    assert is_alive(client) and all(is_alive(one) for one in others.values())
    assert here.proxy.status()["counters"]["kills-refused"] == 1


@pytest.mark.parametrize("binary", [False, True], ids=["text", "COM_PROCESS_KILL"])
def test_a_kill_of_a_live_session_works(world, binary):
    """Before the first switch ids are the server's own, and KILL ends the session that was meant and no other."""
    here = start(world())
    victim, other, killer = here.connect(), here.connect(), here.connect()
    assert victim.thread_id() == ask(victim, "SELECT CONNECTION_ID() AS id")[0]["id"]
    ended_by(here.a, killer, victim, binary)
    assert is_alive(other)


@pytest.mark.parametrize("binary", [False, True], ids=["text", "COM_PROCESS_KILL"])
def test_an_id_that_was_told_before_is_translated(world, binary):
    """A session on b whose id was told to somebody on a is told another, and a KILL of that one reaches it."""
    here = start(world())
    told = here.told_on_a()
    here.switch()
    aliased, real = None, 0
    while aliased is None and real <= max(told):
        session = here.connect()
        real = ask(session, "SELECT CONNECTION_ID() AS id")[0]["id"]
        aliased = session if real in told else None
    assert aliased, f"no session has an id of {told} on b: the test shows nothing"
    assert aliased.thread_id() >= ALIASES
    killer = here.connect()
    assert kill(killer, real, binary) == UNKNOWN_THREAD
    assert is_alive(aliased) and is_alive(killer)
    ended_by(here.b, killer, aliased, binary)
    assert here.proxy.status()["counters"]["kills-translated"] == 1


def test_a_query_that_is_killed_ends_alone(world):
    """KILL QUERY ends the statement, and the session goes on."""
    here = start(world())
    victim, killer, seen = here.connect(), here.connect(), []

    def sleep():
        seen.append(ask(victim, "SELECT SLEEP(30) AS cut"))

    thread = threading.Thread(target=sleep)
    thread.start()
    wait_until(lambda: any("SLEEP" in (row["Info"] or "") for row in here.a.processlist()), 10, "the query runs")
    ask(killer, f"/* from a test */ kill query {victim.thread_id()} -- now")
    thread.join(20)
    assert [list(rows) for rows in seen] == [[{"cut": 1}]]
    assert is_alive(victim)


def test_a_foreign_thread_is_killed_as_it_is_named(world):
    """An id that Sluice never told anybody is somebody's on the server: the KILL passes unchanged."""
    here = start(world())
    stranger = here.a.connect("app")
    here.opened.append(stranger)
    assert kill(here.connect(), stranger.thread_id(), binary=False) is None
    wait_until(lambda: not is_alive(stranger), 10, "the stranger is gone")


def test_a_kill_that_cannot_be_read_is_refused_and_the_session_goes_on(world):
    """A thread named by an expression, a second statement behind it, a prepared KILL: nobody could translate them."""
    here = start(world())
    client = here.connect()
    for text in ("KILL @x", "KILL 5+1", "KILL CONNECTION_ID()"):
        with pytest.raises(pymysql.MySQLError) as caught:
            ask(client, text)
        assert caught.value.args[0] == 1105 and "KILL" in caught.value.args[1]
    assert command(client, COM_STMT_PREPARE, b"KILL 5") == 1295
    assert is_alive(client)


def test_in_passthrough_no_client_is_told_an_id_of_the_server(world):
    """Where a KILL can pass unseen every id is one that no server has."""
    here = start(world(tls={"mode": "passthrough"}))
    session = here.connect()
    assert session.thread_id() >= ALIASES
    assert ask(session, "SELECT CONNECTION_ID() AS id")[0]["id"] < ALIASES
    assert kill(here.connect(), session.thread_id(), binary=False) is None
    wait_until(lambda: not is_alive(session), 10, "a plain client's KILL is translated all the same")


def test_in_passthrough_a_stale_kill_inside_tls_hits_nobody(world):
    """
    Clients with TLS of their own to the server: an id that one was told on a is killed through another one on b,
    which nobody could translate. The server knows no such thread, and every session on b lives.
    """
    here = start(world(tls={"mode": "passthrough"}))
    bound, sessions, real = next_id(here.b) + 5, [], []
    while len(real) < 5:  # on the servers the ids collide: what clients are told must not
        sessions.append(here.inside_tls())
        number = ask(sessions[-1], "SELECT CONNECTION_ID() AS id")[0]["id"]
        real += [number] if number > bound else []
    told = [session.thread_id() for session in sessions]
    assert min(told) >= ALIASES and len(set(told)) == len(told)
    here.switch()
    others, _ = here.bystanders(real)
    inside = [here.inside_tls() for _ in range(3)]
    seen = here.proxy.status()["counters"]
    for number in told:
        assert kill(inside[0], number, binary=False) == UNKNOWN_THREAD
    assert all(is_alive(one) for one in [*inside, *others.values()])
    after = here.proxy.status()["counters"]
    assert [after[key] - seen[key] for key in ("kills-refused", "kills-translated")] == [0, 0], "it was not seen at all"
    assert kill(inside[0], inside[1].thread_id(), binary=False) == UNKNOWN_THREAD and is_alive(inside[1])
