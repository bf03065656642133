# SPDX-License-Identifier: Apache-2.0
"""Whether anything is left of clients that have gone."""
import os
from contextlib import contextmanager

from sluicetest import wait_until

SAMPLES = 5


def descriptors(one):
    """How many a Sluice has open now; a probe under way counts too."""
    return len(os.listdir(f"/proc/{one.pid}/fd"))


def resident_kb(one):
    """Its resident memory."""
    with open(f"/proc/{one.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


@contextmanager
def nothing_left(one):
    """Sessions, held clients, buffers and descriptors are back at what they were, soon after the block."""
    before = one.status()
    # The least of some samples: a probe or the status itself has a descriptor for a moment.
    fds = min(descriptors(one) for _ in range(SAMPLES) if one.get("/healthz"))
    yield

    def is_back():
        now = one.status()
        return (now["sessions"] <= before["sessions"] and now["held"] <= before["held"] and
                now["counters"]["buffered-bytes"] == 0 and descriptors(one) <= fds)

    wait_until(is_back, 30, lambda: f"nothing is left: {before['sessions']} sessions, {before['held']} held and {fds} "
               f"descriptors before; {descriptors(one)} descriptors now; status: {one.status()}")
