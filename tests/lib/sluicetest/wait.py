# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition, never for a fixed time."""
import time


class WaitExpired(AssertionError):
    """A condition did not come true within its limit."""


def wait_until(condition, limit=10.0, what=None, every=0.01):
    """
    Call |condition| until it returns something true, and return that.

    |limit| is in seconds. |what| names the condition in the failure; it may be a function, called when the limit has
    run out, so that it can tell what was seen last.
    """
    deadline = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            text = what() if callable(what) else what
            raise WaitExpired(f"not within {limit:g} s: {text or getattr(condition, '__name__', 'the condition')}")
        time.sleep(every)
