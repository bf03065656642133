# SPDX-License-Identifier: Apache-2.0
"""The tools of the tests can fail: each finds the fault that it is there to find."""
import pymysql
import pytest

from sluicetest import IdlePool, Reconnecting, Sampler, WaitExpired, Writer, wait_until
from sluicetest.clients import Read


# Sessions on two servers at once are seen, and told from sessions on one after the other.
def test_sampler_tells_two_servers_at_once_from_one_after_the_other(pair):
    sampler = Sampler([pair.a, pair.b], users=["app"]).start()

    def look():
        seen = dict(sampler.samples)
        wait_until(lambda: all(sampler.samples[name] >= seen[name] + 3 for name in seen), 10, "three samples")

    one = IdlePool(pair.a.port, 1)
    look()
    one.stop()
    wait_until(lambda: not [row for row in pair.a.processlist() if row["User"] == "app"], 10, "the session on a ends")
    other = IdlePool(pair.b.port, 1)
    look()
    assert sampler.servers_at_once() == 1
    again = IdlePool(pair.a.port, 1)
    look()
    assert sampler.servers_at_once() == 2
    for pool in (other, again):
        pool.stop()
    sampler.stop()


# A row that is missing and a row that is there twice are both counted.
def test_writer_counts_rows_lost_and_rows_duplicated(pair):
    writer = Writer(pair.a).start()
    writer.wait_rows(20)
    writer.stop()
    pair.b.wait_for(pair.a)
    assert writer.compare(pair.b) == (0, 0, 0)
    pair.b.unlogged("DELETE FROM test.rows_written WHERE k = 3",
                    "INSERT INTO test.rows_written SELECT * FROM test.rows_written WHERE k IN (5, 6)",
                    "INSERT INTO test.rows_written VALUES (1000000, 'w', '')")
    assert writer.compare(pair.b) == (1, 2, 1)
    assert pair.a.checksum() != pair.b.checksum()


# A read of the old server after somebody had read the new one is stale; before that, or in the next switch, it is not.
def test_stale_reads_are_found():
    def reads(*list_of):
        readers = Reconnecting.__new__(Reconnecting)
        readers.reads = lambda: [Read(0, *read) for read in list_of]
        return readers.stale_reads([(10.0, "b"), (20.0, "a")])

    good = [(11.0, 11.1, "a", None), (12.0, 12.5, "b", None), (12.4, 12.6, "a", None), (13.0, 13.1, "b", None),
            (20.1, 20.2, "b", None), (21.0, 21.1, "a", None), (12.8, 12.9, None, "Lost connection")]
    assert reads(*good) == []
    assert [read.started for read in reads(*good, (12.7, 12.9, "a", None))] == [12.7]
    assert [read.started for read in reads(*good, (21.5, 21.6, "b", None))] == [21.5]


# A frozen server does not answer, a killed one is gone, a reinstalled one has another uuid; reset brings each back.
def test_servers_can_be_frozen_killed_and_reinstalled(pair):
    pair.b.freeze()
    with pytest.raises(pymysql.err.OperationalError):
        pair.b.connect("app", read_timeout=0.3)
    pair.b.thaw()
    assert pair.b.one("SELECT 1") == 1
    before = pair.b.uuid
    pair.b.kill()
    assert not pair.b.is_running
    pair.b.start()
    assert pair.b.uuid == before
    pair.b.reinstall()
    assert pair.b.uuid != before


# A wait ends at its limit and says what it waited for.
def test_wait_ends_at_its_limit():
    with pytest.raises(WaitExpired, match="not within 0.05 s: the moon"):
        wait_until(lambda: False, 0.05, "the moon")
