# SPDX-License-Identifier: Apache-2.0
"""A source in front of two servers, with what reads and uses it: what the tests of a switch begin with."""
import os
import pathlib
import subprocess

import pymysql

from .wait import wait_until


class Verb:
    """A verb of the command line that runs beside the test."""

    def __init__(self, proxy, folder, *words):
        self.proxy, self.words = proxy, words
        self.log = pathlib.Path(folder) / f"verb-{words[0]}-{proxy.runs}.log"
        self._process = proxy.launch_verb(*words, log=self.log)

    def end(self, limit=60.0):
        """Wait for it: (exit code, what a person reads)."""
        try:
            code = self._process.wait(limit)
        except subprocess.TimeoutExpired as error:
            text = f"{self.words} does not end: {self.log.read_text()}\n{self.proxy.log_tail()}"
            raise AssertionError(text) from error
        self.proxy.processes.end(self._process)
        return code, self.log.read_text()


class World:
    """A source whose active backend is a, which replicates to b; c reads through the proxy; a client has a session."""

    def __init__(self, servers, proxy):
        self.servers, self.proxy = servers, proxy
        self.a, self.b, self.c = servers.a, servers.b, servers.all.get("c")
        self.session = None
        self._kept = []

    def start(self):
        """The proxy routes, and the consumer, if it is a replica, reads through it."""
        self.a.query("CREATE TABLE test.t (id BIGINT AUTO_INCREMENT PRIMARY KEY)")
        self.write()
        self.b.wait_for(self.a)
        if self.consumer == "replica":
            self.c.replicate_from(self.a, via=("127.0.0.1", self.proxy.port), start=False)
        self.proxy.start_ready()
        if self.consumer == "replica":
            self.c.start_replica()
            self.c.wait_for(self.a)
        self.session = self.connect()
        return self

    @property
    def consumer(self):
        """Its type."""
        return self.proxy.source["consumer"]["type"]

    def connect(self):
        """A new client."""
        return self.a.connect("app", port=self.proxy.port)

    def keep(self, client):
        """A client that stop_clients() stops, should the test not come to it."""
        self._kept.append(client)
        return client

    def stop_clients(self):
        """Stop what was kept, the last first; what has been stopped already stays so."""
        while self._kept:
            self._kept.pop().stop()

    def write(self, server=None):
        """One transaction; returns its GTID."""
        server = server or self.a
        before = server.executed()
        server.query("INSERT INTO test.t VALUES ()")
        return server.one("SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, %s)", before)

    def uuid(self):
        """Of the server that a new client reaches."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT @@server_uuid AS uuid")
                return cursor.fetchone()["uuid"]
        finally:
            connection.close()

    def session_is_alive(self):
        """The session that was open from the start."""
        try:
            with self.session.cursor() as cursor:
                cursor.execute("SELECT 1")
                return cursor.fetchone() == {"1": 1}
        except pymysql.Error:
            return False

    def seen(self):
        """All that a refusal must leave as it was."""
        status = self.proxy.status()
        keys = ("active", "epoch", "mode", "held-by-hand", "accepted-loss", "switch", "held")
        found = {key: status[key] for key in keys}
        found["uuid"] = self.uuid()
        if self.consumer == "replica":
            replica = self.c.replica_status()
            found["threads"] = (replica["Replica_IO_Running"], replica["Replica_SQL_Running"])
        return found

    def delivered(self, gtids):
        """Whether the proxy saw |gtids| go by."""
        return self.a.one("SELECT GTID_SUBSET(%s, %s)", gtids, self.proxy.status()["delivered"]["gtid-d"] or "")

    def begin_switch(self, folder, *options, to="b"):
        """A switch that runs beside the test: a Verb."""
        return Verb(self.proxy, folder, "switch", self.proxy.source_id, to, "--yes", *options)

    def text(self, *words):
        """(exit code, what a person reads) of a verb."""
        done = subprocess.run(self.proxy.command(*words), text=True, capture_output=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL, env={**os.environ, "SLUICE_ADMIN": f"unix:{self.proxy.socket}"})
        return done.returncode, done.stdout + done.stderr

    def settled(self):
        """seen(), once a consumer that is about to connect has done so."""
        wait_until(lambda: self.seen().get("threads", ("",))[0] != "Connecting", 10, "the consumer is connected")
        return self.seen()

    def is_as(self, before, is_drained=False):
        """All as it was: routing, sessions, the consumer."""
        wait_until(lambda: self.seen() == before, 10, lambda: f"all is as it was: {before}; it is {self.seen()}")
        assert is_drained or self.session_is_alive()
        if self.consumer == "replica" and before["threads"] == ("Yes", "Yes"):
            self.write()
            self.c.wait_for(self.a)

    def passes(self, *options):
        """The switch is done: a new epoch, clients on b, the consumer as it was."""
        before = self.settled()
        self.proxy.switch("b", *options)
        after = self.seen()
        assert after["active"] == "b" and after["epoch"] == before["epoch"] + 1 and after["mode"] == "routing"
        assert after["uuid"] == self.b.uuid
        assert not after["switch"]
        assert after.get("threads") == before.get("threads")
        return self
