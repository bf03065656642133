# SPDX-License-Identifier: Apache-2.0
"""TLS of clients, in each mode, with MySQL's own clients and servers."""
import shutil
import socket
import ssl
import struct
import subprocess
import threading

import pymysql
import pytest
from sluicetest import wait_until
from sluicetest.certificates import NAMES, load, make, make_all, write
from sluicetest.server import LIB, PASSWORDS

CLIENT_SSL = 1 << 11


@pytest.fixture(name="certs", scope="module")
def fixture_certs(folder):
    """The certificates of all tests."""
    return make_all(folder / "certs")


def show(server, certs, name="server", **variables):
    """Have the |server| show the certificate |name|, from now on."""
    values = {"ssl_ca": certs / "ca.pem", "ssl_cert": certs / f"{name}.pem", "ssl_key": certs / f"{name}.key",
              **variables}
    for key, value in values.items():
        server.set_global(key, str(value))
    server.query("ALTER INSTANCE RELOAD TLS")


@pytest.fixture(name="secure")
def fixture_secure(pair, certs):
    """The pair, each showing a certificate of the test CA."""
    for server in (pair.a, pair.b):
        show(server, certs)
    return pair


@pytest.fixture(name="proxy")
def fixture_proxy(sluice, secure, certs, tmp):
    """Makes a Sluice with TLS: proxy("mirror", verify="name"), its own certificate in files that a test may replace."""
    def make_one(mode, servers=secure, consumer="none", limits=None, start=True, **tls):
        one = sluice(servers, consumer=consumer, **{"drain_timeout": "700ms", **(limits or {})})
        if mode in ("mirror", "require"):
            for suffix in ("pem", "key"):
                shutil.copy(certs / f"server.{suffix}", tmp / f"own.{suffix}")
            tls = {"cert": tmp / "own.pem", "key": tmp / "own.key", "backend-ca": certs / "ca.pem", **tls}
        one.source["tls"] = {"mode": mode, **{key.replace("_", "-"): str(value) for key, value in tls.items()}}
        return one.start_ready() if start else one

    return make_one


def connect(one, certs=None, user="app", **how):
    """PyMySQL through the proxy |one|: by TLS, verified, when |certs| are given."""
    if certs:
        how.setdefault("ssl", {"ca": str(certs / "ca.pem")})
    else:
        how.setdefault("ssl_disabled", True)
    return pymysql.connect(host="127.0.0.1", port=one.port, user=user, password=PASSWORDS[user], autocommit=True,
                           connect_timeout=20, read_timeout=20, **how)


def ask(connection, sql):
    """The last column of the first row; None when there is no row."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
        return row[-1] if row else None


def cipher(connection):
    """What the server says of its own side; '' when it is plain."""
    return ask(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")


def mysql(one, *options, sql="SHOW SESSION STATUS LIKE 'Ssl_cipher'", user="app"):
    """(exit code, output, errors) of the mysql client, with neither the server's RSA key nor a right to ask for it."""
    done = subprocess.run([LIB / "mysql", f"--user={user}", f"--password={PASSWORDS[user]}", "--host=127.0.0.1",
                           f"--port={one.port}", "-N", *options, "-e", sql], capture_output=True, text=True, timeout=60,
                          check=False)
    return done.returncode, done.stdout.strip(), done.stderr


def refused(one, certs=None, **how):
    """(errno, message) of a login that does not succeed."""
    with pytest.raises(pymysql.err.MySQLError) as error:
        connect(one, certs, **how).close()
    return error.value.args


def counters(one):
    """What the status counts."""
    return one.status()["counters"]


def wait_log(one, text, count=1):
    """Wait until |text| was logged |count| times: a client can be faster than the log."""
    wait_until(lambda: one.log_text().count(text) >= count, 10, f"the log says: {text}")


class Raw:
    """A client that says byte by byte what the test wants."""

    def __init__(self, one):
        self.socket = socket.create_connection(("127.0.0.1", one.port), timeout=20)
        self.greeting = self.packet()
        text_end = self.greeting.index(b"\0", 1)
        low, = struct.unpack_from("<H", self.greeting, text_end + 14)
        self.offers_tls = bool(low & CLIENT_SSL)

    def packet(self):
        """The next packet's payload."""
        header = self._exactly(4)
        return self._exactly(header[0] | header[1] << 8 | header[2] << 16)

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            assert more, f"the end came behind {data!r}"
            data += more
        return data

    def request_tls(self, behind=b""):
        """The 32 bytes that ask for TLS, and what is sent in the same breath."""
        flags = CLIENT_SSL | 1 << 9 | 1 << 15 | 1 << 19
        self.socket.sendall(b"\x20\0\0\x01" + struct.pack("<IIB23x", flags, 1 << 24, 255) + behind)

    def rest(self):
        """All that comes until the end."""
        data = b""
        try:
            while more := self.socket.recv(4096):
                data += more
        except ConnectionResetError:
            pass
        self.socket.close()
        return data


def test_mirror_does_as_each_client_wants(proxy, certs):
    """
    By TLS on both legs, verified on both, for who asks; plain on both for who does not; full authentication on a
    cold cache.
    """
    one = proxy("mirror", verify="name")
    for options in (["--ssl-mode=REQUIRED"], ["--ssl-mode=VERIFY_IDENTITY", f"--ssl-ca={certs / 'ca.pem'}"]):
        code, output, errors = mysql(one, *options)
        assert code == 0 and len(output.split()) == 2, (output, errors)
    code, output, _ = mysql(one, "--ssl-mode=VERIFY_CA", f"--ssl-ca={certs / 'other-ca.pem'}")
    assert code != 0
    secure, plain = connect(one, certs), connect(one)
    assert cipher(secure) and not cipher(plain)
    assert ask(secure, "SELECT REPEAT('x', 9000000)") == "x" * 9000000
    secure.close()
    plain.close()
    seen = counters(one)
    assert seen["tls-sessions"] == 3 and seen["tls-backend-failed"] == 0 and seen["tls-client-failed"] == 1
    assert one.metrics()['sluice_tls_sessions_total{source="mysql-01"}'] == 3


def test_full_authentication_needs_the_channel_that_both_sides_see(proxy, secure):
    """
    caching_sha2_password with nothing cached: the password in clear by TLS; without TLS the client refuses to send
    it.
    """
    one = proxy("mirror")
    secure.a.query("FLUSH PRIVILEGES")
    code, _, errors = mysql(one, "--ssl-mode=DISABLED", sql="SELECT 1")
    assert code != 0 and "2061" in errors, errors
    secure.a.query("FLUSH PRIVILEGES")
    code, output, errors = mysql(one, "--ssl-mode=REQUIRED", sql="SELECT 1")
    assert (code, output) == (0, "1"), errors
    code, output, errors = mysql(one, "--ssl-mode=DISABLED", sql="SELECT 1")  # cached now
    assert (code, output) == (0, "1"), errors


def test_an_account_that_requires_x509(proxy, secure, certs):
    """It passes by the certificate that Sluice shows to backends, and only by it."""
    secure.a.query("CREATE USER x509@'%' IDENTIFIED BY 'app-secret' REQUIRE SUBJECT '/CN=client'")
    try:
        one = proxy("mirror", backend_cert=certs / "client.pem", backend_key=certs / "client.key")
        how = {"host": "127.0.0.1", "port": one.port, "user": "x509", "password": "app-secret", "connect_timeout": 20}
        pymysql.connect(ssl={"ca": str(certs / "ca.pem")}, **how).close()
        with pytest.raises(pymysql.err.OperationalError) as error:
            pymysql.connect(ssl_disabled=True, **how)
        assert error.value.args[0] == 1045
        one.stop()
        del one.source["tls"]["backend-cert"], one.source["tls"]["backend-key"]
        one.start_ready()
        with pytest.raises(pymysql.err.OperationalError) as error:
            pymysql.connect(ssl={"ca": str(certs / "ca.pem")}, **how)
        assert error.value.args[0] == 1045
    finally:
        secure.a.query("DROP USER x509@'%'")


def test_off_offers_no_tls(proxy):
    """The greeting has no TLS in it, and a client that insists gives up by itself."""
    one = proxy("off")
    raw = Raw(one)
    assert not raw.offers_tls
    raw.request_tls()
    assert b"this is not the MySQL protocol" in raw.rest()
    code, _, errors = mysql(one, "--ssl-mode=REQUIRED")
    assert code != 0 and "2026" in errors
    assert one.status()["tls"] == {"mode": "off", "expires-unix-ms": None, "limits": []}


def test_require_refuses_plain_clients_as_a_server_does(proxy, certs):
    """MySQL's own number, state and words, in the packet that answers the login."""
    one = proxy("require")
    errno, message = refused(one)
    assert errno == 3159 and "--require_secure_transport=ON" in message
    code, _, errors = mysql(one, "--ssl-mode=DISABLED")
    assert code != 0 and "ERROR 3159 (HY000)" in errors
    secure = connect(one, certs)
    assert cipher(secure)
    secure.close()
    assert counters(one)["tls-required"] == 2


def test_passthrough_shows_the_servers_own_certificate(proxy, secure, certs):
    """The bytes are the server's; what cannot work is in the status; a drain ends such a session at its deadline."""
    show(secure.a, certs, "server2")
    one = proxy("passthrough")
    client = connect(one, certs)
    shown = client._sock.getpeercert(binary_form=True)  # pylint: disable=protected-access
    assert shown == ssl.PEM_cert_to_DER_cert((certs / "server2.pem").read_text())
    status = one.status()
    assert status["tls"]["mode"] == "passthrough" and len(status["tls"]["limits"]) == 3
    assert "drain-timeout" in one.run("status", expect=0).stdout
    one.switch("b")
    with pytest.raises(pymysql.err.OperationalError):
        ask(client, "SELECT 1")
    assert counters(one)["killed"] == 1
    client = connect(one, certs)
    assert ask(client, "SELECT @@server_uuid") == secure.b.uuid
    client.close()


def test_a_backend_whose_certificate_runs_out(proxy, secure, certs):
    """
    A server does not load an expired certificate, but goes on showing one that expires; nor is a session resumed
    beyond it.
    """
    one = proxy("mirror")
    certificate, key = make("brief", load(certs, "ca"), names=NAMES, addresses=("127.0.0.1",), end=6 / 86400)
    write(certs, "brief", key, certificate)
    show(secure.a, certs, "brief")
    client = connect(one, certs)
    assert cipher(client)
    connect(one, certs).close()
    assert counters(one)["tls-resumed"] == 1

    def told():
        try:
            connect(one, certs).close()
            return False
        except pymysql.err.OperationalError as error:
            return "its certificate has expired" in error.args[1]

    wait_until(told, 15, "a new session is refused")
    client.close()


@pytest.mark.parametrize("name, verify, why", [
    ("stranger", "ca", "its certificate is not signed by the CA in tls.backend-ca"),
    ("elsewhere", "name", "its certificate is not for the name 127.0.0.1"),
])
def test_a_backend_that_is_not_to_be_trusted(proxy, secure, certs, name, verify, why):
    """The client is told why, by TLS, in the packet that answers its login; plain clients go on, and nobody is held."""
    one = proxy("mirror", verify=verify)
    show(secure.a, certs, name, ssl_ca=certs / ("other-ca.pem" if name == "stranger" else "ca.pem"))
    for _ in range(2):
        errno, message = refused(one, certs)
        assert errno == 1105 and why in message and "source 'mysql-01'" in message
    assert why in one.log_text()
    plain = connect(one)
    assert ask(plain, "SELECT 1") == 1
    plain.close()
    assert counters(one)["tls-backend-failed"] == 2 and counters(one)["legs-lost"] == 0
    show(secure.a, certs)
    secure_one = connect(one, certs)
    assert cipher(secure_one)
    secure_one.close()


def test_a_backend_without_tls_is_not_offered_with_it(proxy, secure, certs):
    """TLS is in the greeting only when both legs can have it."""
    one = proxy("mirror")
    assert Raw(one).offers_tls
    secure.a.stop()
    secure.a.start(tls_version="")
    one.wait_ready()
    wait_until(lambda: one.status()["mode"] == "routing", 20, "clients are routed again")
    assert not Raw(one).offers_tls
    plain = connect(one)
    assert ask(plain, "SELECT 1") == 1
    plain.close()
    secure.a.stop()
    secure.a.start()
    show(secure.a, certs)


def test_sessions_with_the_backend_are_resumed(proxy, certs):
    """The first handshake is a full one, the next go on from it; the server says so too."""
    one = proxy("mirror")
    reused = []
    for _ in range(3):
        client = connect(one, certs)
        reused.append(int(ask(client, "SHOW SESSION STATUS LIKE 'Ssl_sessions_reused'") or 0))
        client.close()
    assert reused == [0, 1, 1]
    assert counters(one)["tls-resumed"] == 2


def serial(client):
    """Of the certificate that the client was shown."""
    return client._sock.getpeercert()["serialNumber"]  # pylint: disable=protected-access


def test_certificates_are_read_again_on_sighup(proxy, certs, tmp):
    """
    New sessions get the new one, open ones go on; one that cannot be used is an error in the log, and changes
    nothing.
    """
    one = proxy("mirror")
    first = connect(one, certs)
    for suffix in ("pem", "key"):
        shutil.copy(certs / f"server2.{suffix}", tmp / f"own.{suffix}")
    one.signal(1)
    wait_log(one, "certificates were read again")
    second = connect(one, certs)
    assert serial(first) != serial(second)
    assert ask(first, "SELECT 1") == 1
    shutil.copy(certs / "client.key", tmp / "own.key")
    one.signal(1)
    wait_log(one, "new certificates are not usable")
    assert "is not the key of the certificate" in one.log_text()
    third = connect(one, certs)
    assert serial(third) == serial(second)
    assert one.status()["tls"]["expires-unix-ms"] > 1e12
    for client in (first, second, third):
        client.close()


def test_a_certificate_that_is_wrong_at_the_start(proxy, certs, tmp):
    """Sluice does not start, and says which file and why."""
    one = proxy("mirror")
    one.stop()
    shutil.copy(certs / "client.key", tmp / "own.key")
    one.launch()
    assert one.wait_exit() == 1
    assert "source mysql-01: tls.key: " in one.log_text() and "is not the key of the certificate" in one.log_text()
    one._process = None  # pylint: disable=protected-access


def test_clients_that_must_show_a_certificate(proxy, certs):
    """
    With tls.ca a client by TLS needs one; the wrong one is told in the log, as it is refused inside the handshake.
    """
    one = proxy("mirror", ca=certs / "ca.pem")
    good = {"ca": str(certs / "ca.pem"), "cert": str(certs / "client.pem"), "key": str(certs / "client.key")}
    client = connect(one, certs, ssl=good)
    assert cipher(client)
    client.close()
    refused(one, certs)
    wait_log(one, "it shows no certificate, and tls.ca asks for one")
    refused(one, certs, ssl={**good, "cert": str(certs / "stranger.pem"), "key": str(certs / "stranger.key")})
    wait_log(one, "its certificate is not signed by the CA in tls.ca")
    assert counters(one)["tls-client-failed"] == 2


def test_bytes_in_front_of_the_handshake_end_the_session(proxy, certs):
    """What is sent behind the request for TLS is never taken for part of the protected conversation."""
    one = proxy("mirror")
    login = b"\x0e\0\0\0\x03DROP TABLE t.t"
    raw = Raw(one)
    raw.request_tls(login)
    assert len(raw.rest()) <= 7  # an alert or nothing: never an answer
    raw = Raw(one)
    raw.request_tls()
    raw.socket.sendall(login)
    assert len(raw.rest()) <= 7
    wait_log(one, "plain bytes where a TLS handshake is due", 2)
    assert counters(one)["tls-client-failed"] == 2 and counters(one)["legs-lost"] == 0
    client = connect(one, certs)
    assert ask(client, "SELECT 1") == 1
    client.close()


def test_a_client_that_does_not_go_on(proxy):
    """It asked for TLS and says nothing more: connect-timeout ends it, and its leg."""
    one = proxy("mirror", limits={"connect_timeout": "500ms"})
    raw = Raw(one)
    raw.request_tls()
    assert raw.rest() == b""
    wait_until(lambda: one.status()["sessions"] == 0, 10)
    wait_log(one, "it did not go on with TLS in time")


def test_a_session_that_is_cut_inside_a_record(proxy, certs):
    """The client's end in the middle of a record is told as what it is."""
    one = proxy("mirror")
    context = ssl.create_default_context(cafile=str(certs / "ca.pem"))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    raw, tls = Raw(one), context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    raw.request_tls()
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            raw.socket.sendall(outgoing.read())
            incoming.write(raw.socket.recv(65536))
    raw.socket.sendall(outgoing.read())
    tls.write(b"\x21\0\0\x02 half of a login, and then nothing")
    raw.socket.sendall(outgoing.read()[:20])
    raw.socket.close()
    wait_log(one, "it closed the connection in the middle of a TLS record")


def test_compression_only_where_it_is_allowed(proxy):
    """
    Taken out of the greeting by default; where it is allowed a compressed session works, and the status says what
    it costs.
    """
    sql = "SHOW SESSION STATUS LIKE 'Compression'"
    options = ["--ssl-mode=PREFERRED", "--compression-algorithms=zlib,zstd,uncompressed"]
    one = proxy("mirror")
    code, output, errors = mysql(one, *options, sql=sql)
    assert code == 0 and output.endswith("OFF"), errors
    one.stop()
    one.source["allow-compression"] = True
    one.start_ready()
    code, output, errors = mysql(one, *options, sql=sql)
    assert code == 0 and output.endswith("ON"), errors
    assert any("compressed" in text for text in one.status()["tls"]["limits"])


def test_a_switch_under_tls(proxy, trio, certs, secure):
    """
    Idle TLS sessions close at once, a busy one gets its answer, a replica that reads by TLS follows; on servers that
    demand TLS of everybody, Sluice's own account included.
    """
    for server in (secure.a, secure.b):
        server.set_global("require_secure_transport", "ON")
    one = proxy("require", servers=trio, consumer=trio.c, start=False, limits={"drain_timeout": "6s"}, verify="name")
    one.source["account"]["tls"] = {"mode": "verify-ca", "ca": str(certs / "ca.pem")}
    settings = {"source_ssl": 1, "source_ssl_ca": f"'{certs / 'ca.pem'}'", "source_ssl_verify_server_cert": 1,
                "get_source_public_key": 0}
    for server, other in ((secure.a, secure.b), (secure.b, secure.a)):
        server.forget_replication()
        server.replicate_from(other, **settings)
    trio.c.replicate_from(trio.a, via=("127.0.0.1", one.port), start=False, **settings)
    one.start_ready()
    trio.c.start_replica()
    secure.a.query("CREATE TABLE test.t (k INT PRIMARY KEY AUTO_INCREMENT)")
    writer_sql = "INSERT INTO test.t VALUES ()"
    secure.a.query(writer_sql)
    trio.c.wait_for(secure.a)
    for target in ("b", "a"):
        idle = [connect(one, certs) for _ in range(4)]
        before = {"a": secure.b, "b": secure.a}[target]
        after = {"a": secure.a, "b": secure.b}[target]
        assert {ask(client, "SELECT @@server_uuid") for client in idle} == {before.uuid}
        busy, answers, results = connect(one, certs), [], []
        assert before.one("SELECT GET_LOCK('busy', 0)") == 1
        asking = threading.Thread(target=lambda c=busy: answers.append(ask(c, "SELECT 7 + GET_LOCK('busy', 30)")))
        asking.start()
        wait_until(lambda server=before: any("7 + GET" in (row["Info"] or "") for row in server.processlist()), 10)
        switching = threading.Thread(target=lambda name=target: results.append(one.switch(name)))
        switching.start()
        wait_until(lambda: (one.status()["switch"] or {}).get("phase") == "drain", 30)
        before.query("SELECT RELEASE_LOCK('busy')")
        switching.join(60)
        asking.join(20)
        assert answers == [8]
        result = results[0].json["switch"]
        assert result["closed-idle"] >= 4 and result["closed-boundary"] >= 1 and result["killed"] == 0, result
        busy._force_close()  # pylint: disable=protected-access
        client = connect(one, certs)
        assert ask(client, "SELECT @@server_uuid") == after.uuid and cipher(client)
        client.close()
        for old in idle:
            old._force_close()  # pylint: disable=protected-access
        after.query(writer_sql)
        trio.c.wait_for(after)
    assert trio.c.checksum("test.t") == secure.a.checksum("test.t")
    assert counters(one)["invariant-violations"] == 0
