#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Two switches, live: A and B replicate from each other, a third server replicates from the source through Sluice, a
writer never stops, and clients of every kind use the proxy. Every figure at the end was measured in this run.
"""
import subprocess
import time

from stage import FOLDER, main, say
from sluicetest import BinlogStream, IdleInTransaction, IdlePool, LongSelect, Reconnecting
from sluicetest import Sampler, Server, Sluice, Writer, circular, mysql_version, wait_until

SOURCE = "mysql-01"


class Demo:
    """The servers, Sluice, and everybody who works with them."""

    def __init__(self, processes):
        self.processes = processes
        self.switches, self.windows = [], []
        self.load = []

    def servers_up(self):
        """Three servers; a and b replicate from each other."""
        say(f"MySQL {mysql_version()}")
        self.a, self.b, self.down = [Server(name, FOLDER, self.processes) for name in ("a", "b", "downstream")]
        for server in (self.a, self.b, self.down):
            server.launch()
        for server in (self.a, self.b, self.down):
            server.wait_ready()
        circular(self.a, self.b)
        self.b.query("SET GLOBAL super_read_only = ON")
        say(f"servers: a {self.a.address}, b {self.b.address} (b replicates from a), downstream {self.down.address}")

    def sluice_up(self):
        """Sluice in front of a and b, and the downstream reading through it."""
        self.sluice = Sluice(FOLDER / "sluice", self.processes, {"a": self.a, "b": self.b}, consumer=self.down,
                             source_id=SOURCE, drain_timeout="1s")
        self.sluice.start_ready()
        say(f"sluice: listens on 127.0.0.1:{self.sluice.port}, active backend a, configuration {self.sluice.file}")
        self.down.replicate_from(self.a, via=("127.0.0.1", self.sluice.port), user="dm")

    def load_up(self):
        """A writer on a, and clients of the proxy."""
        port = self.sluice.port
        self.sampler = Sampler([self.a, self.b]).start()
        self.writer = Writer(self.a, per_second=200, rows=3).start()
        self.down.wait_for(self.a)
        self.reconnecting = Reconnecting(self.processes, FOLDER, port, clients=4)
        self.pool, self.begin = IdlePool(port, 8), IdleInTransaction(port)
        self.select, self.stream = LongSelect(port, 0.6), BinlogStream(self.processes, FOLDER, port)
        self.load = [self.reconnecting, self.pool, self.begin, self.select, self.stream]
        say("writer: inserts into a without pause")
        say("clients of the proxy: the downstream's replication, 4 that reconnect without pause, 8 idle ones, "
            "1 idle inside BEGIN,")
        say("                      1 with long SELECTs, 1 binlog stream that nobody pauses (mysqlbinlog --stop-never)")
        self.go_on(2.0)

    def go_on(self, seconds):
        """Traffic as usual."""
        until = time.monotonic() + seconds
        rows = self.writer.count
        wait_until(lambda: time.monotonic() >= until and self.writer.count > rows, seconds + 30,
                   lambda: f"rows are written; the last error: {self.writer.errors[-1:]}")

    def revive(self):
        """Clients whose sessions ended in a switch come again, as pools and readers do."""
        for client in (self.pool, self.begin, self.stream):
            client.ensure()

    def switch(self, name, server):
        """`sluice switch`, its output as it comes."""
        self.revive()
        command = self.sluice.command("switch", SOURCE, name, "--yes")
        print(flush=True)
        say(f"$ sluice switch {SOURCE} {name} --yes")
        began = time.monotonic()
        self.switches.append((began, server.uuid))
        self.windows.append([began, float("inf")])
        running = self.processes.start(command, stdout=subprocess.PIPE, log=FOLDER / "switch.log",
                                       env={"SLUICE_ADMIN": f"unix:{self.sluice.socket}"})
        for line in running.stdout:
            print("        " + line.decode(errors="replace").rstrip(), flush=True)
        code = self.processes.end(running)
        self.windows[-1][1] = time.monotonic()
        if code != 0:
            errors = (FOLDER / "switch.log").read_text(errors="replace")
            raise SystemExit(f"the switch to {name} ended with exit code {code}\n{errors}\n{self.sluice.log_tail(20)}")
        say(f"the switch took {time.monotonic() - began:.1f} s; clients read from {name} now")
        self.reconnecting.wait_reads(10, server.uuid)
        print(flush=True)

    def promote(self, name, server):
        """What a person does after a switch: the old server becomes read-only, the writer goes on on the new one."""
        began, old = time.monotonic(), self.writer.server
        self.writer.pause()
        old.query("SET GLOBAL super_read_only = ON")
        server.wait_for(old)
        server.query("SET GLOBAL read_only = OFF")  # takes super_read_only with it
        self.writer.resume(server)
        say(f"promotion: the writer goes on on {name} ({time.monotonic() - began:.2f} s without a write)")
        self.go_on(1.5)

    def results(self):
        """Stop everybody, compare, print. True when nothing was lost and the promise was kept."""
        self.writer.stop()
        for server in (self.a, self.b):
            server.wait_for(self.a)
            server.wait_for(self.b)
        self.down.wait_for(self.writer.server)
        for client in self.load:
            client.stop()
        self.load = []
        self.sampler.stop()
        lost, duplicated, foreign = self.writer.compare(self.down)
        sums = [server.checksum() for server in (self.a, self.b, self.down)]
        counters = self.sluice.status()["counters"]
        at_once = self.sampler.servers_at_once()
        stale = len(self.reconnecting.stale_reads(self.switches))
        reads, errors = self.reconnecting.reads(), self.reconnecting.errors()
        apart = [read for read in errors
                 if not any(read.started < end and read.ended > began for began, end in self.windows)]
        samples = sum(self.sampler.samples.values())
        figures = [
            ("rows written", self.writer.count),
            ("rows lost", lost),
            ("rows duplicated", duplicated),
            ("checksums of a, b and downstream", "equal" if len(set(sums)) == 1 else f"DIFFER: {sums}"),
            ("longest wait of a held client", f"{counters['longest-wait-ms']} ms"),
            ("clients held", counters["held"]),
            ("sessions closed idle", counters["closed-idle"]),
            ("sessions closed at a boundary", counters["closed-boundary"]),
            ("sessions killed", counters["killed"]),
            ("sessions of reconnecting clients",
             f"{len(reads)}; cut in a switch {len(errors) - len(apart)}, failed at other times {len(apart)}"),
            ("reads of the old server after the new one", stale),
            ("backends with connections at once, at most", f"{at_once} (in {samples} samples of the processlists)"),
        ]
        for name, value in figures:
            print(f"  {name + ' ':.<46} {value}")
        for read in apart[:3]:
            print(f"  a reconnecting client read: {read.error}")
        return (lost, duplicated, foreign, stale, len(apart), len(set(sums)), at_once) == (0, 0, 0, 0, 0, 1, 1)

    def run(self):
        """All of it."""
        self.servers_up()
        self.sluice_up()
        self.load_up()
        self.switch("b", self.b)
        self.go_on(1.0)
        self.promote("b", self.b)
        self.switch("a", self.a)
        self.go_on(1.0)
        self.promote("a", self.a)
        good = self.results()
        self.sluice.stop()
        return good


if __name__ == "__main__":
    main(Demo)
