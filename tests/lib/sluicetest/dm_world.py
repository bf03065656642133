# SPDX-License-Identifier: Apache-2.0
"""
A source that DM reads, a writer, and a sampler of the servers' processlists. What is asked of DM here is asked by its
API, so that one test runs with the stand-in and with a real DM.
"""
from .clients import Writer
from .sampler import Sampler
from .wait import wait_until

TABLE = "CREATE TABLE test.rows_written (k BIGINT NOT NULL PRIMARY KEY, writer VARCHAR(16) NOT NULL, " \
        "body VARCHAR(400) NOT NULL)"
ROW_SUM = "SELECT CONCAT(COUNT(*), ' rows, sum ', COALESCE(SUM(CRC32(CONCAT_WS('#', k, writer, body))), 0)) " \
          "FROM test.rows_written"
COUNT_LARGE = "SELECT COUNT(*) FROM test.rows_written WHERE writer = 'big'"
FIRST_LARGE = 1_000_000


def row_sum(server):
    """'N rows, sum M': independent of the rows' order, and the same on MySQL and on TiDB."""
    return server.one(ROW_SUM)


def count_large(server):
    """The rows of a large transaction on |server|."""
    return server.one(COUNT_LARGE)


def insert_large(server, rows):
    """One transaction of |rows| rows on |server|; returns its GTID."""
    before = server.executed()
    server.query(f"SET SESSION cte_max_recursion_depth = {rows + 1}")
    server.query("INSERT INTO test.rows_written SELECT n, 'big', 'x' FROM (WITH RECURSIVE s AS (SELECT %s AS n "
                 "UNION ALL SELECT n + 1 FROM s WHERE n < %s) SELECT n FROM s) AS all_of_them",
                 FIRST_LARGE, FIRST_LARGE + rows - 1)
    return server.one("SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, %s)", before)


class DmWorld:
    """|servers| has a, b and perhaps c; |proxy| is a Sluice or None; |dm| is a DmStandIn or a RealDm."""

    def __init__(self, servers, proxy, dm):
        self.servers, self.proxy, self.dm = servers, proxy, dm
        self.api, self.downstream = dm.api, dm.downstream
        self.active = servers.a
        self.writer = self.sampler = None

    def start(self, validator="", tasks=("t1",), per_second=200, host="127.0.0.2"):
        """Tasks that have their first checkpoint, and writes; a sampler of the sessions that come from |host|."""
        self.servers.a.query(TABLE)
        self.servers.b.wait_for(self.servers.a)
        for name in tasks:
            self.dm.add_task(name, validator=validator)
        self.writer = Writer(self.servers.a, per_second=per_second).start()
        self.writer.wait_rows(20)
        wait_until(lambda: self.has_s(tasks), 60, lambda: f"checkpoints: {self.tell()}", every=0.1)
        wait_until(lambda: self.downstream.query("SHOW TABLES FROM test") and
                   self.downstream.one("SELECT COUNT(*) FROM test.rows_written") >= 20, 60,
                   lambda: f"rows: {self.tell()}", every=0.1)
        self.sampler = Sampler([self.servers.a, self.servers.b], host=host).start()
        return self

    def has_s(self, names):
        """Whether all tasks have a checkpoint."""
        found = self.api.tasks()
        return all(name in found and found[name]["sync"] and found[name]["sync"]["syncerBinlogGtid"] for name in names)

    def tell(self):
        """What DM says, for a message."""
        return self.api.status()

    def stage(self, name="t1"):
        """The stage of a task, of "relay", of "validator of t1"."""
        return self.api.stages().get(name)

    def switch(self, name, *options, expect=0, limit=60):
        """Switch, promote, and wait until the writer goes on."""
        result = self.proxy.switch(name, *options, limit=limit, expect=expect)
        if expect == 0:
            self.promote(getattr(self.servers, name))
            self.writer.wait_rows(20)
        return result

    def runs_again(self, names=("t1",), limit=60):
        """All of |names| run, and the writer goes on."""
        wait_until(lambda: all(self.stage(name) == "Running" for name in names), limit,
                   lambda: f"{names} run: {self.tell()}", every=0.1)
        self.writer.wait_rows(20)

    def runs_again_soon(self, name="t1"):
        """The task runs; nothing is asked of the writer."""
        wait_until(lambda: self.stage(name) == "Running", 60, lambda: f"{name} runs: {self.tell()}", every=0.1)

    def promote(self, server):
        """The writer goes on on |server|."""
        self.active = server
        self.writer.move_to(server)

    def stop(self):
        """End writer and sampler."""
        if self.writer:
            self.writer.stop()
        if self.sampler:
            self.sampler.stop()

    def settle(self, last, limit=120):
        """The writer has ended, and every task has all that |last| has."""
        self.writer.stop()
        executed = last.executed()

        def have_all():
            tasks = self.api.tasks().values()
            return tasks and all(last.one("SELECT GTID_SUBSET(%s, %s)", executed, task["sync"]["syncerBinlogGtid"])
                                 for task in tasks if task["sync"])

        wait_until(have_all, limit, lambda: f"all tasks have {executed}: {self.tell()}", every=0.1)

    def equal_rows(self, last, limit=120):
        """Every row of |last| comes downstream, and no other: waits for that, as a checkpoint may be late by 30 s."""
        self.writer.stop()
        wanted = row_sum(last)
        wait_until(lambda: row_sum(self.downstream) == wanted, limit,
                   lambda: f"downstream {row_sum(self.downstream)}, wanted {wanted}: {self.tell()}", every=0.2)

    def compare(self, last):
        """Nothing lost, nothing doubled, downstream and upstream the same."""
        self.settle(last)
        lost, doubled, foreign = self.writer.compare(self.downstream)
        assert (lost, doubled, foreign) == (0, 0, 0)
        assert row_sum(self.downstream) == row_sum(last)
