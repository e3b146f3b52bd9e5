import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastdata.commands.terminal import printable
from support.packed import copy_of
from support.tars import packed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain: ü 猫 / [red]", "plain: ü 猫 / [red]"),
        ("a\x1b[31mb\x07", "a\\x1b[31mb\\x07"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x9b2J\u202e", "\\x9b2J\\u202e"),
        ("not utf-8: \udcff", "not utf-8: \\udcff"),
    ],
)
def test_what_a_terminal_would_act_on_or_could_not_show_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_letters_that_the_terminal_lacks_are_escaped(folder: Path, tmp_path: Path) -> None:
    named = copy_of(folder, tmp_path / "photos")
    (named / "cat").rename(named / "Kätzchen")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}

    def printed(*arguments: object, status: int = 0) -> str:
        command = [sys.executable, "-m", "fastdata", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, env=environment)
        assert done.returncode == status
        return (done.stdout + done.stderr).decode("ascii")

    assert "f\\xfcr/train.json: 12 samples" in printed("shard", named, tmp_path / "für", "--jobs", 1)
    assert "K\\xe4tzchen 5" in printed("info", tmp_path / "für")
    (found,) = json.loads(printed("info", tmp_path / "für", "--json"))
    assert found["classes"] == {"Kätzchen": 5, "dog": 7}
    packed(tmp_path / "k.tar", [("schön.jpg", b"no image")])
    assert "sch\\xf6n" in printed("verify", tmp_path / "k.tar", "--decode", status=1)
    assert "fastdata: no shard K\\xe4tzchen.tar" in printed("index", "Kätzchen.tar", status=1)
