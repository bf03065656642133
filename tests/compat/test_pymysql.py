# SPDX-License-Identifier: Apache-2.0
"""PyMySQL, unchanged: text protocol, several results, LOCAL INFILE, unbuffered cursors, rows of 64 MB."""
import hashlib
import subprocess

import pymysql
import pymysql.cursors
import pytest
from pymysql.constants import CLIENT
from sluicetest.server import LIB

MB = 1024 * 1024
# Around the largest packet (2^24-1 bytes): a row of one column has four more bytes than the column, a query one more.
EDGES = (0xffffff - 5, 0xffffff - 4, 0xffffff - 3, 2 * 0xffffff - 4)


def connect(route, **how):
    """A connection on this way."""
    tls = {"ssl": {"ca": str(route.ca), "check_hostname": False}} if route.ca else {}
    return pymysql.connect(host=route.host, port=route.port, user=route.user, password=route.password, database="test",
                           local_infile=True, max_allowed_packet=256 * MB, read_timeout=60, **tls, **how)


def results(cursor):
    """All results of what was executed, errors included."""
    found = []
    try:
        while True:
            found.append((cursor.rowcount, cursor.lastrowid, cursor.description, cursor.fetchall()))
            if not cursor.nextset():
                return found
    except pymysql.Error as error:
        return found + [error.args]


def ask(connection, sql, *args):
    """results() of one text."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(sql, args or None)
        except pymysql.Error as error:
            return error.args
        return results(cursor)


@pytest.fixture(name="tables", autouse=True)
def fixture_tables(server):
    """Tables and procedures that all tests of this file may use."""
    server.query("DROP DATABASE IF EXISTS test")
    server.query("CREATE DATABASE test")
    server.query("CREATE TABLE test.t (id INT PRIMARY KEY AUTO_INCREMENT, s VARCHAR(200) CHARACTER SET utf8mb4, "
                 "d DECIMAL(30,10), f DOUBLE, b LONGBLOB, j JSON, at DATETIME(6), e ENUM('a','b'), "
                 "bits BIT(9), UNIQUE (s))")
    server.query("CREATE PROCEDURE test.three(n INT) BEGIN SELECT n AS one; SELECT id, s FROM test.t ORDER BY id; "
                 "UPDATE test.t SET f = f + n; SELECT COUNT(*) FROM test.t; END")
    server.query("CREATE PROCEDURE test.fails() BEGIN SELECT 1; "
                 "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'as asked'; END")


def test_queries_of_every_kind(routes):
    """All column types, NULLs, errors, warnings, transactions, many rows at a time."""
    def work(route):
        connection = connect(route)
        found = [ask(connection, "TRUNCATE TABLE t")]
        row = ("é€😀", "12345678901234567890.0123456789", 1e-300, bytes(range(256)), '{"k": [1, null]}',
               "2024-02-29 23:59:59.999999", "b", 257)
        sql = "INSERT INTO t (s, d, f, b, j, at, e, bits) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
        found.append(ask(connection, sql, *row))
        found.append(ask(connection, sql, *row))  # a duplicate: an error packet
        found.append(ask(connection, sql, *([None] * 8)))
        connection.commit()
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO t (s) VALUES (%s)", [(f"row {i}",) for i in range(3000)])
        connection.rollback()
        found.append(ask(connection, "SELECT * FROM t ORDER BY id LIMIT 5"))
        found.append(ask(connection, "SELECT CAST('x' AS SIGNED)"))
        found.append(ask(connection, "SHOW WARNINGS"))
        found.append(ask(connection, "SELECT nothing"))
        found.append(ask(connection, "DO 1"))
        connection.ping()
        connection.select_db("mysql")
        found.append(ask(connection, "SELECT DATABASE()"))
        connection.close()
        return found
    found = routes.compare(work)
    assert found[2][0] == 1062 and len(found[4][0][3]) == 2


def test_several_results(routes):
    """Several statements in one, a procedure's results, an error between results."""
    def work(route):
        connection = connect(route, client_flag=CLIENT.MULTI_STATEMENTS)
        found = [ask(connection,
                     "TRUNCATE TABLE t; INSERT INTO t (s, f) VALUES ('a', 1), ('b', 2); SELECT s FROM t ORDER BY 1; "
                     "SELECT s FROM t WHERE 1 = 0; DO 0; SELECT 2"),
                 ask(connection, "CALL three(7)"), ask(connection, "CALL fails()"),
                 ask(connection, "SELECT 1; SELECT nothing; SELECT 3"), ask(connection, "SELECT 4")]
        connection.close()
        return found
    found = routes.compare(work)
    assert len(found[0]) == 6 and len(found[1]) == 4 and found[2][-1][0] == 1644 and found[3][-1][0] == 1054


def test_local_infile(routes, tmp_path):
    """LOAD DATA LOCAL of a file, of an empty one, of one that is not there; the connection goes on."""
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.write_text("".join(f"{i}\trow {i} {'x' * (i % 150)}\n" for i in range(1, 40001)), encoding="utf-8")
    empty.touch()

    def work(route):
        connection = connect(route, autocommit=True)
        found = [ask(connection, "TRUNCATE TABLE t")]
        for path in (full, empty, tmp_path / "missing"):
            found.append(ask(connection, f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE t (id, s)"))
            found.append(ask(connection, "SELECT COUNT(*), SUM(id), MAX(LENGTH(s)) FROM t"))
        connection.close()
        return found
    found = routes.compare(work)
    assert found[2][0][3] == ((40000, 800020000, 159),)


def test_unbuffered_cursor(routes):
    """Rows that are read one by one, and a result that is left half read."""
    def work(route):
        connection = connect(route, cursorclass=pymysql.cursors.SSCursor)
        cursor = connection.cursor()
        cursor.execute("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
                       "SELECT a.i, b.i, REPEAT('y', 50) FROM n a JOIN n b ON b.i <= 20 ORDER BY 1, 2")
        digest = hashlib.sha256()
        for _ in range(15000):
            digest.update(repr(cursor.fetchone()).encode())
        cursor.close()  # reads what is left
        found = digest.hexdigest()
        cursor = connection.cursor()
        cursor.execute("SELECT 5")
        last = cursor.fetchall()
        connection.close()
        return found, last
    assert routes.compare(work)[1] == [(5,)]


def test_rows_of_64_mb_and_packet_edges(routes):
    """Rows and parameters of 64 MB both ways, and of the sizes at which a packet is split."""
    def work(route):
        connection = connect(route)
        found = []
        for size in (*EDGES, 64 * MB):
            with connection.cursor() as cursor:
                cursor.execute("SELECT REPEAT('z', %s)", (size,))
                text = cursor.fetchone()[0]
                found.append((len(text), text.count("z")))
        for size in (*EDGES, 64 * MB):
            head, tail = "SELECT SHA2('", "', 256)"
            found.append(ask(connection, head + "q" * (size - len(head) - len(tail)) + tail))
        found.append(ask(connection, "SELECT 'after', REPEAT('s', 3)"))
        connection.close()
        return found
    found = routes.compare(work, logins=("cold",))
    assert found[4] == (64 * MB, 64 * MB) and len(found[9][0][3][0][0]) == 64, found
    assert found[-1][0][3] == (("after", "sss"),), found


def test_cold_logins_are_full_ones(routes):
    """
    What "cold" means here is true: after FLUSH PRIVILEGES a login does send its password (which a client without TLS
    and without the server's key refuses), after one login it does not.
    """
    if routes.direct.ca:
        pytest.skip("with TLS both logins look the same to a client")

    def login(route):
        return subprocess.run([LIB / "mysql", f"--host={route.host}", f"--port={route.port}", "--ssl-mode=DISABLED",
                               f"--user={route.user}", f"--password={route.password}", "-e", "SELECT 1"],
                              capture_output=True, text=True, check=False)

    for route in (routes.direct, routes.through):
        routes.forget_logins()
        refused = login(route)
        assert refused.returncode == 1 and "ERROR 2061" in refused.stderr, refused
        connect(route).close()
        assert login(route).returncode == 0
