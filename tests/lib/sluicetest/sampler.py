# SPDX-License-Identifier: Apache-2.0
"""Looks at all servers' processlists, every few milliseconds, for sessions on two of them at once."""
import bisect
import threading
import time

import pymysql

OWN_USERS = ("sluice", "consumer", "root", "system user", "event_scheduler")


class _Seen:
    """One session on one server: the first and the last listing that showed it, each with its begin and end."""
    __slots__ = ("user", "first", "last")

    def __init__(self, user, when):
        self.user, self.first, self.last = user, when, when


class Sampler:
    """
    Samples on root's socket connections from a thread of its own, from start() until stop().

    Counted are sessions from |host| (Sluice's source-address), or, if |users| is given, sessions of those users from
    anywhere. Sluice's own account is never counted: its probes may look at all servers.

    Two listings are not taken at the same instant, so a session is taken to exist only while it certainly did: from the
    end of the first listing that showed it to the begin of the last one. What is reported was really so.
    """

    def __init__(self, servers, host="127.0.0.2", users=None, every=0.003):
        self._servers, self._host, self._users, self._every = list(servers), host, users, every
        self._seen = {server.name: {} for server in self._servers}
        self.samples = {server.name: 0 for server in self._servers}
        self._times = {server.name: [] for server in self._servers}
        self._stop = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        """Begin."""
        self._thread.start()
        return self

    def stop(self):
        """End; the figures can be read then."""
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the sampler does not end"
        assert self._failure is None, f"the sampler failed: {self._failure!r}"
        return self

    def _run(self):
        try:
            self._sample_all()
        except Exception as error:  # pylint: disable=broad-except
            self._failure = error  # stop() tells it: a sampler that ended early has seen nothing

    def _sample_all(self):
        connections = {}
        while not self._stop.is_set():
            for server in self._servers:
                try:
                    if server.name not in connections:
                        connections[server.name] = server.connect(read_timeout=1, charset="latin1")
                    self._sample(server.name, connections[server.name])
                except (pymysql.Error, OSError):
                    # Down or frozen: it is asked again, and in between nothing is claimed about it.
                    dead = connections.pop(server.name, None)
                    if dead is not None:
                        dead._force_close()  # pylint: disable=protected-access
            self._stop.wait(self._every)
        for connection in connections.values():
            connection._force_close()  # pylint: disable=protected-access

    def _sample(self, name, connection):
        began = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute("SHOW PROCESSLIST")
            rows = cursor.fetchall()
        when = (began, time.monotonic())
        seen = self._seen[name]
        for row in rows:
            thread, user, host = row["Id"], row["User"], row["Host"] or ""
            if not self._users and not host.startswith(self._host + ":"):
                continue
            session = seen.get((thread, host))
            if session is None:
                session = seen[(thread, host)] = _Seen(user, when)
            session.last = when
            if user != "unauthenticated user":
                session.user = user  # before that nobody can tell a client's leg from a probe
        self.samples[name] += 1
        self._times[name].append(when[1])

    def looks(self, server, began, ended):
        """How many listings of |server| ended between two instants: what happened in between was seen so often."""
        times = self._times[server.name]
        return bisect.bisect_right(times, ended) - bisect.bisect_left(times, began)

    def _sessions(self, name):
        wanted = self._users or ()
        for session in list(self._seen[name].values()):
            if session.user in wanted if wanted else session.user not in (*OWN_USERS, "unauthenticated user"):
                yield session

    def sessions(self, server):
        """How many different sessions were seen on |server|."""
        return sum(1 for _ in self._sessions(server.name))

    def servers_at_once(self):
        """The largest number of servers that certainly had counted sessions at the same instant."""
        certain = {server.name: _merge((s.first[1], s.last[0]) for s in self._sessions(server.name))
                   for server in self._servers}
        most = 0
        for server in self._servers:
            for session in self._sessions(server.name):
                # It existed somewhere inside its first listing, and, if seen again, at the end of that listing.
                instant = session.first if session.first == session.last else (session.first[1], session.first[1])
                others = sum(1 for name, spans in certain.items() if name != server.name and _covers(spans, *instant))
                most = max(most, 1 + others)
        return most

    def seconds_at_once(self):
        """How long two servers certainly had counted sessions at the same time."""
        certain = [_merge((s.first[1], s.last[0]) for s in self._sessions(server.name)) for server in self._servers]
        total = 0.0
        for at, spans in enumerate(certain):
            for begin, end in spans:
                for other_begin, other_end in sum(certain[at + 1:], []):
                    total += max(0.0, min(end, other_end) - max(begin, other_begin))
        return total


def _merge(spans):
    """Sorted, disjoint spans out of any; spans that end before they begin are none."""
    merged = []
    for begin, end in sorted(span for span in spans if span[0] <= span[1]):
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    return merged


def _covers(spans, begin, end):
    """Whether one of the sorted, disjoint |spans| holds all of begin..end."""
    at = bisect.bisect_right(spans, [begin, float("inf")]) - 1
    return at >= 0 and spans[at][1] >= end
