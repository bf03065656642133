# SPDX-License-Identifier: Apache-2.0
"""
Clients that reconnect without pause, in a process of their own, so that they do not slow the test's own threads.

    python3 -m sluicetest.load HOST PORT USER PASSWORD CLIENTS FILE

Each client connects, reads @@server_uuid, and goes. A line of JSON per read goes to FILE:
[client, started, ended, uuid, error], with CLOCK_MONOTONIC seconds. Ends on SIGTERM, after every client's last read.
"""
import json
import signal
import sys
import threading
import time

import pymysql


def read_uuid(host, port, user, password):
    """One short session. Returns (uuid, error)."""
    try:
        connection = pymysql.connect(host=host, port=port, user=user, password=password, connect_timeout=30,
                                     read_timeout=30)
    except (pymysql.Error, OSError) as error:
        return None, f"connect: {error}"
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@server_uuid")
            return cursor.fetchone()[0], None
    except (pymysql.Error, OSError) as error:
        return None, f"query: {error}"
    finally:
        try:
            connection.close()
        except (pymysql.Error, OSError):
            pass


def main():
    """See the module's text."""
    host, port, user, password, clients, path = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open(path, "w", encoding="ascii", buffering=1) as out:
        def client(number):
            while not stop.is_set():
                started = time.monotonic()
                uuid, error = read_uuid(host, int(port), user, password)
                out.write(json.dumps([number, started, time.monotonic(), uuid, error]) + "\n")
                if error:
                    stop.wait(0.01)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(int(clients))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
