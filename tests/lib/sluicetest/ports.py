# SPDX-License-Identifier: Apache-2.0
"""Free TCP ports, and paths of unix sockets."""
import atexit
import fcntl
import os
import random
import shutil
import socket
import tempfile

_reserved = []


def free_port():
    """
    A port on the loopback addresses that nobody uses, and that no other test process is given while this one lives.

    It is not from the kernel's ephemeral range: there an outgoing connection could take it before its server binds.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        ephemeral = int(file.read().split()[0])
    folder = os.path.join(tempfile.gettempdir(), f"sluice-ports-{os.getuid()}")
    os.makedirs(folder, exist_ok=True)
    for _ in range(1000):
        port = random.randrange(max(10000, ephemeral - 20000), ephemeral)
        lock = os.open(os.path.join(folder, str(port)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("0.0.0.0", port))
        except OSError:
            os.close(lock)
            continue
        _reserved.append(lock)  # held as long as the process lives
        return port
    raise RuntimeError("no free port")


def socket_path(wanted):
    """|wanted|, or, where that is too long for the kernel (107 characters), a path in a temporary directory."""
    wanted = str(wanted)
    if len(wanted) <= 100:
        return wanted
    folder = tempfile.mkdtemp(prefix="sluice-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return os.path.join(folder, os.path.basename(wanted))
