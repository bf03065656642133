#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Makes the certificates that tests of TLS need, in the folder given: NAME.pem and NAME.key (mode 0600) each.

    ca                  signs all below but for those of other-ca
    server              for localhost, sluice.test and 127.0.0.1; also as a chain, server-chain.pem
    server2             the same names, another key: what a renewal brings
    client              a client's, name "client"
    expired, future     as server, out of their time
    elsewhere           for elsewhere.test only
    rsa                 as server, with an RSA key
    other-ca, stranger  another CA, and a certificate of it with the server's names
"""
import datetime
import ipaddress
import os
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
NAMES = ("localhost", "sluice.test")


def write(folder, name, key, *certificates):
    """NAME.pem, with the whole chain given, and NAME.key."""
    pem = serialization.Encoding.PEM
    (folder / f"{name}.pem").write_bytes(b"".join(certificate.public_bytes(pem) for certificate in certificates))
    text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with open(os.open(folder / f"{name}.key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text)


def make(common_name, issuer=None, is_ca=False, names=(), addresses=(), start=-1, end=30, key=None):
    """(certificate, key), signed by |issuer| = (certificate, key) or by itself; |start| and |end| in days from now."""
    now = datetime.datetime.utcnow()
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (x509.CertificateBuilder().subject_name(subject)
               .issuer_name(issuer[0].subject if issuer else subject).public_key(key.public_key())
               .serial_number(x509.random_serial_number())
               .not_valid_before(now + start * DAY).not_valid_after(now + end * DAY)
               .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True))
    if not is_ca:
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    others = [x509.DNSName(name) for name in names] + [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
    if others:
        builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def load(folder, name):
    """(certificate, key) as write() left them."""
    key = serialization.load_pem_private_key((folder / f"{name}.key").read_bytes(), None)
    return x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes()), key


def make_all(folder):
    """All of them, in |folder|."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    here = {"names": NAMES, "addresses": ("127.0.0.1",)}
    ca, other = make("sluice test CA", is_ca=True), make("another CA", is_ca=True)
    made = {
        "ca": ca, "other-ca": other,
        "server": make("server", ca, **here), "server2": make("server2", ca, **here), "client": make("client", ca),
        "expired": make("expired", ca, start=-30, end=-1, **here), "future": make("future", ca, start=1, **here),
        "elsewhere": make("elsewhere", ca, names=("elsewhere.test",)), "stranger": make("stranger", other, **here),
        "rsa": make("rsa", ca, key=rsa.generate_private_key(65537, 2048), **here),
    }
    for name, (certificate, key) in made.items():
        write(folder, name, key, certificate)
    write(folder, "server-chain", made["server"][1], made["server"][0], ca[0])
    return folder


if __name__ == "__main__":
    make_all(sys.argv[1])
