# SPDX-License-Identifier: Apache-2.0
"""Figures that a test measured: printed, and kept for `./dev test`, which shows them all at its end."""
import os
import pathlib


def note_figures(name, text):
    """Keep |text| as the figures of |name|, in place of those of an earlier run."""
    print(f"{name}: {text}")
    folder = pathlib.Path(os.environ["SLUICE_BIN"]).resolve().parent.parent / "figures"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.txt").write_text(f"{name}: {text}\n", encoding="utf-8")
