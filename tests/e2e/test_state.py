# SPDX-License-Identifier: Apache-2.0
"""A state-dir that cannot be written, is in use, is damaged, or is gone: a clear error, and never a wrong server."""
import contextlib
import os
import shutil
import subprocess

import pytest

from sluicetest import Writer, free_port, wait_until
from sluicetest.raw import Good, refused

TMPFS_BYTES = 4 << 20


@pytest.fixture(name="disk")
def fixture_disk(tmp):
    """A small file system of its own, to be filled and made read-only."""
    path = tmp / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", path], capture_output=True,
                          check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not allowed here: {done.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def fill(disk):
    """Take every byte of the file system; remove the file to free it."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filler


def failed_start(one):
    """Exit code and log of a start that must fail."""
    one.launch()
    code = one.wait_exit(30)
    one.check_log()
    return code, one.log_tail(20)


# A disk that is full refuses orders with what to do, and clients go on; with room again the same orders are done.
def test_full_disk_refuses_orders_and_keeps_clients(pair, sluice, disk):
    one = sluice(pair)
    one.config["state-dir"] = str(disk / "state")
    one.start_ready()
    with Good(one.port, reconnects=False) as good:
        filler = fill(disk)
        failures = 0
        for _ in range(200):  # what the log of the database has room for already still succeeds
            failures += one.run("hold", one.source_id).code == 1
            failures += one.run("release", one.source_id).code == 1
            if failures >= 2:
                break
        assert failures >= 2
        told = one.run("hold", one.source_id)
        if told.code == 1:
            assert "state-dir" in told.json["msg"] and not told.json["result"]
        switched = one.switch("b", expect=1)
        assert "state-dir" in switched.json["msg"], switched.json
        good.wait_queries(10)
        filler.unlink()
        wait_until(lambda: one.run("release", one.source_id).code == 0, 20, "orders are done again", every=0.2)
    wait_until(lambda: one.status()["mode"] == "routing", 20, lambda: f"clients are routed: {one.status()}")
    assert one.active == "a"
    one.switch("b")
    assert one.active == "b"


# A disk that is full when Sluice starts: it says so and ends.
def test_full_disk_at_start_is_told(pair, sluice, disk):
    one = sluice(pair)
    one.config["state-dir"] = str(disk / "state")
    fill(disk)
    code, log = failed_start(one)
    assert code == 1 and str(disk / "state") in log and "make room" in log, log


# A read-only state-dir: told at the start, with what is wrong with it.
def test_read_only_state_dir_at_start_is_told(pair, sluice, disk):
    one = sluice(pair)
    one.config["state-dir"] = str(disk / "state")
    one.start_ready()
    one.stop()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    code, log = failed_start(one)
    assert code == 1 and "state-dir" in log and "read-only" in log.lower(), log
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    one.start_ready()
    assert one.active == "a"


# The same without a file system of its own: a disk that fails as told, in the test build.
@pytest.mark.parametrize("fault", ["write:1+:enospc", "sync:1+:eio", "write:1+:eio"])
def test_failing_disk_refuses_orders_and_keeps_clients(pair, sluice, tmp, fault):
    arm = tmp / "arm"
    one = sluice(pair).start_ready(SLUICE_FAULT_DISK=f"{fault}:{arm}")
    with Good(one.port) as good:
        arm.touch()
        refused_order = one.run("hold", one.source_id, expect=1)
        assert "state-dir" in refused_order.json["msg"]
        assert "state-dir" in one.switch("b", expect=1).json["msg"]
        good.wait_queries(10)
    one.kill()
    one.start_ready()  # the disk is well again
    assert one.active == "a" and one.status()["switch"] is None


# A second Sluice on the same file, and one on the same state with a port of its own: both end with who is in their way.
def test_second_sluice_on_the_same_state_ends_and_disturbs_nobody(pair, sluice):
    one = sluice(pair).start_ready()
    with Good(one.port) as good:
        same = subprocess.run(one.command("serve", "-c", one.file), text=True, capture_output=True, timeout=30,
                              check=False)
        assert same.returncode == 1 and str(one.port) in same.stderr and "in use" in same.stderr.lower(), same.stderr
        other = sluice(pair)
        other.config["state-dir"] = str(one.state)
        code, log = failed_start(other)
        assert code == 1 and str(one.state) in log and str(one.pid) in log, log
        good.wait_queries(10)
    assert one.get("/healthz")[0] == 200  # its socket is still there


# A port or a socket that cannot be had is told by name.
def test_address_that_cannot_be_had_is_told(pair, sluice):
    one = sluice(pair)
    one.source["listen"] = f"192.0.2.1:{free_port()}"
    code, log = failed_start(one)
    assert code == 1 and "192.0.2.1" in log, log
    other = sluice(pair)
    other.config["admin"]["socket"] = str(other.folder / "no-such-folder" / "admin.sock")
    code, log = failed_start(other)
    assert code == 1 and "no-such-folder" in log, log


# A state file that is damaged ends the start with its name and what to do; nothing is routed on a guess.
@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty"])
def test_damaged_state_ends_the_start_or_routes_nobody_wrongly(pair, sluice, damage):
    one = sluice(pair).start_ready()
    one.switch("b")
    pair.a.stop_replica()
    pair.b.query("CREATE TABLE test.only_on_b (id INT PRIMARY KEY)")
    one.stop()
    file = one.state / "state.db"
    data = bytearray(file.read_bytes())
    for left in one.state.glob(file.name + "-*"):
        left.unlink()
    if damage == "garbage":
        data[100:] = os.urandom(len(data) - 100)
    elif damage == "truncated":
        del data[len(data) // 3:]
    else:
        data.clear()
    file.write_bytes(data)
    one.launch()
    if damage == "empty":  # as a lost state-dir: nothing is known
        wait_until(lambda: one._answers(), 20, "it starts")  # pylint: disable=protected-access
        wait_until(lambda: "lacks" in one.status()["phase"], 20, lambda: f"it was judged: {one.status()}")
        assert one.status()["active"] is None and one.status()["mode"] == "holding"
    else:
        assert one.wait_exit(30) == 1
        assert str(one.state) in one.log_tail(20), one.log_tail(20)
    one.check_log()


# A lost state-dir after a switch: the configured backend is the old one, and what the consumer has is not on it:
# held, not routed.
def test_lost_state_dir_after_a_switch_routes_nobody_to_the_old_server(trio, sluice):
    one = sluice(trio, consumer=trio.c, probe_interval="200ms", hold_timeout="2s", connect_timeout="1s",
                 drain_timeout="0s")
    trio.c.replicate_from(trio.a, via=("127.0.0.1", one.port), start=False)
    one.start_ready()
    trio.c.start_replica()
    writer = Writer(trio.a, per_second=50).start()
    writer.wait_rows(5)
    writer.pause()
    trio.b.wait_for(trio.a)
    trio.c.wait_for(trio.a)
    one.switch("b")
    trio.a.forget_replication()
    writer.resume(trio.b)
    writer.wait_rows(10)
    writer.stop()
    trio.c.wait_for(trio.b)
    one.stop()
    shutil.rmtree(one.state)
    one.start()
    wait_until(lambda: "does not pass" in one.status()["phase"], 20, lambda: f"it was judged: {one.status()}")
    refusal = refused(one.port)
    assert "which backend is active is not known" in refusal.text and "sluice status" in refusal.text
    assert not [row for row in trio.a.processlist() if row["Host"].startswith("127.0.0.2:") and row["User"] != "sluice"]
    one.run("adopt", one.source_id, "b", expect=0)
    wait_until(lambda: one.status()["mode"] == "routing", 20, lambda: f"clients are routed: {one.status()}")
    assert one.active == "b"
    trio.b.query("INSERT INTO test.rows_written VALUES (1000000, 'late', '')")
    trio.c.wait_for(trio.b)
