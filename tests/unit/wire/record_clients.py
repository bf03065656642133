#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Records what real clients say to a real MySQL server: record_clients.py > data/clients.jsonl

PyMySQL, mysql2, go-sql-driver/mysql, sysbench, and a MySQL replica with auto-position, each through the relay of
record.py. What is true is known of the replica only: its streams' transactions are those of the server.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pymysql
import pymysql.cursors

from record import PASSWORDS, Processes, Relay, Server, expand
from sluicetest import wait_until

HERE = pathlib.Path(__file__).resolve().parent
COMPAT = HERE.parents[1] / "compat"
USER, PASSWORD = "app", PASSWORDS["app"]
ROWS = "".join(f"{i}\tline {i}\n" for i in range(1, 40))


def run(words, **how):
    """A program that must succeed; its output goes to ours."""
    subprocess.run([str(word) for word in words], check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr, timeout=300,
                   **how)


def pymysql_work(port, file):
    """Text results, buffered and not, several of them, LOCAL INFILE, a transaction, errors."""
    connection = pymysql.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD, database="test",
                                 local_infile=True, client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE p (id INT PRIMARY KEY, s TEXT)")
    cursor.execute(f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE p")
    connection.commit()
    cursor.execute("SELECT * FROM p; DO 1; SELECT 2")
    while cursor.nextset():
        pass
    cursor.executemany("INSERT INTO p VALUES (%s, %s)", [(1000 + i, "é😀") for i in range(5)])
    for text in ("SELEKT 1", "INSERT INTO p VALUES (1, 'again')"):
        try:
            cursor.execute(text)
        except pymysql.Error:
            pass
    connection.rollback()
    streamed = connection.cursor(pymysql.cursors.SSCursor)
    streamed.execute("SELECT * FROM p")
    assert len(streamed.fetchall()) == 39
    connection.ping()
    connection.select_db("test")
    cursor.execute("DROP TABLE p")
    connection.close()


def mysql2_work(port, file, folder):
    """mysql2, as the lock file of the tests of clients names it."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(COMPAT / "node" / name, folder / name)
    shutil.copy(HERE / "clients" / "mysql2.js", folder / "mysql2.js")
    run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder)
    run(["node", folder / "mysql2.js", port, USER, PASSWORD, file])


def go_work(port, file, folder):
    """go-sql-driver/mysql, as go.mod of the tests of clients names it."""
    for name in ("go.mod", "go.sum"):
        shutil.copy(COMPAT / "go" / name, folder / name)
    shutil.copy(HERE / "clients" / "driver.go", folder / "main.go")
    run(["go", "build", "-o", "driver", "."], cwd=folder, env={**os.environ, "GOTOOLCHAIN": "local",
                                                               "GOFLAGS": "-mod=readonly"})
    run([folder / "driver", port, USER, PASSWORD, file])


def sysbench_work(port, _file):
    """A few transactions of its OLTP load, with prepared statements and without."""
    login = ["--db-driver=mysql", "--mysql-host=127.0.0.1", f"--mysql-port={port}", f"--mysql-user={USER}",
             f"--mysql-password={PASSWORD}", "--mysql-db=test", "--tables=1", "--table-size=20", "--range-size=5"]
    run(["sysbench", "oltp_read_write", *login, "prepare"])
    for mode in ("auto", "disable"):
        run(["sysbench", "oltp_read_write", *login, "--threads=1", "--events=3", "--time=0", f"--db-ps-mode={mode}",
             "run"])
    run(["sysbench", "oltp_read_write", *login, "cleanup"])


def replica_work(port, server, replica):
    """Catch up, stop, start, and go on behind what it has."""
    replica.replicate_from(server, via=("127.0.0.1", port))
    replica.wait_for(server)
    replica.stop_replica()  # the server notices by its next heartbeat, and would send into nothing until then
    wait_until(lambda: not any(row["Command"].startswith("Binlog Dump") for row in server.processlist()), 30,
               lambda: f"the first stream has ended: {server.processlist()}")
    server.query("INSERT INTO test.later VALUES (3)")
    replica.start_replica()
    replica.wait_for(server)
    server.query("INSERT INTO test.later VALUES (4)")
    replica.wait_for(server)
    replica.stop_replica()
    replica.forget_replication()


def dump_asks(line):
    """Whether a conversation has a COM_BINLOG_DUMP_GTID."""
    return any(kind == "c" and data[6:10] == "001e" for _, kind, data in json.loads(line)["events"])


def with_gtids(lines, streams):
    """The conversations; behind those that are streams, in turn, stands which transactions the server has sent."""
    streams = iter(streams)
    for line in lines:
        told = json.loads(line)
        if dump_asks(line):
            told["events"].append([told["events"][-1][0], "truth", {"gtids": next(streams), "request": ""}])
        yield json.dumps(told, separators=(",", ":"))
    assert next(streams, None) is None, "fewer streams than expected"


def replicas(server, replica):
    """The replica's conversations. Its own writer, a session of root's, does not pass the relay."""
    before = expand(server.executed())
    relay = Relay(server, "MySQL replica with auto-position")
    replica_work(relay.port, server, replica)
    after = expand(server.executed())
    return with_gtids(relay.end(), [before, [gtid for gtid in after if gtid not in before]])


def conversations(server, replica, folder):
    """All of them, each a line."""
    file = folder / "rows"
    file.write_text(ROWS, encoding="ascii")
    for name in ("node", "go"):
        (folder / name).mkdir()
    works = {
        "PyMySQL": pymysql_work,
        "mysql2": lambda port, file: mysql2_work(port, file, folder / "node"),
        "go-sql-driver/mysql": lambda port, file: go_work(port, file, folder / "go"),
        "sysbench": sysbench_work,
    }
    for what, work in works.items():
        relay = Relay(server, what)
        work(relay.port, file)
        yield from relay.end()
    server.query("RESET BINARY LOGS AND GTIDS")
    for i in range(3):
        server.query("INSERT INTO test.later VALUES (%s)", i)
    yield from replicas(server, replica)


def main():
    """All conversations, one a line, on the standard output."""
    processes = Processes()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            server = Server("clients", folder, processes, {"local-infile": "ON"}).start()
            replica = Server("replica", folder, processes, {"local-infile": "ON"}).start()
            server.unlogged("CREATE TABLE test.later (id INT)")
            replica.unlogged("CREATE TABLE test.later (id INT)")
            for line in conversations(server, replica, folder):
                print(line)
        finally:
            processes.end_all()


if __name__ == "__main__":
    main()
