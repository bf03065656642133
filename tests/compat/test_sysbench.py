# SPDX-License-Identifier: Apache-2.0
"""sysbench, unchanged: its own OLTP load."""
import re
import shutil
import subprocess

import pytest

ROWS, EVENTS = 2000, 150


@pytest.fixture(name="home")
def fixture_home(routes, tmp_path):
    """A working directory: with --mysql-ssl it reads its certificates from there."""
    if not shutil.which("sysbench"):
        pytest.skip("no sysbench: apt-get install sysbench")
    if routes.direct.ca:
        for name, copy in (("ca.pem", "cacert.pem"), ("client.pem", "client-cert.pem"),
                           ("client.key", "client-key.pem")):
            shutil.copy(routes.direct.ca.parent / name, tmp_path / copy)
    return tmp_path


def sysbench(route, home, script, *words):
    """Its output."""
    command = ["sysbench", script, "--db-driver=mysql", f"--mysql-host={route.host}", f"--mysql-port={route.port}",
               f"--mysql-user={route.user}", f"--mysql-password={route.password}", "--mysql-db=sysbench", "--tables=1",
               f"--table-size={ROWS}", "--mysql-ignore-errors=none", *(["--mysql-ssl=on"] if route.ca else []), *words]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("statements", ["auto", "disable"])
def test_oltp_read_write(routes, server, home, statements):
    """
    Prepared statements and text: as many queries of each kind on both ways, and no error (its rows differ from
    run to run).
    """
    def work(route):
        server.query("DROP DATABASE IF EXISTS sysbench")
        server.query("CREATE DATABASE sysbench")
        sysbench(route, home, "oltp_read_write", "prepare")
        text = sysbench(route, home, "oltp_read_write", "--threads=1", f"--events={EVENTS}", "--time=0",
                        f"--db-ps-mode={statements}", "run")
        figures = re.findall(r"(read|write|other|total|transactions|queries|ignored errors): +(\d+)", text)
        return figures, server.one("SELECT COUNT(*) FROM sysbench.sbtest1")
    figures, rows = routes.compare(work)
    assert rows == ROWS
    assert ("transactions", str(EVENTS)) in figures and ("ignored errors", "0") in figures


def test_many_threads(routes, server, home):
    """Eight threads at once through the proxy: no error, and every transaction is done."""
    server.query("CREATE DATABASE IF NOT EXISTS sysbench")
    server.query("DROP TABLE IF EXISTS sysbench.sbtest1")
    sysbench(routes.through, home, "oltp_point_select", "prepare")
    text = sysbench(routes.through, home, "oltp_point_select", "--threads=8", "--events=4000", "--time=0", "run")
    assert re.search(r"transactions: +4000 ", text), text
    routes.check()
