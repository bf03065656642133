# SPDX-License-Identifier: Apache-2.0
"""Processes that are started by a test and never outlive it: each is ended by its pid."""
import atexit
import ctypes
import os
import signal
import subprocess

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """From now on a grandchild whose parent ended becomes our child, so that descendants() finds it."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid=None):
    """{pid: command} of all living processes below |pid| (this process); zombies are not living."""
    children, commands = {}, {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                head, tail = file.read().rsplit(")", 1)
            with open(f"/proc/{name}/cmdline", encoding="utf-8", errors="replace") as file:
                command = file.read().replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent = tail.split()[:2]
        if state not in "ZX":
            children.setdefault(int(parent), []).append(int(name))
            commands[int(name)] = command or head.split("(", 1)[1]
    found, todo = {}, [pid or os.getpid()]
    while todo:
        for child in children.get(todo.pop(), []):
            found[child] = commands[child]
            todo.append(child)
    return found


class Processes:
    """
    The processes of one test or demo. Also ends them at exit, and the kernel does should we be killed.

    Start them from the main thread: the kernel's end-with-parent goes by the thread that started them.
    """

    def __init__(self):
        self._running = []
        atexit.register(self.end_all)

    def start(self, command, log=None, env=None, cwd=None, stdout=None):
        """Start |command|; what it prints goes to the file |log| (or to nowhere). Returns the subprocess.Popen."""
        sink = open(log, "ab") if log else None  # pylint: disable=consider-using-with
        try:
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
                                       stdin=subprocess.DEVNULL,
                                       stdout=stdout or sink or subprocess.DEVNULL,
                                       stderr=sink or subprocess.DEVNULL,
                                       env={**os.environ, **(env or {})}, cwd=cwd, start_new_session=True)
        finally:
            if sink:
                sink.close()
        self._running.append(process)
        return process

    def end(self, process, sig=signal.SIGTERM, limit=30.0):
        """Send |sig| and wait; a process that does not end within |limit| seconds is killed. Returns its exit code."""
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(sig)
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self._running:
            self._running.remove(process)
        return process.returncode

    def end_all(self):
        """Kill what is left."""
        for process in reversed(self._running[:]):
            self.end(process, signal.SIGKILL)
