#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The upstream of DM moves, live: first by the manual's steps with a virtual IP, then by `sluice switch`, the same twice
on the same workload. With a real DM where it is found, else with the stand-in. Every figure was measured in this run.
"""
import subprocess
import time
import types

from stage import FOLDER, main, say
from sluicetest import Server, Sluice, circular, free_port, mysql_version, reset_all, wait_until
from sluicetest.dm_real import RealDm, find, mysql_downstream, start_tidb, why_no_dm
from sluicetest.dm_stand_in import DmStandIn
from sluicetest.dm_world import DmWorld, count_large, insert_large, row_sum
from sluicetest.virtual_ip import VirtualIp

SOURCE, TASK = "mysql-01", "t1"


def head(text):
    """A part begins."""
    print(f"\n==== {text} " + "=" * max(4, 110 - len(text)) + "\n", flush=True)


def tell(*lines):
    """What is not an event."""
    for line in lines:
        print("        " + line, flush=True)


def users(server, host):
    """How many connections of DM |server| shows: those that come from |host|, the relay's or Sluice's address."""
    return sum(1 for row in server.processlist() if row["Host"].startswith(host + ":") and row["User"] == "dm")


def keys(server):
    """Of all rows."""
    return {row["k"] for row in server.query("SELECT k FROM test.rows_written")}


class Demo:
    """Servers and DMs, and the two ways side by side."""

    def __init__(self, processes):
        self.processes = processes
        self.is_real = why_no_dm() is None
        self.rows = 300_000 if self.is_real else 10_000  # of the large transaction: DM is to be in the midst of it
        self.figures = {"manual": {}, "sluice": {}}
        self.dms = 0

    def servers_up(self):
        """Three MySQL servers, and a TiDB if DM is real and tidb-server is there."""
        if self.is_real:
            say("DM: the real one, dm-master and dm-worker from DM_BIN or PATH")
        else:
            say(f"DM: A STAND-IN, because there is {why_no_dm()}.")
            tell("It answers as a real DM was recorded to, and behaves as one was seen to, its times scaled down.",
                 "With the real one: DM_BIN=/folder/of/dm-master ./dev demo dm")
        say(f"MySQL {mysql_version()}")
        made = [Server(name, FOLDER, self.processes) for name in ("a", "b", "downstream")]
        self.a, self.b, self.down = made
        for server in made:
            server.launch()
        for server in made:
            server.wait_ready()
        self.target = self.down
        if self.is_real:
            self.target = start_tidb(FOLDER, self.processes) if find("tidb-server") else mysql_downstream(self.down)

    def begin(self, port, proxy, host):
        """Both servers as new, DM reading from |port|, a writer on a: the workload of both ways."""
        reset_all(self.a, self.b, self.down)
        circular(self.a, self.b)
        if proxy:
            proxy.start_ready()
        self.dms += 1
        if self.is_real:
            dm = RealDm(port, self.target, self.processes, FOLDER / f"dm-{self.dms}", syncer={"worker-count": 1})
        else:
            dm = DmStandIn(port, self.down, batch=20)
        if proxy:
            proxy.source["consumer"] = {"type": "dm", "master-addr": dm.address}
            proxy.restart()
        world = DmWorld(types.SimpleNamespace(a=self.a, b=self.b), proxy, dm)
        return world.start(per_second=50, host=host)

    def go_on(self, world):
        """DM has read what was written until now."""
        world.writer.wait_rows(50)
        executed = world.active.executed()
        wait_until(lambda: self.a.one("SELECT GTID_SUBSET(%s, %s)", executed, world.api.gtid_s(TASK)), 60,
                   lambda: f"DM has {executed}: {world.tell()}", every=0.2)

    def begin_large(self, world, other):
        """
        All is with |other| and with DM, and then a large transaction commits that |other| never gets; DM is in the
        midst of it when this returns.
        """
        world.writer.pause()
        self.go_on_quietly(world, other)
        other.stop_replica()
        if not self.is_real:
            world.dm.batch_delay_s = 0.01
        gtid = insert_large(world.active, self.rows)
        wait_until(lambda: count_large(world.downstream) > 0, 60, "a part of it is downstream", every=0.02)
        say(f"{world.active.name}: a transaction of {self.rows} rows commits, {gtid}; {other.name} does not have it,")
        tell("its replication has stopped just before. DM is in the midst of it.")

    def go_on_quietly(self, world, other):
        """What the writer wrote is everywhere."""
        executed = world.active.executed()
        other.wait_for(executed)
        wait_until(lambda: self.a.one("SELECT GTID_SUBSET(%s, %s)", executed, world.api.gtid_s(TASK)), 60,
                   lambda: f"DM has {executed}: {world.tell()}", every=0.2)

    # By hand.

    def conditions(self, world, new):
        """Steps 1 to 4: S from query-status, P and E from the new server, and the two conditions."""
        s, p, e = world.api.gtid_s(TASK), new.purged(), new.executed()
        holds = new.one("SELECT GTID_SUBSET(%s, %s) AND GTID_SUBSET(%s, %s)", p, s, s, e)
        say(f"steps 1 to 3: S = {s}")
        tell(f"              P of {new.name} = {p or '(empty)'}", f"              E of {new.name} = {e}")
        say(f"step 4: S contains P, E contains S: {'both conditions hold' if holds else 'NO'}")
        return bool(holds)

    def by_hand(self, world, vip, new):
        """Steps 5 to 7."""
        began = time.monotonic()
        world.api.pause(TASK)
        say(f"step 5: pause-task: true, after {time.monotonic() - began:.1f} s")
        vip.move(new)
        say(f"step 6: the address points to {new.name}")
        world.api.resume(TASK)
        say("step 7: resume-task: true")
        wait_until(lambda: users(new, "127.0.0.3") > 0, 30, "DM connects to the new server")
        world.runs_again_soon()
        both = [users(server, "127.0.0.3") for server in (self.a, self.b)]
        say(f"the task is {world.stage(TASK)}; connections of DM: {both[0]} on a, {both[1]} on b")

    def manual(self):
        """The manual's procedure, and its figures."""
        head("1. As the manual says: pause-task, move the virtual IP, resume-task")
        vip = VirtualIp(free_port(), self.a)
        world = self.begin(vip.port, None, "127.0.0.3")
        figures = self.figures["manual"]
        say(f"DM reads through a virtual IP, played by a TCP relay: 127.0.0.1:{vip.port}; it points to a")
        say("a writer inserts into a; b replicates from a")
        self.go_on(world)
        self.conditions(world, self.b)
        self.by_hand(world, vip, self.b)
        tell("What a pause leaves open stays on the old server: nothing in the manual ends it.")
        world.promote(self.b)
        self.go_on(world)
        head("   The same back to a, while DM is in the midst of a large transaction that a does not have")
        self.begin_large(world, self.a)
        figures["conditions"] = "hold" if self.conditions(world, self.a) else "do not hold"
        self.by_hand(world, vip, self.a)
        figures["answer"] = f"resumed, \"{world.stage(TASK)}\""
        say(f"rows of it downstream: {count_large(world.downstream)}; on a, the upstream now: {count_large(self.a)}")
        world.active = self.a
        world.writer.resume(self.a)
        self.finish(world, figures)
        vip.stop()

    def finish(self, world, figures):
        """The writer ends; what is where."""
        world.writer.wait_rows(20)
        world.writer.stop()
        last = world.active
        wait_until(lambda: world.writer.compare(world.downstream)[0] == 0, 60, lambda: f"rows: {world.tell()}",
                   every=0.2)
        if figures is self.figures["sluice"]:
            world.equal_rows(last)
        lost, doubled, foreign = world.writer.compare(world.downstream)
        up, down = row_sum(last), row_sum(world.downstream)
        figures["too many"] = len(keys(world.downstream) - keys(last))
        figures["writer"] = f"{lost}, {doubled + foreign}"
        figures["end"] = "equal" if up == down else "DIFFER"
        say(f"upstream {last.name}: {up}; downstream: {down}")
        world.sampler.stop()
        figures["at once"], figures["seconds"] = world.sampler.servers_at_once(), world.sampler.seconds_at_once()
        world.dm.stop()

    # By Sluice.

    def verb(self, world, new, *options):
        """`sluice switch`, its output as it comes; returns its exit code."""
        command = world.proxy.command("switch", SOURCE, new.name, "--yes", *options)
        say(f"$ sluice switch {SOURCE} {new.name} --yes {' '.join(options)}".rstrip())
        log = FOLDER / "switch.log"
        running = self.processes.start(command, stdout=subprocess.PIPE, log=log,
                                       env={"SLUICE_ADMIN": f"unix:{world.proxy.socket}"})
        for line in running.stdout:
            tell(line.decode(errors="replace").rstrip())
        code = self.processes.end(running)
        for line in log.read_text(errors="replace").splitlines():
            tell(line)
        log.unlink()
        say(f"exit code {code}; the task is {world.stage(TASK)}; connections of DM: {users(self.a, '127.0.0.2')} on a, "
            f"{users(self.b, '127.0.0.2')} on b")
        return code

    def sluice(self):
        """The same by Sluice."""
        head("2. The same with Sluice in the virtual IP's place")
        proxy = Sluice(FOLDER / "sluice", self.processes, {"a": self.a, "b": self.b}, source_id=SOURCE,
                       drain_timeout="1s")
        world = self.begin(proxy.port, proxy, "127.0.0.2")
        figures = self.figures["sluice"]
        say(f"DM reads through Sluice: 127.0.0.1:{proxy.port}; active backend a")
        self.go_on(world)
        good = self.verb(world, self.b) == 0
        world.promote(self.b)
        self.go_on(world)
        head("   The same back to a, while DM is in the midst of a large transaction that a does not have")
        self.begin_large(world, self.a)
        code = self.verb(world, self.a, "--wait-catchup=2s")
        world.runs_again_soon()
        figures["conditions"] = "do not hold: gtid-D"
        figures["answer"] = f"refused, exit code {code}"
        say("refused: what DM was sent (gtid-D) is not all on a, and DM goes on. Replication is repaired, and again:")
        world.dm.batch_delay_s = 0
        self.a.start_replica()
        self.a.wait_for(self.b, 120)
        good = self.verb(world, self.a) == 0 and code in (3, 4) and good
        world.active = self.a
        world.writer.resume(self.a)
        self.finish(world, figures)
        history = proxy.run("history", SOURCE, expect=0).json["switches"]
        figures["hold"] = f"{max(one['hold-ms'] for one in history)} ms"
        proxy.stop()
        return good

    def table(self):
        """Both ways side by side."""
        one, two = self.figures["manual"], self.figures["sluice"]
        one.setdefault("hold", "-")
        for figures in (one, two):
            figures["seconds"] = f"{figures['seconds']:.1f} s"
        lines = [
            ("servers with connections of DM at once, at most", "at once"),
            ("    for how long", "seconds"),
            ("in the midst of a transaction that the new server lacks:", None),
            ("    the conditions", "conditions"),
            ("    the answer", "answer"),
            ("    rows downstream that the upstream does not have", "too many"),
            ("rows of the writer lost, doubled", "writer"),
            ("upstream and downstream at the end", "end"),
            ("hold: new connections wait for it, at most", "hold"),
        ]
        print(f"\n  {'measured in this run' + (' (DM: the stand-in)' if not self.is_real else ''):<58} "
              f"{'by the manual':<24} sluice switch")
        for name, key in lines:
            print(f"  {name:<58} {one[key] if key else '':<24} {two[key] if key else ''}")
        print(flush=True)
        return (one["at once"], one["end"]) == (2, "DIFFER") and one["too many"] > 0 and one["conditions"] == "hold" \
            and (two["at once"], two["end"], two["too many"], two["writer"]) == (1, "equal", 0, "0, 0")

    def run(self):
        """All of it."""
        self.servers_up()
        self.manual()
        good = self.sluice()
        return self.table() and good


if __name__ == "__main__":
    main(Demo)
