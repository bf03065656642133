# SPDX-License-Identifier: Apache-2.0
"""The Go program of tests/compat/go, built when first asked for."""
import os
import pathlib
import re
import shutil
import subprocess

from .sluice import TREE, binary

GO_AT_LEAST = (1, 23)


def why_no_go():
    """Why nothing can be built with Go here; None when it can."""
    if not shutil.which("go"):
        return "no go on PATH: https://go.dev/dl (Debian 12's own is too old)"
    text = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True,
                          cwd="/").stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", text)
    if found and tuple(map(int, found.groups())) < GO_AT_LEAST:
        return f"{text} is too old: go-mysql needs {'.'.join(map(str, GO_AT_LEAST))}"
    return None


def build_go():
    """Path of the program. Build it in the build tree; modules come through Go's own proxy and cache."""
    out = pathlib.Path(binary()).resolve().parent.parent / "tests" / "compat" / "compat-go"
    out.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["go", "build", "-trimpath", "-buildvcs=false", "-o", out, "."],
                          cwd=TREE / "tests" / "compat" / "go",
                          env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}, capture_output=True,
                          text=True,
                          check=False)
    assert done.returncode == 0, f"go build: {done.stderr}"
    return out
