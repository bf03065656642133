# SPDX-License-Identifier: Apache-2.0
"""
The C API: prepared statements, server-side cursors, long data, COM_CHANGE_USER, COM_RESET_CONNECTION, LOCAL INFILE,
64 MB.
"""


def test_the_c_api(routes, build, tmp_path):
    """A program on the C API (c/c_api.c) prints the same on both ways, in every one of its steps."""
    path = tmp_path / "rows"
    path.write_text("".join(f"{i}\tline {i}\n" for i in range(1, 5001)), encoding="ascii")
    text = routes.run(lambda route: [build / "compat_c_api", path])
    assert f"tls: {'yes' if routes.direct.ca else 'no'}\n" in text
    for words in ("5000|12502500|\n", "rows 100 sum 5050 lengths 5050\n", "while the cursor is open|\n",
                  "rows 1 sum 4000000",
                  f"rows 1 sum {64 * 1024 * 1024} lengths 14\n", "results end with -1\n", "@out: ok\n9|\n",
                  "change user: ok\n", "other|mysql|NULL|\n", "reset connection: ok\n", "compat|test|NULL|\n",
                  "change user with a wrong password: 1045\n"):
        assert words in text, f"{words!r} is not in:\n{text}"
