# SPDX-License-Identifier: Apache-2.0
"""A binlog client as go-mysql is one, for the stand-in for DM: streams by GTID, reads rows, closes by a KILL."""
import struct
import threading
import uuid as uuids

import pymysql

from .server import PASSWORDS

COM_REGISTER_SLAVE, COM_BINLOG_DUMP_GTID = 0x15, 0x1E
QUERY, ROTATE, FORMAT_DESCRIPTION, XID, TABLE_MAP, GTID = 2, 4, 15, 16, 19, 33
WRITE_ROWS, UPDATE_ROWS, DELETE_ROWS = 30, 31, 32


class GtidSet:
    """A set of GTIDs without tags: {uuid: [(first, last), …]}, sorted and joined."""

    def __init__(self, text=""):
        self.parts = {}
        for part in filter(None, text.replace("\n", "").replace(" ", "").split(",")):
            server, *intervals = part.split(":")
            for interval in intervals:
                first, _, last = interval.partition("-")
                self.add(server, int(first), int(last or first))

    def add(self, server, first, last=None):
        """One number, or an interval of them."""
        spans = sorted(self.parts.get(server, []) + [(first, first if last is None else last)])
        joined = [list(spans[0])]
        for begin, end in spans[1:]:
            if begin <= joined[-1][1] + 1:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([begin, end])
        self.parts[server] = [tuple(span) for span in joined]

    def update(self, other):
        """All of another set too."""
        for server, spans in other.parts.items():
            for first, last in spans:
                self.add(server, first, last)

    def has(self, server, number):
        """Whether one GTID is in it."""
        return any(first <= number <= last for first, last in self.parts.get(server, []))

    def contains(self, other):
        """Whether all of |other| is in it."""
        return all(any(a <= first and last <= b for a, b in self.parts.get(server, []))
                   for server, spans in other.parts.items() for first, last in spans)

    def copy(self):
        """A set of its own."""
        return GtidSet(str(self))

    def encode(self):
        """As COM_BINLOG_DUMP_GTID carries it: ends are exclusive."""
        data = struct.pack("<Q", len(self.parts))
        for server, spans in sorted(self.parts.items()):
            data += uuids.UUID(server).bytes + struct.pack("<Q", len(spans))
            data += b"".join(struct.pack("<QQ", first, last + 1) for first, last in spans)
        return data

    def __bool__(self):
        return bool(self.parts)

    def __str__(self):
        return ",".join(
            server + "".join(f":{first}" if first == last else f":{first}-{last}" for first, last in spans)
            for server, spans in sorted(self.parts.items()))


class Event:
    """One event: its type, and what a reader wants of it."""
    __slots__ = ("type", "body", "position", "gtid")

    def __init__(self, data):
        self.type, self.position = data[4], struct.unpack_from("<I", data, 13)[0]
        self.body = data[19:]
        self.gtid = None
        if self.type == GTID:
            self.gtid = (str(uuids.UUID(bytes=bytes(self.body[1:17]))), struct.unpack_from("<q", self.body, 17)[0])

    def query(self):
        """(schema, text) of a QUERY event."""
        schema_len, status_len = self.body[8], struct.unpack_from("<H", self.body, 11)[0]
        at = 13 + status_len
        return self.body[at:at + schema_len].decode(), self.body[at + schema_len + 1:].decode("utf8", "replace")

    def ends_transaction(self):
        """Xid, COMMIT, or the DDL that is a GTID's only statement."""
        return self.type == XID or (self.type == QUERY and self.query()[1].upper() != "BEGIN")

    def file(self):
        """The name in a ROTATE event."""
        return self.body[8:].decode()


def _length(data, at):
    """(number, position behind it): length-encoded."""
    first = data[at]
    if first < 0xFB:
        return first, at + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    return int.from_bytes(data[at + 1:at + 1 + size], "little"), at + 1 + size


class TableMap:
    """A TABLE_MAP event: whose rows follow, and of which types."""

    def __init__(self, body):
        self.id = int.from_bytes(body[:6], "little")
        at = 8
        self.schema = body[at + 1:at + 1 + body[at]].decode()
        at += body[at] + 2
        self.table = body[at + 1:at + 1 + body[at]].decode()
        at += body[at] + 2
        count, at = _length(body, at)
        self.types = body[at:at + count]
        _, at = _length(body, at + count)
        self.meta = []
        for kind in self.types:
            size = {15: 2, 254: 2, 252: 1, 5: 1, 4: 1, 17: 1, 18: 1, 19: 1, 246: 2, 245: 1, 16: 2}.get(kind, 0)
            self.meta.append(int.from_bytes(body[at:at + size], "little"))
            at += size

    def _value(self, index, data, at):
        kind, meta = self.types[index], self.meta[index]
        size = {1: 1, 2: 2, 9: 3, 3: 4, 8: 8}.get(kind)
        if size:
            return int.from_bytes(data[at:at + size], "little", signed=True), at + size
        if kind == 15:
            width = 2 if meta > 255 else 1
        elif kind == 252:
            width = meta
        elif kind == 254:
            width = 1
        else:
            raise ValueError(f"the stand-in reads no column of type {kind} ({self.schema}.{self.table})")
        length = int.from_bytes(data[at:at + width], "little")
        return data[at + width:at + width + length], at + width + length

    def rows(self, event):
        """Rows of a rows event: tuples, or pairs of them for an update."""
        body = event.body
        at = 8 + struct.unpack_from("<H", body, 8)[0]
        count, at = _length(body, at)
        size = (count + 7) // 8
        at += size * (2 if event.type == UPDATE_ROWS else 1)
        images = []
        while at < len(body):
            nulls = body[at:at + size]
            at += size
            row = []
            for index in range(count):
                if nulls[index // 8] >> (index % 8) & 1:
                    row.append(None)
                else:
                    value, at = self._value(index, body, at)
                    row.append(value)
            images.append(tuple(row))
        return list(zip(images[::2], images[1::2])) if event.type == UPDATE_ROWS else images


def connect(port, user="dm", timeout=30):
    """A connection of database/sql's kind, with what DM's driver sends first."""
    connection = pymysql.connect(host="127.0.0.1", port=port, user=user, password=PASSWORDS[user], autocommit=True,
                                 connect_timeout=timeout, read_timeout=timeout)
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        cursor.execute("SET foreign_key_checks=0")
    return connection


class Stream:
    """
    One binlog stream, by the sequence of go-mysql's BinlogSyncer. read() gives Events; close() sends a KILL over a
    new connection.
    """

    def __init__(self, port, gtids, server_id, user="dm", heartbeat_s=30):
        self.port, self.user = port, user
        self._closing, self._checksum_bytes = threading.Event(), 0
        self._connection = pymysql.connect(host="127.0.0.1", port=port, user=user, password=PASSWORDS[user],
                                           connect_timeout=60, read_timeout=60)
        try:
            self.thread_id = self._connection.thread_id()
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT @@server_uuid")
                self.server_uuid = cursor.fetchone()[0]
                cursor.execute("SHOW GLOBAL VARIABLES LIKE 'BINLOG_CHECKSUM'")
                cursor.execute("SET @master_binlog_checksum='NONE', @source_binlog_checksum='NONE'")
                cursor.execute(f"SET @master_heartbeat_period={heartbeat_s}000000000, "
                               f"@source_heartbeat_period={heartbeat_s}000000000")
                random = uuids.uuid4()
                cursor.execute(f"SET @slave_uuid='{random}', @replica_uuid='{random}'")
            name = b"stand-in"
            self._command(COM_REGISTER_SLAVE, struct.pack("<I", server_id) + bytes([len(name)]) + name + b"\0\0" +
                          struct.pack("<HII", 0, 0, 0))
            self._connection._read_ok_packet()  # pylint: disable=protected-access
            encoded = gtids.encode()
            self._command(COM_BINLOG_DUMP_GTID, struct.pack("<HII", 0, server_id, 0) + struct.pack("<Q", 4) +
                          struct.pack("<I", len(encoded)) + encoded)
        except BaseException:
            self._connection._force_close()  # pylint: disable=protected-access
            raise

    def _command(self, number, body):
        self._connection._execute_command(number, body)  # pylint: disable=protected-access

    def read(self):
        """The next Event. pymysql.Error or OSError where the stream ends, one way or another."""
        packet = self._connection._read_packet()  # pylint: disable=protected-access
        data = packet.get_all_data()
        if data[:1] != b"\0":
            raise pymysql.err.OperationalError(2013, "the binlog stream ended")
        if data[5] == FORMAT_DESCRIPTION:
            self._checksum_bytes = 4 if data[-5] == 1 else 0  # for all events behind it, as in go-mysql's parser
        elif self._checksum_bytes:
            data = data[:-self._checksum_bytes]
        return Event(data[1:])

    def close(self):
        """As BinlogSyncer.Close: KILL of the thread's id over a new connection, then the socket."""
        if self._closing.is_set():
            return
        self._closing.set()
        try:
            other = connect(self.port, self.user, timeout=60)
            with other.cursor() as cursor:
                cursor.execute(f"KILL {self.thread_id}")
            other.close()
        except (pymysql.Error, OSError):
            pass  # "skipped silently"
        self.abandon()

    def abandon(self):
        """Close the socket and send nothing."""
        self._closing.set()
        try:
            self._connection._sock.shutdown(2)  # pylint: disable=protected-access
        except (OSError, AttributeError):
            pass
