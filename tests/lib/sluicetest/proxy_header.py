# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol as a load balancer speaks it: headers, and clients that come behind one."""
import ipaddress
import socket
import struct

import pymysql

from .server import PASSWORDS

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\0\0\0"
UNKNOWN = b"PROXY UNKNOWN\r\n"


def version1(host, port, to=("10.0.0.1", 3306)):
    """The line of version 1."""
    name = "TCP6" if ":" in host else "TCP4"
    return f"PROXY {name} {host} {to[0] if name == 'TCP4' else '::1'} {port} {to[1]}\r\n".encode()


def version2(host, port, to=("10.0.0.1", 3306), tlvs=b""):
    """The block of version 2; |tlvs| behind the addresses."""
    source = ipaddress.ip_address(host)
    other = ipaddress.ip_address(to[0] if source.version == 4 else "::1")
    ends = source.packed + other.packed + struct.pack("!HH", port, to[1]) + tlvs
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11 if source.version == 4 else 0x21, len(ends)) + ends


def tlv(kind, value):
    """One TLV."""
    return struct.pack("!BH", kind, len(value)) + value


def dial(port, header=b"", bind="127.0.0.9"):
    """A socket from the address |bind| to the proxy, on which |header| has been sent."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(bind, 0))
    sock.sendall(header)
    return sock


def connect(port, header=b"", user="app", bind="127.0.0.9", **how):
    """A PyMySQL connection on dial()."""
    how.setdefault("ssl_disabled", "ssl" not in how)
    connection = pymysql.Connection(host="127.0.0.1", user=user, password=PASSWORDS[user], autocommit=True,
                                    read_timeout=30, defer_connect=True, **how)
    connection.connect(dial(port, header, bind))
    return connection


def ask(connection, sql):
    """The last column of the first row; None when there is no row."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
        return row[-1] if row else None
