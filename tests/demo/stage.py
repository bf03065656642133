# SPDX-License-Identifier: Apache-2.0
"""What the demos share: lines with the time, a folder, and an end that leaves no process."""
import pathlib
import shutil
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

from sluicetest import Processes, descendants  # noqa: E402

FOLDER = HERE.parent.parent / "build" / "demo"
BEGAN = time.monotonic()


def say(text=""):
    """One line, with the seconds since the demo began."""
    print(f"[{time.monotonic() - BEGAN:5.1f}] {text}" if text else "", flush=True)


def main(make):
    """Run make(processes).run() in build/demo, and exit: 0 when it returned true. No process is left."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    processes = Processes()
    try:
        good = make(processes).run()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        processes.end_all()
    assert not descendants(), f"left: {descendants()}"
    say("done; all processes are ended, files are in build/demo" if good else "FAILED: see the figures above")
    sys.exit(0 if good else 1)
