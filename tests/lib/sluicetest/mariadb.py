# SPDX-License-Identifier: Apache-2.0
"""A real MariaDB server of a test: the host's own, else Debian's, unpacked into the cache and not installed."""
import fcntl
import os
import pathlib
import re
import shutil
import subprocess

import pymysql

from .ports import free_port, socket_path
from .server import LIB, PASSWORDS
from .wait import wait_until

CACHE = pathlib.Path(os.environ.get("SLUICE_CACHE") or LIB.parent.parent / ".cache") / "mariadb"
TABLES = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")


class NoMariaDB(Exception):
    """There is no server, and none can be had."""


def _run(*command, **how):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **how)
    if done.returncode != 0:
        raise NoMariaDB(f"{' '.join(command[:3])}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _unpack(home):
    """The server and the libraries that it needs and that a host without it may lack."""
    depends = _run("apt-cache", "depends", "-i", "mariadb-server-core")
    names = [name for name in re.findall(r"Depends: (lib\S+)", depends)
             if not re.match(r"lib(c6|gcc|stdc|crypt)", name)]
    part = home.with_name(f"part.{os.getpid()}")
    part.mkdir(parents=True)
    try:
        _run("apt-get", "download", "mariadb-server-core", *names, cwd=part)
        for package in part.glob("*.deb"):
            _run("dpkg", "-x", str(package), str(part / "root"))
            package.unlink()
        (part / "root").rename(home)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _home():
    """The folder in which usr/sbin/mariadbd is."""
    if os.access("/usr/sbin/mariadbd", os.X_OK):
        return pathlib.Path("/")
    CACHE.mkdir(parents=True, exist_ok=True)
    home = CACHE / "debian"
    with open(CACHE / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            _unpack(home)
    return home


class MariaDB:
    """One mariadbd with the account `app`, which reads PROXY headers from |proxies|. Raises NoMariaDB."""

    def __init__(self, folder, processes, proxies="127.0.0.1"):
        home = _home()
        self.folder, self.processes = pathlib.Path(folder), processes
        self.port, self.socket = free_port(), socket_path(self.folder / "m")
        self.log = self.folder / "mariadbd.log"
        libraries = ":".join(str(path) for path in home.glob("usr/lib/*-linux-gnu"))
        self._environment = {} if home == pathlib.Path("/") else {"LD_LIBRARY_PATH": libraries}
        share, data = home / "usr/share/mysql", self.folder / "mariadb"
        if not share.exists():
            share = home / "usr/share/mariadb"
        data.mkdir()
        self._command = [str(home / "usr/sbin/mariadbd"), "--no-defaults", f"--datadir={data}", "--skip-name-resolve",
                         f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}",
                         "--innodb-buffer-pool-size=16M", *(["--user=root"] if os.getuid() == 0 else [])]
        sql = "CREATE DATABASE mysql;\nUSE mysql;\n" + "".join((share / name).read_text() for name in TABLES)
        _run(*self._command, "--bootstrap", input=sql, env={**os.environ, **self._environment})
        init = self.folder / "init.sql"
        init.write_text(f"CREATE USER app@'%' IDENTIFIED BY '{PASSWORDS['app']}';\nGRANT ALL ON *.* TO app@'%';\n")
        self._process = processes.start(
            [*self._command, "--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self.socket}",
             f"--proxy-protocol-networks={proxies}", f"--init-file={init}"], log=self.log, env=self._environment)
        wait_until(self._answers, 60, lambda: f"mariadbd answers; its log:\n{self.log.read_text()[-3000:]}")

    def _answers(self):
        try:
            return self.query("SELECT 1")
        except pymysql.Error:
            if self._process.poll() is not None:
                raise
            return False

    def query(self, sql):
        """All rows, on a connection that sends no header: this server takes both."""
        connection = pymysql.connect(host="127.0.0.1", port=self.port, user="app", password=PASSWORDS["app"],
                                     cursorclass=pymysql.cursors.DictCursor)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        finally:
            connection.close()

    @property
    def version(self):
        """As it says itself."""
        return self.query("SELECT VERSION() AS v")[0]["v"]
