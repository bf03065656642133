# SPDX-License-Identifier: Apache-2.0
"""The GTID library agrees with a real server: on a table of texts, on random texts, sets and pairs, and on bytes."""
import os
import random
import re
import subprocess
import time

import pymysql
import pytest

SEED = int(os.environ.get("GTID_SEED", time.time_ns() % 10**9))
PAIRS = 4000
TEXTS = 3000
ROWS_PER_STATEMENT = 500
LARGEST = 2**63 - 2
MALFORMED = 1772

UUIDS = ["3e11fa47-71ca-11e1-9e33-c80aa9429562", "3e11fa47-71ca-11e1-9e33-c80aa9429563",
         "00000000-0000-0000-0000-0000000000aa", "ffffffff-ffff-ffff-ffff-ffffffffffff"]
PIECES = list(":-,:-,0123456789abfgz_AZ{}+#. \n\t\v\f\r;'\\") + [
    "::", "--", "0x1", "\x00", "\xe9", "\x1f", str(LARGEST + 1), UUIDS[0]]
TAGS = ["", "", "a", "b", "_x9", "tag_of_the_greatest_length_allow"]


def lines(questions):
    """Ask the library; a question is (operation, text or bytes...). Answers are texts, or None where it refuses."""
    def digits(operand):
        return (operand if isinstance(operand, bytes) else operand.encode()).hex()

    asked = "".join(" ".join([operation, *map(digits, operands)]) + "\n" for operation, *operands in questions)
    out = subprocess.run([os.environ["GTID_LINES"]], input=asked, capture_output=True, text=True, check=True).stdout
    answers = [None if line.startswith("no ") else bytes.fromhex(line[3:]) for line in out.splitlines()]
    assert len(answers) == len(questions)
    return answers


def texts(questions):
    """The same, for operations whose answer is a text."""
    return [None if answer is None else answer.decode() for answer in lines(questions)]


@pytest.fixture(scope="module")
def server(servers):
    """One server, and the seed that plays a failure again."""
    print(f"\nGTID_SEED={SEED}")
    return servers.get("g")[0]


def ask_rows(server, columns, rows):
    """SELECT columns over a table of rows (a, b, ...), many at a time."""
    out = []
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        part = rows[start:start + ROWS_PER_STATEMENT]
        names = ", ".join(f"c{i}" for i in range(len(part[0])))
        values = ", ".join("ROW(" + ", ".join(["%s"] * len(row)) + ")" for row in part)
        got = server.query(f"SELECT {columns} FROM (VALUES {values}) AS t({names})",
                           *[value for row in part for value in row])
        out += [tuple(row.values()) for row in got]
    assert len(out) == len(rows)
    return out


def server_verdict(connection, text):
    """The server's normal form of a text, in bytes, or None where it refuses it. |text| is bytes."""
    literal = f"CONVERT(X'{text.hex()}' USING latin1)" if text else "''"
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"SELECT HEX(GTID_SUBTRACT({literal}, '')) AS t")
            return bytes.fromhex(cursor.fetchone()["t"])
        except pymysql.err.Error as error:
            assert error.args[0] == MALFORMED, error
            return None


def without_bug(normal):
    """The server keeps 0xff for any byte from 0x80 on inside a tag: there the library refuses."""
    return None if normal is not None and b"\xff" in normal else normal


def unescape(text):
    """The escapes of the table."""
    return re.sub(rb"\\(x[0-9a-f]{2}|.)",
                  lambda m: bytes([int(m[1][1:], 16)]) if m[1][:1] == b"x" and len(m[1]) == 3
                  else {b"n": b"\n", b"t": b"\t", b"v": b"\v", b"f": b"\f", b"r": b"\r", b"\\": b"\\"}[m[1]], text)


def read_table():
    """[(verdict, text, normal form or None)]."""
    with open(os.environ["GTID_TABLE"], "rb") as file:
        rows = [line.rstrip(b"\n").split(b"\t") for line in file if not line.startswith(b"#")]
    return [(row[0].decode(), unescape(row[1]), unescape(row[2]) if row[0] == b"ok" else None) for row in rows]


# Random sets and texts.

def random_numbers(draw):
    """An interval: mostly small numbers, so that intervals meet; now and then at the end of the range."""
    first = draw.randint(1, 40) if draw.random() < 0.95 else LARGEST - draw.randint(0, 3)
    last = min(LARGEST, first + draw.choice([0, 0, 1, 2, 5, 20]))
    return first, last


def random_interval(draw):
    """Its text, with what the server overlooks: zeros, blanks, an interval that runs backwards."""
    first, last = random_numbers(draw)
    blank = lambda: draw.choice([""] * 12 + [" ", "\n", "\t "])  # noqa: E731
    zero = draw.choice([""] * 12 + ["0", "000"])
    if draw.random() < 0.05 and first > 1:
        return f"{first}-{first - 1}"
    if first == last and draw.random() < 0.9:
        return f"{blank()}{zero}{first}{blank()}"
    return f"{blank()}{zero}{first}{blank()}-{blank()}{zero}{last}{blank()}"


def random_item(draw):
    """uuid:intervals, some of them behind tags."""
    uuid = draw.choice(UUIDS)
    uuid = draw.choice([uuid] * 8 + [uuid.upper(), uuid.replace("-", ""), "{" + uuid + "}"])
    text = uuid
    for _ in range(draw.choice([0, 1, 1, 1, 2, 3])):
        tag = draw.choice(TAGS) if text == uuid else draw.choice(TAGS[2:])
        text += ":" + draw.choice([tag, tag.upper()]) if tag else ""
        for _ in range(draw.randint(1, 6)):
            text += ":" + random_interval(draw)
    return text


def random_set(draw):
    """A text that the server takes."""
    return draw.choice([",", ",\n", " , ", ",,"]).join(random_item(draw) for _ in range(draw.randint(0, 5)))


def random_pair(draw):
    """Two texts; often the second has a part of the first, so that subsets and equal sets come up."""
    a = random_set(draw)
    if draw.random() < 0.5:
        return a, random_set(draw)
    parts = a.split(",")
    draw.shuffle(parts)
    b = ",".join(parts[:draw.randint(0, len(parts))])
    return draw.choice([(a, b), (b, a), (a, ",".join(parts))])


def damage(draw, text):
    """One to three edits of characters that mean something."""
    for _ in range(draw.randint(1, 3)):
        at = draw.randint(0, len(text))
        piece = draw.choice(PIECES)
        text = text[:at] + draw.choice([piece, piece + text[at:at + 1], ""]) + text[at + 1:]
    return text


# Tests.

def test_server_agrees_with_the_table(server):
    """What the unit tests take for the server's judgement is the server's judgement."""
    table = read_table()
    assert len(table) > 200
    connection = server.connect()
    for verdict, text, normal in table:
        got = server_verdict(connection, text)
        assert without_bug(got) == normal, text
        assert (got != without_bug(got)) == (verdict == "bug"), text
    connection.close()


def test_random_texts_are_judged_as_by_the_server(server):
    """Damaged texts: taken or refused alike, and the same normal form."""
    draw = random.Random(SEED)
    damaged = [damage(draw, random_set(draw)).encode("latin1") for _ in range(TEXTS)]
    connection = server.connect()
    wanted = [without_bug(server_verdict(connection, text)) for text in damaged]
    connection.close()
    refused = sum(normal is None for normal in wanted)
    print(f"{len(damaged)} texts, {refused} refused")
    assert min(refused, len(damaged) - refused) > TEXTS // 20
    for text, normal, got in zip(damaged, wanted, lines([("normalize", text) for text in damaged])):
        assert got == normal, f"GTID_SEED={SEED}: {text!r}"


def test_random_pairs_are_combined_as_by_the_server(server):
    """GTID_SUBSET and GTID_SUBTRACT in both directions, union, intersection and normal form."""
    draw = random.Random(SEED + 1)
    pairs = [random_pair(draw) for _ in range(PAIRS)]
    wanted = ask_rows(server, "GTID_SUBTRACT(c0, ''), GTID_SUBSET(c1, c0), GTID_SUBSET(c0, c1), GTID_SUBTRACT(c0, c1), "
                      "GTID_SUBTRACT(c1, c0), GTID_SUBTRACT(CONCAT(c0, ',', c1), ''), "
                      "GTID_SUBTRACT(c0, GTID_SUBTRACT(c0, c1))", pairs)
    questions = []
    for a, b in pairs:
        questions += [("normalize", a), ("contains", a, b), ("contains", b, a), ("subtract", a, b), ("subtract", b, a),
                      ("union", a, b), ("intersect", a, b)]
    got = texts(questions)
    for i, (pair, row) in enumerate(zip(pairs, wanted)):
        mine = tuple(got[7 * i:7 * i + 7])
        assert mine == tuple(str(value) for value in row), f"GTID_SEED={SEED}: {pair!r}"
    holds = sum(row[1] for row in wanted)
    print(f"{len(pairs)} pairs, {holds} of them subsets")
    assert min(holds, PAIRS - holds) > PAIRS // 20


def test_normal_form_is_taken_back_by_the_server(server):
    """What the library prints the server reads as the same set."""
    draw = random.Random(SEED + 2)
    sets = [random_set(draw) for _ in range(1000)]
    printed = texts([("normalize", text) for text in sets])
    for text, row in zip(sets, ask_rows(server, "GTID_SUBSET(c0, c1), GTID_SUBSET(c1, c0), GTID_SUBTRACT(c1, '') = c1",
                                        list(zip(sets, printed)))):
        assert row == (1, 1, 1), f"GTID_SEED={SEED}: {text!r}"


def dump_request(server, gtids):
    """Send COM_BINLOG_DUMP_GTID with these bytes as its set; returns the text of the server's refusal."""
    connection = server.connect("repl", read_timeout=10)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET @source_binlog_checksum = 'NONE'")
        packet = (b"\x04\x00" + (4711).to_bytes(4, "little") + (0).to_bytes(4, "little") + (4).to_bytes(8, "little") +
                  len(gtids).to_bytes(4, "little") + gtids)
        connection._execute_command(0x1E, packet)  # pylint: disable=protected-access
        with pytest.raises(pymysql.err.Error) as caught:
            for _ in range(5):
                connection._read_packet()  # pylint: disable=protected-access
        return caught.value.args
    finally:
        connection._force_close()  # pylint: disable=protected-access


@pytest.mark.parametrize("purged, asked", [
    (f"{UUIDS[0]}:1-9", f"{UUIDS[0]}:1-3:7"),
    (f"{UUIDS[0]}:1-9,{UUIDS[2]}:4", ""),
    (f"{UUIDS[0]}:1-9:tag:5:x_1:7-8", f"{UUIDS[2]}:{TAGS[-1]}:1-2,{UUIDS[0]}:1-2:tag:1-{LARGEST}:x_1:7"),
])
def test_server_reads_what_the_library_encodes(server, purged, asked):
    """A request that lacks what was purged is refused by the server, which says what it read and what is missing."""
    server.query("RESET BINARY LOGS AND GTIDS")
    server.query("SET GLOBAL gtid_purged = %s", purged)
    server.query("FLUSH BINARY LOGS")
    code, message = dump_request(server, lines([("encode", asked)])[0])
    assert code == 1236
    normal, missing = texts([("normalize", asked), ("subtract", purged, asked)])
    said = message.replace("\n", "")
    assert f"GTID set sent by the replica is '{normal}'".replace("\n", "") in said
    assert f"missing transactions are '{missing}'".replace("\n", "") in said


@pytest.mark.parametrize("executed", [
    [f"{UUIDS[0]}:{n}" for n in (1, 2, 3, 7, LARGEST - 1)] + [f"{UUIDS[2]}:4"],
    [f"{UUIDS[0]}:1", f"{UUIDS[0]}:tag:5", f"{UUIDS[0]}:x_1:7", f"{UUIDS[0]}:x_1:8", f"{UUIDS[2]}:{TAGS[-1]}:9"],
])
def test_library_reads_what_the_server_encodes(server, executed):
    """The previous-GTIDs event of a binlog file has the set in the server's own bytes."""
    server.query("RESET BINARY LOGS AND GTIDS")
    for gtid in executed:
        server.query(f"SET gtid_next = '{gtid}'")
        server.query("BEGIN")
        server.query("COMMIT")
    server.query("SET gtid_next = AUTOMATIC")
    server.query("FLUSH BINARY LOGS")
    name = server.query("SHOW BINARY LOG STATUS")[0]["File"]
    content, position, found = (server.data / name).read_bytes(), 4, []
    while position < len(content):
        kind, size = content[position + 4], int.from_bytes(content[position + 9:position + 13], "little")
        if kind == 35:  # PREVIOUS_GTIDS_LOG_EVENT: header of 19 bytes, set, checksum of 4
            found.append(content[position + 19:position + size - 4])
        position += size
    assert len(found) == 1
    wanted = texts([("normalize", ",".join(executed))])
    assert texts([("decode", found[0])]) == wanted
    # A server that has ever seen a tag uses the tagged form for sets without tags, too.
    operation = "encode_tagged" if found[0][7] == 1 else "encode"
    assert lines([(operation, ",".join(executed))]) == found


def test_owned_is_read_as_the_server_prints_it(server):
    """Sessions that own GTIDs of several UUIDs and tags, which the server glues together."""
    server.query("RESET BINARY LOGS AND GTIDS")
    owned = [f"{UUIDS[0]}:5", f"{UUIDS[0]}:7", f"{UUIDS[0]}:a:9", f"{UUIDS[1]}:a:12", f"{UUIDS[2]}:7",
             f"{UUIDS[3]}:1"]
    connections = [server.connect() for _ in owned]
    for connection, gtid in zip(connections, owned):
        with connection.cursor() as cursor:
            cursor.execute(f"SET gtid_next = '{gtid}'")
    printed = server.one("SELECT @@GLOBAL.gtid_owned")
    for connection in connections:
        connection.close()
    assert texts([("owned", printed)]) == texts([("normalize", ",".join(owned))]), printed
