# SPDX-License-Identifier: Apache-2.0
"""The tools of the tests can fail: each finds the fault that it is there to find."""
import pymysql
import pytest

from sluicetest import IdlePool, Sampler, WaitExpired, Writer, wait_until


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
