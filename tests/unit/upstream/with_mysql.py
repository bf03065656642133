#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Starts two real MySQL servers, A and its replica B, and runs a test program that learns from its environment where.

    with_mysql.py PROGRAM [ARGUMENTS...]

B has no TLS, filters, and a local transaction of its own; the program's exit code is ours.
"""
import datetime
import os
import pathlib
import subprocess
import sys
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIB = pathlib.Path(__file__).resolve().parents[2] / "lib"
sys.path.insert(0, str(LIB))
# pylint: disable=wrong-import-position
from sluicetest import Processes, Server, wait_until  # noqa: E402


def certificate(name, issuer=None):
    """(key, certificate): a certificate authority, or, with an |issuer|, a server's whose only name is |name|."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} of a test")])
    issuer_key, issuer_name = (issuer[0], issuer[1].subject) if issuer else (key, subject)
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer_name).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(minutes=5))
               .not_valid_after(now + datetime.timedelta(days=1))
               .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True))
    if issuer:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return key, builder.sign(issuer_key, hashes.SHA256())


def write_certificates(folder):
    """ca.pem, wrong-ca.pem, server-cert.pem (for localhost), server-key.pem."""
    ca, wrong = certificate("ca"), certificate("somebody else")
    key, server = certificate("localhost", ca)
    for name, what in (("ca", ca[1]), ("wrong-ca", wrong[1]), ("server-cert", server)):
        (folder / f"{name}.pem").write_bytes(what.public_bytes(serialization.Encoding.PEM))
    (folder / "server-key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def prepare(a, b):
    """Accounts of the tests, and replication from A to B."""
    a.start()
    b.start()
    for server in (a, b):
        server.unlogged("CREATE USER boss@'%' IDENTIFIED BY 'app-secret'", "GRANT SYSTEM_USER ON *.* TO boss@'%'",
                        "CREATE USER secure@'%' IDENTIFIED BY 'app-secret' REQUIRE SSL",
                        "CREATE ROLE prober",
                        "GRANT REPLICATION CLIENT, PROCESS, CONNECTION_ADMIN ON *.* TO prober",
                        "CREATE USER byrole@'%' IDENTIFIED BY 'app-secret'", "GRANT prober TO byrole@'%'",
                        "SET DEFAULT ROLE ALL TO byrole@'%'")
    a.query("CREATE TABLE test.t (k INT PRIMARY KEY)")
    a.query("INSERT INTO test.t VALUES (1)")
    b.query("CREATE DATABASE local_only")
    b.query("CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE = (test.ignored), "
            "REPLICATE_WILD_IGNORE_TABLE = ('other.%')")
    b.replicate_from(a)
    b.wait_for(a)
    a.query("INSERT INTO test.t VALUES (2)")
    b.wait_for(a)
    wait_until(lambda: b.replica_status()["Replica_IO_Running"] == "Yes", 30, "B replicates")


def main():
    """See the module's text."""
    processes = Processes()
    with tempfile.TemporaryDirectory(prefix="sluice-upstream-") as folder:
        folder = pathlib.Path(folder)
        write_certificates(folder)
        a = Server("a", folder, processes, {"ssl-ca": folder / "ca.pem", "ssl-cert": folder / "server-cert.pem",
                                            "ssl-key": folder / "server-key.pem"})
        b = Server("b", folder, processes, {"tls-version": "", "binlog-ignore-db": "never", "sync-binlog": "0",
                                            "default-time-zone": "-03:30", "replica-skip-errors": "1062"})
        try:
            prepare(a, b)
            env = {"SLUICE_TEST_A_PORT": str(a.port), "SLUICE_TEST_A_PID": str(a.pid), "SLUICE_TEST_A_UUID": a.uuid,
                   "SLUICE_TEST_B_PORT": str(b.port), "SLUICE_TEST_B_UUID": b.uuid,
                   "SLUICE_TEST_CA": str(folder / "ca.pem"), "SLUICE_TEST_CA_WRONG": str(folder / "wrong-ca.pem"),
                   "SLUICE_TEST_TLS_NAME": "localhost"}
            return subprocess.run(sys.argv[1:], env={**os.environ, **env}, check=False, timeout=240).returncode
        finally:
            a.thaw()
            processes.end_all()


if __name__ == "__main__":
    sys.exit(main())
