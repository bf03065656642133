#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Records conversations with a real MySQL server for test_tracker_conversations: record.py > data/mysql.jsonl

The form is that of dm.jsonl: a conversation a line, its events [ms, "c"|"s", hex]. Beside them stands what is true, as
the one who wrote the conversation knows it or the server told on another connection, never as a tracker saw it:

    [ms, "truth", {"phase": "command", "transaction": false, ...}]

The client waits until the server has said nothing for a while, so that each of its packets begins when no reply is
owed, except where a conversation pipelines on purpose.
"""
import hashlib
import json
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))
from sluicetest import Processes, Server  # noqa: E402 pylint: disable=wrong-import-position
from sluicetest.server import PASSWORDS  # noqa: E402 pylint: disable=wrong-import-position

SILENCE = 0.12
BASE = 0x1 | 0x4 | 0x80 | 0x200 | 0x2000 | 0x8000 | 0x10000 | 0x20000 | 0x40000 | 0x80000
SESSION_TRACK, DEPRECATE_EOF, OPTIONAL_METADATA, ATTRIBUTES = 1 << 23, 1 << 24, 1 << 25, 1 << 27


def lenenc(data):
    """A string with its length in front."""
    assert len(data) < 251
    return bytes([len(data)]) + data


class Wire:
    """A client that knows nothing of replies: it sends packets, reads until the server is silent, and notes all."""

    def __init__(self, port, what, caps=0, user="plain", attributes=False):
        self.what, self.events, self.began = what, [], time.monotonic()
        self.attributes = attributes
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.read()
        flags = BASE | caps | (ATTRIBUTES if attributes else 0)
        self.raw(1, struct.pack("<IIB23x", flags, 1 << 24, 45) + user.encode() + b"\0" + b"\0"
                 + b"caching_sha2_password\0")
        self.read()

    def note(self, kind, value):
        """Add an event."""
        self.events.append([round((time.monotonic() - self.began) * 1000, 1), kind, value])

    def truth(self, **facts):
        """What holds now."""
        self.note("truth", facts)

    def raw(self, seq, payload, end="\n"):
        """Send one packet."""
        data = struct.pack("<I", len(payload))[:3] + bytes([seq]) + payload
        self.note("c", data.hex())
        self.socket.sendall(data)

    def read(self, limit=None):
        """Read until the server has been silent for a while, or has closed."""
        data = b""
        self.socket.settimeout(limit or 5)
        try:
            while True:
                more = self.socket.recv(65536)
                if not more:
                    break
                self.note("s", more.hex())
                data += more
                self.socket.settimeout(SILENCE)
        except TimeoutError:
            pass
        return data

    def ask(self, command, payload=b"", phase="command", **facts):
        """Send a command, read its reply, and say what holds then."""
        self.raw(0, bytes([command]) + payload)
        data = self.read()
        self.truth(phase=phase, **facts)
        return data

    def query(self, sql, **facts):
        """COM_QUERY."""
        return self.ask(3, (b"\0\1" if self.attributes else b"") + sql.encode(), **facts)

    def silent(self, command, payload):
        """Send a command that has no reply."""
        self.raw(0, bytes([command]) + payload)
        self.truth(phase="command")

    def end(self):
        """COM_QUIT, and the conversation's line."""
        self.raw(0, b"\x01")
        self.read()
        self.truth(phase="closed")
        return self.line()

    def line(self):
        """The conversation as JSON."""
        self.socket.close()
        return json.dumps({"conversation": self.what, "what": self.what, "events": self.events}, separators=(",", ":"))


def execute(statement, flags=0, value=None):
    """COM_STMT_EXECUTE's payload, with no or one string parameter."""
    data = struct.pack("<IBI", statement, flags, 1)
    if value is not None:
        data += b"\0\1" + b"\xfd\0" + lenenc(value)
    return data


def tour(server, what, caps, attributes=False):
    """Every command in each form of reply."""
    w = Wire(server.port, what, caps, attributes=attributes)
    w.truth(phase="command", transaction=False, user="plain", deprecate_eof=bool(caps & DEPRECATE_EOF))
    w.ask(2, b"test")
    w.ask(14)
    w.ask(2, b"no_such_schema")
    w.query("CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(300), b MEDIUMBLOB)")
    w.query("INSERT INTO t VALUES (1,'',''),(2,NULL,NULL),(3,REPEAT('x',260),REPEAT('y',300)),(4,'four','')")
    w.query("SELECT * FROM t")
    w.query("SELECT s FROM t")
    w.query("SELECT 1 FROM t WHERE id > 100")
    w.query("SELECT " + ",".join(str(i) for i in range(300)))
    w.query("SELEKT 1")
    w.query("SELECT id, CAST(CONCAT(id, REPEAT('9', 400)) AS SIGNED) FROM t, (SELECT EXP(1000) e) x")  # fails amid rows
    w.query("DO 1; SELECT 2")  # refused: no multi-statements yet
    w.ask(0x1b, b"\0\0")
    w.query("SELECT 1; SELECT id FROM t; DO 1; SELECT 2", transaction=False)
    w.query("SELECT 1; SELEKT 2; SELECT 3")
    w.ask(0x1b, b"\1\0")
    w.ask(0x1b, b"\7\0")
    # Transactions.
    w.query("BEGIN", transaction=True, boundary=False)
    w.query("INSERT INTO t VALUES (5,'','')", transaction=True)
    w.query("INSERT INTO t VALUES (5,'','')", transaction=True)
    w.query("SELECT * FROM t", transaction=True)
    w.query("SELECT no_such_column FROM t", transaction=True)
    w.query("COMMIT", transaction=False, boundary=True)
    w.query("START TRANSACTION READ ONLY", transaction=True)
    w.query("SELECT * FROM t", transaction=True)
    w.query("COMMIT", transaction=False)
    w.query("SET autocommit=0", transaction=False)
    w.query("SELECT * FROM t", transaction=True)
    w.query("ROLLBACK", transaction=False)
    w.query("SET autocommit=1", transaction=False)
    # What a session tracks.
    w.query("SET NAMES utf8mb4")
    w.query("SET SESSION session_track_gtids='OWN_GTID', session_track_transaction_info='CHARACTERISTICS'")
    w.query("USE test")
    w.query("BEGIN", transaction=True)
    w.query("UPDATE t SET s='z'", transaction=True)
    w.query("COMMIT", transaction=False)
    # Prepared statements. Ids count up from 1 in each session.
    if not attributes:
        prepared(w)
    # The rest.
    w.ask(4, b"t\0%")
    w.ask(4, b"no_such_table\0")
    w.ask(9)
    w.ask(10)
    w.ask(12, struct.pack("<I", 999999))
    w.ask(13)
    w.ask(7, b"\1")
    for command in (0, 5, 6, 8, 11, 15, 16, 20, 29):
        w.ask(command, b"x")
    w.raw(0, b"")  # an empty packet
    w.read()
    w.truth(phase="command")
    w.query("BEGIN", transaction=True)
    w.ask(0x1f, transaction=False)
    w.ask(2, b"test")
    # LOCAL INFILE: two packets of a file and the empty one, nothing but the empty one, and in a result among others.
    w.query("LOAD DATA LOCAL INFILE '/nowhere' INTO TABLE t", phase="reply")
    w.raw(2, b"10\tten\t1\n")
    w.raw(3, b"11\televen\t1\n")
    w.truth(phase="reply")
    w.raw(4, b"")
    w.read()
    w.truth(phase="command", transaction=False)
    w.query("LOAD DATA LOCAL INFILE '/nowhere' INTO TABLE t", phase="reply")
    w.raw(2, b"")
    w.read()
    w.truth(phase="command")
    w.query("LOAD DATA LOCAL INFILE '/nowhere' INTO TABLE no_such_table")
    # Pipelined.
    for _ in range(40):
        w.raw(0, b"\x0e")
    w.raw(0, b"\x03" + (b"\0\1" if attributes else b"") + b"SELECT * FROM t")
    w.raw(0, b"\x03" + (b"\0\1" if attributes else b"") + b"SELEKT")
    w.raw(0, b"\x09")
    w.read()
    w.truth(phase="command")
    w.query("DROP TABLE t")
    return w.end()


def prepared(w):
    """Prepared statements, cursors, long data, a procedure with results."""
    w.ask(0x16, b"SELECT id, s, ? FROM t WHERE id > 0")
    w.ask(0x17, execute(1, 0, b"v"))
    w.ask(0x17, execute(1, 1, b"v"))  # with a cursor
    w.ask(0x1c, struct.pack("<II", 1, 1))
    w.ask(0x1c, struct.pack("<II", 1, 2))
    w.ask(0x1c, struct.pack("<II", 1, 100))
    w.ask(0x1c, struct.pack("<II", 1, 100))  # no open cursor any more
    w.ask(0x1a, struct.pack("<I", 1))
    w.ask(0x16, b"DO 1")
    w.ask(0x17, execute(2, 0))
    w.ask(0x16, b"INSERT INTO t VALUES (77, ?, '')")
    w.silent(0x18, struct.pack("<IH", 3, 0) + b"long ")
    w.silent(0x18, struct.pack("<IH", 3, 0) + b"data")
    w.ask(0x17, struct.pack("<IBI", 3, 0, 1) + b"\0\1" + b"\xfd\0")
    w.ask(0x17, struct.pack("<IBI", 3, 0, 1) + b"\0\1" + b"\xfd\0" + lenenc(b"again"))  # fails: 77 is there
    w.silent(0x19, struct.pack("<I", 3))
    w.ask(0x16, b"SELEKT ?")
    w.ask(0x17, execute(99, 0))
    w.query("CREATE PROCEDURE p(OUT o INT) BEGIN SET o = 7; SELECT id FROM t; SELECT 1, 2; END")
    w.ask(0x16, b"CALL p(?)")
    w.ask(0x17, execute(4, 0, b"v"))
    w.query("DROP PROCEDURE p")
    w.ask(0x16, b"SELECT id FROM t WHERE 1 = 0")
    w.ask(0x17, execute(5, 1))  # a cursor over nothing
    w.ask(0x1c, struct.pack("<II", 5, 1))


def without_metadata(server, what, caps):
    """Results whose definitions the client does not want."""
    w = Wire(server.port, what, caps | OPTIONAL_METADATA)
    w.ask(2, b"test")
    w.query("CREATE TABLE m (id INT PRIMARY KEY, s VARCHAR(30))")
    w.query("INSERT INTO m VALUES (1,'a'),(2,'b')")
    w.query("SELECT * FROM m")
    w.ask(0x16, b"SELECT id, ? FROM m")
    w.query("SET resultset_metadata=NONE")
    w.query("SELECT * FROM m")
    w.query("SELECT id FROM m")
    w.query("SELECT " + ",".join(str(i) for i in range(300)))
    w.query("SELECT id FROM m WHERE id > 5")
    w.ask(0x17, execute(1, 0, b"v"))
    w.ask(0x17, execute(1, 1, b"v"))
    w.ask(0x1c, struct.pack("<II", 1, 100))
    w.ask(0x16, b"SELECT id, s, ? FROM m")
    w.ask(0x17, execute(2, 0, b"v"))
    w.ask(4, b"m\0")
    w.query("DROP TABLE m")
    return w.end()


def scramble(password, nonce):
    """caching_sha2_password's answer to a nonce."""
    def sha(data):
        return hashlib.sha256(data).digest()
    first = sha(password)
    return bytes(a ^ b for a, b in zip(first, sha(sha(first) + nonce)))


def change_user(server):
    """COM_CHANGE_USER: by an auth switch, to a user without a password, refused."""
    server.one("SELECT 1", user="app")  # the server knows the password's hash from now on
    w = Wire(server.port, "COM_CHANGE_USER", DEPRECATE_EOF | SESSION_TRACK)
    w.query("BEGIN", transaction=True)
    w.raw(0, b"\x11app\0\x14" + b"\0" * 20 + b"test\0" + struct.pack("<H", 45) + b"mysql_clear_password\0")
    reply = w.read()
    assert reply[4] == 0xfe, reply
    w.truth(phase="reply")
    nonce = reply[5:].split(b"\0", 1)[1][:20]
    w.raw(reply[3] + 1, scramble(PASSWORDS["app"].encode(), nonce))
    w.read()
    w.truth(phase="command", transaction=False, user="app")
    w.query("SELECT CURRENT_USER()")
    for user, name in ((b"plain", "plain"), (b"nobody", "plain")):
        w.raw(0, b"\x11" + user + b"\0\0\0" + struct.pack("<H", 45) + b"caching_sha2_password\0")
        reply = w.read()
        if reply[4] == 0xfe:
            w.raw(reply[3] + 1, b"")  # no password
            w.read()
        w.truth(phase="command", user=name)
    return w.line()


def killed(server):
    """The server ends an idle session, and says so."""
    w = Wire(server.port, "wait_timeout", DEPRECATE_EOF)
    w.query("SET SESSION wait_timeout=1")
    w.read(3)
    w.truth(phase="command")
    return w.line()


def refused(server):
    """A wrong password, and a user that does not exist."""
    w = Wire(server.port, "access denied", 0, user="app")
    reply = w.events[-1][2]
    w.truth(answer=reply[:10])
    return w.line()


# Binlog streams.


def fill_binlog(server):
    """One transaction of every kind."""
    q = server.query
    q("USE test")
    q("CREATE TABLE b (id INT PRIMARY KEY, s MEDIUMTEXT)")
    q("INSERT INTO b VALUES (1,'one')")
    q("BEGIN")
    for i in range(2, 12):
        q(f"INSERT INTO b VALUES ({i}, REPEAT('row {i} ', 50))")
    q("SAVEPOINT a")
    q("INSERT INTO b VALUES (20,'x')")
    q("ROLLBACK TO a")
    q("COMMIT")
    q("CREATE TABLE b2 AS SELECT * FROM b")
    q("CREATE TABLE my (id INT) ENGINE=MyISAM")
    q("INSERT INTO my VALUES (1)")
    q("XA START 'x1'")
    q("INSERT INTO b VALUES (30,'xa')")
    q("XA END 'x1'")
    q("XA PREPARE 'x1'")
    q("XA COMMIT 'x1'")
    q("XA START 'x2'")
    q("INSERT INTO b VALUES (31,'xa')")
    q("XA END 'x2'")
    q("XA PREPARE 'x2'")
    q("XA ROLLBACK 'x2'")
    q("XA START 'x3'")
    q("INSERT INTO b VALUES (32,'xa')")
    q("XA END 'x3'")
    q("XA COMMIT 'x3' ONE PHASE")
    q("SET gtid_next='AUTOMATIC:tag_one'")
    q("INSERT INTO b VALUES (40,'tagged')")
    q("CREATE TABLE b3 (commit_col INT)")
    q("SET gtid_next='AUTOMATIC'")
    q("SET gtid_next='cafecafe-cafe-cafe-cafe-ffffffffffff:a234567890123456789012345678901_:9223372036854775000'")
    q("BEGIN")
    q("COMMIT")
    q("SET gtid_next='ffffffff-cafe-cafe-cafe-0123456789ab:100000'")
    q("INSERT INTO b VALUES (41,'other')")
    q("SET gtid_next='AUTOMATIC'")
    q("SET binlog_transaction_compression=ON")
    q("INSERT INTO b VALUES (50,REPEAT('compressed',200))")
    q("SET binlog_transaction_compression=OFF")
    q("SET binlog_format=STATEMENT")
    q("SET @v = 'v'")
    q("INSERT INTO b SELECT 60, @v")
    q("INSERT INTO my VALUES (RAND()*10)")
    q("SET binlog_format=ROW")
    q("SET binlog_rows_query_log_events=ON")
    q("UPDATE b SET s='u' WHERE id=1")
    q("FLUSH BINARY LOGS")
    q("TRUNCATE b2")
    q("DROP TABLE b, b2, b3, my")
    q("CREATE USER commit_x")
    q("DROP USER commit_x")


def expand(gtids):
    """A set's text as a list of single GTIDs uuid[:tag]:n, as the server names them."""
    found = []
    for part in gtids.replace("\n", "").split(","):
        words = [word.strip() for word in part.split(":")]
        uuid, tag = words[0], ""
        for word in words[1:]:
            if word[0].isdigit():
                low, _, high = word.partition("-")
                found += [f"{uuid}:{tag + ':' if tag else ''}{n}" for n in range(int(low), int(high or low) + 1)]
            else:
                tag = word
    return sorted(found)


def dump_gtid(flags, gtid_set=b"\0" * 8, name=b""):
    """COM_BINLOG_DUMP_GTID's payload."""
    return struct.pack("<HII", flags, 4242, len(name)) + name + struct.pack("<QI", 4, len(gtid_set)) + gtid_set


def streams(server):
    """Dumps of the same binlog: with and without checksums, with semi-sync, by position, refused."""
    fill_binlog(server)
    whole = expand(server.executed())
    first = server.query("SHOW BINARY LOGS")[0]["Log_name"].encode()
    for checksum in ("NONE", "CRC32"):
        w = Wire(server.port, f"binlog dump by GTID, checksum {checksum}", DEPRECATE_EOF, user="streamer")
        w.query(f"SET @source_binlog_checksum='{checksum}'")
        w.ask(0x15, struct.pack("<I", 4242) + lenenc(b"host") + lenenc(b"u") + lenenc(b"p")
              + struct.pack("<HII", 1, 0, 0))
        w.ask(0x1e, dump_gtid(1), gtids=whole, request="")  # not blocking: it ends with EOF, and the server hangs up
        yield w.line()
    w = Wire(server.port, "binlog dump by position, end awaited", 0, user="streamer")
    w.query("SET @source_binlog_checksum='NONE'")
    w.query("SET @source_heartbeat_period=300000000")
    w.raw(0, b"\x12" + struct.pack("<IHI", 4, 0, 4243) + first)
    w.read()
    w.truth(phase="stream", between=True, gtids=whole, request=first.decode())
    server.query("INSERT INTO test.later VALUES (1)")
    w.read()
    w.truth(phase="stream", between=True, gtids=expand(server.executed()))
    time.sleep(0.4)  # for a heartbeat
    w.read(0.5)
    w.truth(phase="stream", between=True)
    yield w.line()
    w = Wire(server.port, "binlog dump that is refused", DEPRECATE_EOF, user="streamer")
    w.query("SET @source_binlog_checksum='NONE'")
    own = bytes.fromhex(server.uuid.replace("-", ""))
    w.raw(0, b"\x1e" + dump_gtid(0, struct.pack("<Q", 1) + own + struct.pack("<QQQ", 1, 1, 1000000)))
    w.read()
    w.truth(phase="command", gtids=[])
    yield w.line()


def semi_sync(server):
    """A semi-sync replica's stream, with its acknowledgements."""
    server.query("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'")
    server.query("SET GLOBAL rpl_semi_sync_source_enabled=ON")
    before = server.executed()
    uuid, last = before.replace("\n", "").split(",")[-1].split(":")[0], 0
    w = Wire(server.port, "binlog dump with semi-sync", DEPRECATE_EOF, user="streamer")
    w.query("SET @source_binlog_checksum='CRC32'")
    w.query("SET @rpl_semi_sync_replica = 1")
    w.ask(0x1e, dump_gtid(2), phase="stream", between=True, gtids=expand(before))
    writer = threading.Thread(target=lambda: server.query("INSERT INTO test.later VALUES (2)"))
    writer.start()
    w.read()
    status = server.connect().cursor()
    status.execute("SHOW BINARY LOG STATUS")
    row = status.fetchone()
    w.raw(0, b"\xef" + struct.pack("<Q", row["Position"]) + row["File"].encode())
    writer.join()
    w.truth(phase="stream", between=True, gtids=expand(server.executed()))
    server.query("SET GLOBAL rpl_semi_sync_source_enabled=OFF")
    assert uuid and last == 0
    return w.line()


# Real clients, through a relay that notes what it passes on.


class Relay:
    """Passes the connections of one client on to the server, and notes their bytes in the order in which they came."""

    def __init__(self, server, what):
        self.server, self.what, self.lines, self.threads = server, what, [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.accepting = threading.Thread(target=self._accept, daemon=True)
        self.accepting.start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def _serve(self, client):
        backend = socket.create_connection(("127.0.0.1", self.server.port))
        events, began, lock = [], time.monotonic(), threading.Lock()

        def pass_on(source, sink, side):
            while True:
                try:
                    data = source.recv(65536)
                except OSError:
                    data = b""
                if data:
                    with lock:
                        events.append([round((time.monotonic() - began) * 1000, 1), side, data.hex()])
                try:
                    if not data:
                        sink.shutdown(socket.SHUT_WR)
                        return
                    sink.sendall(data)
                except OSError:
                    return

        back = threading.Thread(target=pass_on, args=(backend, client, "s"), daemon=True)
        back.start()
        pass_on(client, backend, "c")
        back.join()
        client.close()
        backend.close()
        self.lines.append(json.dumps({"conversation": self.what, "what": self.what, "events": events},
                                     separators=(",", ":")))

    def end(self):
        """All that was noted."""
        for thread in self.threads:
            thread.join(10)
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        return self.lines


def clients(server):
    """The command line programs of MySQL, and MariaDB's, without TLS."""
    lib = pathlib.Path(__file__).resolve().parents[2] / "lib"
    login = ["--host=127.0.0.1", "--user=app", f"--password={PASSWORDS['app']}"]
    sql = "SELECT 1; BEGIN; SELECT * FROM later; COMMIT; SHOW WARNINGS; SELEKT; SELECT 2"
    runs = {
        "mysql, cold password cache": [lib / "mysql", *login, "--ssl-mode=DISABLED", "--get-server-public-key",
                                       "--force", "-e", sql, "test"],
        "mysql, warm password cache": [lib / "mysql", *login, "--ssl-mode=DISABLED", "--get-server-public-key",
                                       "--force", "-e", sql, "test"],
        "mariadb": ["/usr/bin/mariadb", *login, "--skip-ssl", "--force", "-e", sql, "test"],
        "mysqldump": [lib / "mysqldump", *login, "--ssl-mode=DISABLED", "--get-server-public-key", "--no-tablespaces",
                      "--single-transaction", "--set-gtid-purged=OFF", "test", "later"],
        "mysqlbinlog": [lib / "mysqlbinlog", "--host=127.0.0.1", "--user=repl", f"--password={PASSWORDS['repl']}",
                        "--ssl-mode=DISABLED", "--get-server-public-key", "--read-from-remote-source=BINLOG-DUMP-GTIDS",
                        server.query("SHOW BINARY LOGS")[-1]["Log_name"]],
    }
    server.query("FLUSH PRIVILEGES")  # empties the password cache
    for what, command in runs.items():
        relay = Relay(server, what)
        subprocess.run([*map(str, command), f"--port={relay.port}"], check=False, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)
        yield from relay.end()


def main():
    """All conversations, one a line, on the standard output."""
    processes = Processes()
    with tempfile.TemporaryDirectory() as folder:
        server = Server("wire", folder, processes, {"local-infile": "ON", "binlog-row-metadata": "MINIMAL"}).start()
        server.unlogged("CREATE USER plain@'%' IDENTIFIED BY ''", "GRANT ALL ON *.* TO plain@'%'",
                        "CREATE USER streamer@'%' IDENTIFIED BY ''", "GRANT REPLICATION SLAVE ON *.* TO streamer@'%'",
                        "CREATE TABLE test.later (id INT)")
        server.query("RESET BINARY LOGS AND GTIDS")
        try:
            for line in streams(server):
                print(line)
            print(semi_sync(server))
            print(tour(server, "all commands, EOF", 0))
            print(tour(server, "all commands, no EOF", DEPRECATE_EOF))
            print(tour(server, "all commands, no EOF, session track",
                       DEPRECATE_EOF | SESSION_TRACK | OPTIONAL_METADATA))
            print(tour(server, "query attributes", DEPRECATE_EOF | SESSION_TRACK, attributes=True))
            print(without_metadata(server, "no metadata, EOF", 0))
            print(without_metadata(server, "no metadata, no EOF", DEPRECATE_EOF))
            print(change_user(server))
            print(killed(server))
            print(refused(server))
            for line in clients(server):
                print(line)
        finally:
            processes.end_all()


if __name__ == "__main__":
    main()
