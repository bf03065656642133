# SPDX-License-Identifier: Apache-2.0
"""A switch that stands still when it enters a phase, so that a test can freeze or kill somebody right there."""
import pathlib

from .wait import wait_until


class PauseAt:
    """
    Give |environment| to Sluice's start; its source then stands still at |phase|, from wait() on until go().

    Only a build with SLUICE_FAULTS=ON does so. The phase has been entered, nothing of it has been done.
    """

    def __init__(self, folder, phase):
        self.phase = phase
        self._path = pathlib.Path(folder) / f"pause-{phase}"
        self.environment = {"SLUICE_FAULT_PAUSE": f"{phase}:{self._path}"}

    def __or__(self, other):
        """The environment to stop at both."""
        return {"SLUICE_FAULT_PAUSE": ",".join(each.environment["SLUICE_FAULT_PAUSE"] for each in (self, other))}

    def wait(self, limit=30.0):
        """The phase is reached and Sluice's source stands still."""
        reached = self._path.with_suffix(".reached")
        wait_until(reached.exists, limit, f"a switch enters phase {self.phase} (needs a build with SLUICE_FAULTS=ON)")
        return self

    def go(self):
        """Go on; later switches do not stop any more."""
        self._path.with_suffix(".go").touch()
