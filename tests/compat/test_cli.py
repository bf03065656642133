# SPDX-License-Identifier: Apache-2.0
"""The programs that people have at hand: mysql 9.7, mariadb 10.11, mysqldump, mysqlbinlog."""
import hashlib
import shutil
import subprocess

import pytest
from sluicetest.server import LIB

NUMBERS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n"

SCRIPT = """
SELECT 1, NULL, 'é€😀', x'00ff', CAST(1.5 AS DECIMAL(10,3)), TIMESTAMP'2024-02-29 12:00:00.25';
CREATE DATABASE IF NOT EXISTS cli; USE cli;
DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(200), big LONGTEXT);
LOAD DATA LOCAL INFILE '{file}' INTO TABLE t (id, s);
SELECT COUNT(*), SUM(id), SUM(LENGTH(s)) FROM t;
DROP PROCEDURE IF EXISTS p;
DELIMITER //
CREATE PROCEDURE p () BEGIN SELECT 'one'; SELECT id FROM t WHERE id <= 3 ORDER BY id; UPDATE t SET s = 'u' WHERE id = 1;
END//
SELECT 'several'; SELECT 'in one'//
CALL p()//
DELIMITER ;
BEGIN; DELETE FROM t; SELECT COUNT(*) FROM t; ROLLBACK; SELECT COUNT(*) FROM t;
SELECT nothing;
SHOW WARNINGS;
PREPARE s FROM 'SELECT ? + 1'; SET @a = 41; EXECUTE s USING @a; DEALLOCATE PREPARE s;
SET @x = 'still set';
{reset}
SELECT @x;
INSERT INTO t VALUES (-1, 'big', REPEAT('b', 20 * 1024 * 1024));
SELECT LENGTH(big), SHA2(big, 256) FROM t WHERE id = -1;
SELECT REPEAT('r', {mb64});
SELECT 'the end';
"""


@pytest.fixture(name="script")
def fixture_script(tmp_path):
    """SCRIPT with a file to load."""
    path = tmp_path / "rows"
    path.write_text("".join(f"{i}\tline {i}\n" for i in range(1, 20001)), encoding="ascii")
    return lambda reset: SCRIPT.format(file=path, reset=reset, mb64=64 * 1024 * 1024)


def is_whole(text):
    """The script ran to its end and did what it says."""
    row = next(line for line in text.splitlines() if line.startswith("rrrr"))
    assert len(row) == 64 * 1024 * 1024
    assert "20000\t200010000\t" in text and text.endswith("the end\n")


def test_mysql(routes, script):
    """MySQL's own command line: scripts, LOCAL INFILE, procedures, COM_RESET_CONNECTION, rows of 64 MB."""
    options = ["--force", "--comments", "--local-infile=1", "--max-allowed-packet=256M",
               "--default-character-set=utf8mb4", "--table=0",
               "--skip-column-names"]
    text = routes.run(lambda route: [LIB / "mysql", *route.mysql_options, *options], stdin=script("\\x"))
    is_whole(text)
    assert "still set" not in text


def test_mysql_reads_row_by_row(routes):
    """--quick does not keep a result, and the proxy keeps none either."""
    text = routes.run(lambda route: [LIB / "mysql", *route.mysql_options, "--quick", "--batch", "-e",
                                     NUMBERS.format(1000) + "; SELECT 1 FROM information_schema.collations LIMIT 200"])
    assert text.count("\n") == 1202


@pytest.mark.skipif(not shutil.which("mariadb"), reason="no mariadb client: apt-get install mariadb-client")
def test_mariadb(routes, script):
    """MariaDB's command line, whose library speaks another dialect, against the same server."""
    options = ["--force", "--comments", "--local-infile=1", "--max-allowed-packet=256M",
               "--default-character-set=utf8mb4",
               "--skip-column-names"]
    text = routes.run(lambda route: ["mariadb", "--no-defaults", *route.mariadb_options, *options], stdin=script(""))
    is_whole(text)
    assert "still set" in text


@pytest.fixture(name="schema")
def fixture_schema(server):
    """Something to dump: keys, views, triggers, procedures, binary columns."""
    server.query("DROP DATABASE IF EXISTS dumped")
    server.query("CREATE DATABASE dumped")
    server.query("CREATE TABLE dumped.parent (id INT PRIMARY KEY, name VARCHAR(50))")
    server.query("CREATE TABLE dumped.child (id INT PRIMARY KEY, parent INT, data LONGBLOB, g INT AS (parent * 2), "
                 "FOREIGN KEY (parent) REFERENCES dumped.parent (id))")
    server.query(f"INSERT INTO dumped.parent SELECT i, CONCAT('p', i) FROM ({NUMBERS.format(1000)}) AS n")
    server.query("INSERT INTO dumped.child (id, parent, data) SELECT id, id, UNHEX(SHA2(id, 256)) FROM dumped.parent")
    server.query("INSERT INTO dumped.child (id, parent, data) VALUES (-1, 1, REPEAT(x'00ff', 9000000))")
    server.query("CREATE VIEW dumped.v AS SELECT name, g FROM dumped.parent p JOIN dumped.child c ON c.parent = p.id")
    server.query("CREATE TRIGGER dumped.tr BEFORE INSERT ON dumped.child FOR EACH ROW SET NEW.id = NEW.id + 0")
    server.query("CREATE PROCEDURE dumped.p () SELECT 1")
    server.query("CREATE EVENT dumped.e ON SCHEDULE EVERY 1 DAY DO DO 1")


def test_mysqldump(routes, schema):  # pylint: disable=unused-argument
    """A whole dump in one transaction, with GTIDs, routines, triggers, and rows above 16 MB."""
    text = routes.run(lambda route: [LIB / "mysqldump", *route.mysql_options, "--single-transaction", "--source-data=2",
                                     "--set-gtid-purged=ON", "--routines", "--triggers", "--events", "--hex-blob",
                                     "--skip-dump-date",
                                     "--max-allowed-packet=256M", "--databases", "dumped"])
    assert "SET @@GLOBAL.GTID_PURGED" in text and "CREATE DEFINER" in text and "00FF" * 9000000 in text


def binlog(route, *options):
    """mysqlbinlog's command, reading all there is."""
    return [LIB / "mysqlbinlog", "--read-from-remote-source=BINLOG-DUMP-GTIDS", *route.mysql_options, *options,
            "bin.000001"]


def test_mysqlbinlog(routes, server, schema, tmp_path):  # pylint: disable=unused-argument
    """
    A binlog by GTID: as text, and as files that are those of the server, with an event above 16 MB and a
    compressed transaction.
    """
    server.query("SET SESSION binlog_transaction_compression = ON")
    server.query("UPDATE dumped.child SET data = 'compressed' WHERE id > 500")
    server.query("SET SESSION binlog_transaction_compression = OFF")
    server.query("FLUSH BINARY LOGS")
    gtids = server.executed()
    last = gtids.rpartition("-")[2] if "-" in gtids else gtids.rpartition(":")[2]
    uuid = gtids.partition(":")[0]

    without_the_large = f"--exclude-gtids={uuid}:1-{int(last) - 5}"
    text = routes.run(lambda route: binlog(route, "-vv", "--base64-output=DECODE-ROWS", "--to-last-log",
                                           without_the_large))
    assert f"GTID_NEXT= '{uuid}:{last}'" in text and "@3='compressed'" in text
    assert f"GTID_NEXT= '{uuid}:{int(last) - 5}'" not in text

    def raw(route):
        done = subprocess.run([*binlog(route, "--raw", f"--result-file={tmp_path}/{route.port}-",
                                       f"--password={route.password}")],
                              capture_output=True, check=False, text=True)
        assert done.returncode == 0, done.stderr
        return hashlib.sha256((tmp_path / f"{route.port}-bin.000001").read_bytes()).hexdigest()
    found = routes.compare(raw)
    assert found == hashlib.sha256((server.data / "bin.000001").read_bytes()).hexdigest()
