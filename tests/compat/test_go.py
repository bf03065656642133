# SPDX-License-Identifier: Apache-2.0
"""The Go libraries that DM is made of: go-sql-driver/mysql, go-mysql's client, and its BinlogSyncer."""
import pytest
from sluicetest import wait_until
from sluicetest.golang import build_go, why_no_go

BIG = 64 * 1024 * 1024


@pytest.fixture(name="program", scope="session")
def fixture_program():
    """The program in go/."""
    if why_no_go():
        pytest.skip(why_no_go())
    return build_go()


def test_go_sql_driver(routes, program, tmp_path):
    """
    database/sql as DM uses it (interpolated parameters) and with prepared statements: pools, transactions,
    results, 64 MB.
    """
    path = tmp_path / "rows"
    path.write_text("".join(f"{i}\tline {i}\n" for i in range(1, 5001)), encoding="ascii")
    text = routes.run(lambda route: [program, "sql", path])
    assert text.count(f"row of 64 MB: [{BIG} {BIG}]\n") == 2 and text.count(f"64 MB: [{{{BIG} true}} ") == 2
    assert text.count("loaded: [{5000 true} {12502500 true}]\n") == 2
    assert text.count("again: 1062") == 2 and text.count("error between: 1054") == 1


def test_go_mysql_client(routes, program):
    """go-mysql's own client: text and binary results, several results, streamed rows."""
    text = routes.run(lambda route: [program, "client"])
    assert 'prepared: "8" "[97]"' in text or 'prepared: "8" "a"' in text, text
    assert "streamed 500\nin transaction true\nin transaction false\n" in text


def test_binlog_syncer(routes, program, server):
    """
    StartSyncGTID, from nothing and from the middle: the same events at the same places; Close() kills the stream
    it had.
    """
    server.query("CREATE TABLE IF NOT EXISTS test.s (id INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)")
    for i in range(20):
        server.query("INSERT INTO test.s (b) VALUES (REPEAT('s', %s))", 10 ** (i % 4))
    server.query("SET SESSION binlog_transaction_compression = ON")
    server.query("INSERT INTO test.s (b) SELECT b FROM test.s")
    server.query("SET SESSION binlog_transaction_compression = OFF")
    server.query("FLUSH BINARY LOGS")
    server.query("INSERT INTO test.s (b) VALUES (REPEAT(x'00ff', 9000000))")
    uuid, _, numbers = server.executed().partition(":")
    last = int(numbers.rpartition("-")[2])
    text = routes.run(lambda route: [program, "stream", "7001", "", f"{uuid}:1-{last}"])
    wanted = [f"gtid {uuid}:{i}" for i in range(1, last + 1)]
    assert [line for line in text.splitlines() if line.startswith("gtid ")] == wanted
    assert "TransactionPayloadEvent" in text and text.endswith(f"end {uuid}:1-{last}\n")
    text = routes.run(lambda route: [program, "stream", "7002", f"{uuid}:1-{last - 3}", f"{uuid}:1-{last}"])
    assert text.count("gtid ") == 3
    if routes.mode != "passthrough":  # there no id that a client was told means anything to the server
        wait_until(lambda: not [row for row in server.processlist() if row["Command"].startswith("Binlog Dump")], 10,
                   lambda: f"the streams were killed by their readers: {server.processlist()}")
