# SPDX-License-Identifier: Apache-2.0
"""mysql2 for node, unchanged: pool, prepared statements, streams, LOCAL INFILE, changeUser, reset, rows of 64 MB."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest
from sluicetest.server import LIB

HERE = pathlib.Path(__file__).resolve().parent / "node"


@pytest.fixture(name="modules", scope="session")
def fixture_modules():
    """A folder in the cache with the client in it, brought by npm once."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("no node and npm on PATH: apt-get install npm")
    home = pathlib.Path(os.environ.get("SLUICE_CACHE") or LIB.parent.parent / ".cache") / "node"
    home.mkdir(parents=True, exist_ok=True)
    lock = (HERE / "package-lock.json").read_bytes()
    installed = home / "installed"
    if not installed.exists() or installed.read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, home / name)
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=home,
                              capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stderr
        installed.write_bytes(lock)
    return home


def test_mysql2(routes, modules, tmp_path):
    """A program on mysql2 (node/client.js) prints the same on both ways, in every one of its steps."""
    path = tmp_path / "rows"
    path.write_text("".join(f"{i}\tline {i}\n" for i in range(1, 5001)), encoding="ascii")
    shutil.copy(HERE / "client.js", modules / "client.js")  # node looks for modules beside the program
    text = routes.run(lambda route: ["node", modules / "client.js", path])
    found = dict(json.loads(line) for line in text.splitlines())
    assert found["again"]["errno"] == 1062 and len(found["several"]) == 4 and found["error between"]["errno"] == 1054
    assert found["execute"] == [{"x": 42, "s": "text", "d": "2024-02-29 01:02:03.004"}]
    assert found["stream"][0] == 20000 and found[f"row of {64 * 1024 * 1024}"] == 64 * 1024 * 1024
    assert found[f"parameter of {64 * 1024 * 1024}"] == [{"l": 64 * 1024 * 1024}]
    assert found["infile"] == [5000, [{"COUNT(*)": 5000, "SUM(id)": "12502500"}]]
    assert found["reset"] == [{"u": "compat", "d": "test", "v": None}]
    assert found["change user"] == [{"u": "other", "d": "mysql", "v": None}]
    assert found["change back"] == [{"u": "compat", "d": "test", "v": None}]
    assert found["pool"] == list(range(40))
