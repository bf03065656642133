# SPDX-License-Identifier: Apache-2.0
"""Switches of a source that DM reads, by a stand-in for DM: it says what a real one said, and behaves as one did."""
import statistics

import pytest
from sluicetest import Sampler, Writer, wait_until
from sluicetest.dm_stand_in import DmStandIn

TABLE = "CREATE TABLE test.rows_written (k BIGINT NOT NULL PRIMARY KEY, writer VARCHAR(16) NOT NULL, " \
        "body VARCHAR(400) NOT NULL)"
SWITCHES = 26


class World:
    """A source that is read by DM, a writer, and a sampler of both servers."""

    def __init__(self, servers, proxy, dm):
        self.servers, self.proxy, self.dm = servers, proxy, dm
        self.writer = self.sampler = None

    def start(self, validator="", tasks=("t1",), per_second=200):
        """Tasks that have their first checkpoint, and writes."""
        self.servers.a.query(TABLE)
        self.servers.b.wait_for(self.servers.a)
        for name in tasks:
            self.dm.add_task(name, validator=validator)
        self.writer = Writer(self.servers.a, per_second=per_second).start()
        self.writer.wait_rows(20)
        wait_until(lambda: all(task.flushed for task in self.dm.tasks.values()), 30,
                   lambda: f"checkpoints: {self.tell()}")
        down = self.dm.downstream
        wait_until(lambda: down.query("SHOW TABLES FROM test") and
                   down.one("SELECT COUNT(*) FROM test.rows_written") >= 20, 30, lambda: f"rows: {self.tell()}")
        self.sampler = Sampler([self.servers.a, self.servers.b]).start()
        return self

    def tell(self):
        """What DM would say, for a message."""
        units = {"relay": self.dm.relay, **self.dm.tasks}
        return {name: (unit.stage, unit.failure and (unit.failure.message, unit.failure.cause),
                       str(getattr(unit, "flushed", ""))) for name, unit in units.items()}

    def switch(self, name, *options, expect=0):
        """Switch, promote, and wait until the writer goes on."""
        new = self.servers.get(name)[0]
        result = self.proxy.switch(name, *options, limit=60, expect=expect)
        if expect == 0:
            self.writer.move_to(new)
            self.writer.wait_rows(20)
        return result

    def stop(self):
        """End writer and sampler."""
        if self.writer:
            self.writer.stop()
        if self.sampler:
            self.sampler.stop()

    def settle(self, last):
        """The writer has ended, and every task has all that |last| has."""
        self.writer.stop()
        executed = last.executed()
        tasks = self.dm.tasks.values()
        wait_until(lambda: all(last.one("SELECT GTID_SUBSET(%s, %s)", executed, str(task.flushed)) for task in tasks),
                   60, lambda: f"all tasks have {executed}: {self.tell()}")

    def compare(self, last):
        """Nothing lost, nothing doubled, downstream and upstream the same."""
        self.settle(last)
        lost, doubled, foreign = self.writer.compare(self.servers.c)
        assert (lost, doubled, foreign) == (0, 0, 0)
        assert self.servers.c.checksum() == last.checksum()


@pytest.fixture(name="world")
def fixture_world(trio, sluice, request):
    """Makes the world: world(relay=True, dm={…}, security={…}, hold_timeout="3s")."""
    made = []

    def make(relay=False, dm=None, security=None, **how):
        proxy = sluice(trio, consumer="none", **how)
        stand_in = DmStandIn(proxy.port, trio.c, relay=relay, **(dm or {}))
        proxy.source["consumer"] = {"type": "dm", "master-addr": stand_in.address,
                                    **({"security": security} if security else {})}
        made.append(World(trio, proxy, stand_in))
        proxy.start_ready()
        return made[-1]

    yield make
    for one in made:
        if one.writer and one.writer._thread.is_alive():  # pylint: disable=protected-access
            one.stop()
        one.dm.stop()


@pytest.mark.parametrize("relay, validator", [(False, ""), (True, "full")], ids=["plain", "relay-and-validator"])
def test_switches_under_writes_lose_nothing(world, capsys, relay, validator):
    """Under writes: never two servers at once, no row lost or doubled, and what ran before runs again."""
    run = world(relay=relay).start(validator=validator)
    results = []
    for name in ["b", "a"] * (SWITCHES // 2):
        results.append(run.switch(name).json["switch"])
    run.compare(run.servers.a)
    run.sampler.stop()
    assert run.sampler.servers_at_once() == 1
    assert run.dm.tasks["t1"].stage == "Running"
    assert run.dm.relay.stage == ("Running" if relay else "Stopped")
    assert run.dm.tasks["t1"].validator.stage == ("Running" if validator else "Stopped")
    holds = [result["hold-ms"] for result in results]
    with capsys.disabled():
        print(f"\n{SWITCHES} switches, relay {relay}, {run.writer.count} rows; hold median "
              f"{statistics.median(holds)} ms, maximum {max(holds)} ms; backends at once "
              f"{run.sampler.servers_at_once()}")
