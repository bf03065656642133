# SPDX-License-Identifier: Apache-2.0
"""A MySQL 9.7 replica with auto-position: what it gets through the proxy is what one gets directly."""
import pathlib
import tempfile

import pytest
from sluicetest import Processes, Server

MB = 1024 * 1024


@pytest.fixture(name="replicas", scope="module")
def fixture_replicas(folder, server):  # pylint: disable=unused-argument
    """Two servers that will replicate."""
    own = Processes()
    options = {"max-allowed-packet": "256M", "replica-max-allowed-packet": "256M", "innodb-redo-log-capacity": "256M"}
    made = [Server(name, pathlib.Path(tempfile.mkdtemp(dir=folder)), own, options) for name in ("direct", "through")]
    for one in made:
        one.launch()
    for one in made:
        one.wait_ready()
    yield made
    own.end_all()


def write(server):
    """Transactions of every kind that a binlog has; returns what was written."""
    server.query("DROP DATABASE IF EXISTS rep")
    server.query("CREATE DATABASE rep")
    server.query("CREATE TABLE rep.t (k INT, s VARCHAR(100), b LONGBLOB)")  # no key: twice a row is two rows
    for i in range(50):
        server.query("INSERT INTO rep.t VALUES (%s, 'one', NULL)", i)
    server.query("BEGIN")
    for i in range(50):
        server.query("INSERT INTO rep.t VALUES (%s, 'in one transaction', REPEAT('b', 1000))", i)
    server.query("COMMIT")
    server.query("SET SESSION binlog_transaction_compression = ON")
    server.query("INSERT INTO rep.t SELECT k, 'compressed', b FROM rep.t WHERE k < 10")
    server.query("SET SESSION binlog_transaction_compression = OFF")
    server.query("INSERT INTO rep.t VALUES (1000, 'large', REPEAT(x'00ff', %s))", 9 * MB)
    server.query("CREATE TABLE rep.copy AS SELECT k, s FROM rep.t")
    server.query("XA START 'x'")
    server.query("INSERT INTO rep.t VALUES (2000, 'xa', NULL)")
    server.query("XA END 'x'")
    server.query("XA PREPARE 'x'")
    server.query("XA COMMIT 'x'")
    server.query("SET GTID_NEXT = 'AUTOMATIC:tagged'")
    server.query("INSERT INTO rep.t VALUES (3000, 'tagged', NULL)")
    server.query("SET GTID_NEXT = 'AUTOMATIC'")
    server.query("FLUSH BINARY LOGS")
    server.query("DROP TABLE rep.copy")


def test_replica(routes, server, replicas):
    """
    Catch-up over several files and a live stream, the IO thread stopped and started in between: equal rows and
    GTIDs.
    """
    found = {}
    for replica, route in zip(replicas, (routes.direct, routes.through)):
        tls = {"source_ssl": 1, "source_ssl_ca": f"'{route.ca}'"} if route.ca else {}
        routes.forget_logins()
        replica.replicate_from(server, via=(route.host, route.port), **tls)
    write(server)
    for replica in replicas:
        replica.wait_for(server)
        replica.stop_replica(threads="IO_THREAD")
    write(server)
    for replica in replicas:
        replica.start_replica(threads="IO_THREAD")
        replica.wait_for(server)
        status = replica.replica_status()
        assert (status["Replica_IO_Running"], status["Replica_SQL_Running"], status["Last_Error"]) == ("Yes", "Yes", "")
        tables = [replica.checksum("rep.t"), replica.one("SELECT COUNT(*) FROM rep.t")]
        found[replica.name] = (replica.executed(), status["Executed_Gtid_Set"], tables)
    assert found["direct"] == found["through"]
    assert found["direct"][0] == server.executed() and ":tagged:1" in server.executed()
    assert found["direct"][2] == [server.checksum("rep.t"), 123]
    delivered = routes.proxy.status()["delivered"]
    if routes.mode == "passthrough":
        assert not delivered["known"] and delivered["reason"]
    else:
        assert delivered["known"] and not delivered["sent-in-part"]
        assert server.one("SELECT GTID_SUBSET(%s, %s)", server.executed(), delivered["gtid-d"])
    for replica in replicas:
        replica.forget_replication()
    routes.check()
