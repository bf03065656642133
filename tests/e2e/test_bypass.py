# SPDX-License-Identifier: Apache-2.0
"""Sessions of the consumer's account that do not come through Sluice."""
import pytest
from sluicetest import BinlogStream, wait_until


@pytest.fixture(name="bypassed")
def fixture_bypassed(trio, sluice, processes, tmp):
    """A source whose consumer reads through Sluice, while a second reader under its account reads from a directly."""
    made = []

    def make(**how):
        proxy = sluice(trio, consumer=trio.c, **how)
        trio.c.replicate_from(trio.a, via=("127.0.0.1", proxy.port), start=False)
        proxy.start_ready()
        trio.c.start_replica()
        wait_until(lambda: proxy.status()["streams"] == 1, 20, "the consumer reads through the proxy")
        made.append(BinlogStream(processes, tmp, trio.a.port))
        wait_until(lambda: sum(row["Command"].startswith("Binlog Dump") for row in trio.a.processlist()) == 3, 20,
                   lambda: f"three readers on a: {trio.a.processlist()}")
        return proxy

    yield make
    for stream in made:
        stream.stop()


def bypass_lines(result):
    """The checks about it, of server a."""
    return [check for check in result.json["checks"] if check["name"] == "bypass" and check["detail"].startswith("a:")]


def test_reader_around_sluice_is_named_and_refused(bypassed, trio):
    """By default it is a refusal, with id, account and host; nothing was paused."""
    proxy = bypassed()
    line, = bypass_lines(proxy.check("b", expect=3))
    assert line["state"] == "fail" and "repl from 127.0.0.1:" in line["detail"]
    result = proxy.switch("b", expect=3)
    assert "repl from 127.0.0.1:" in result.json["msg"]
    assert proxy.active == "a" and trio.c.replica_status()["Replica_IO_Running"] == "Yes"


def test_reader_around_sluice_only_warns_where_that_is_configured(bypassed):
    """With bypass: warn it is named, and the switch is done."""
    proxy = bypassed(bypass="warn")
    line, = bypass_lines(proxy.check("b", expect=0))
    assert line["state"] == "warn"
    proxy.switch("b")
    assert proxy.active == "b"
