"""Commands end as docs/commands.md says: with its exit codes, with one line of JSON, and a word after Ctrl-C."""

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fastdata.commands.progress import bar
from support.commands import Command
from support.packed import copy_of
from support.processes import PATIENCE, read_terminal

DOCUMENT = Path(__file__).parents[2] / "docs" / "commands.md"


def test_each_exit_code_that_is_documented_has_its_test() -> None:
    assert re.findall(r"^\| (\d+) \|", DOCUMENT.read_text(), re.MULTILINE) == ["0", "1", "2", "130", "143"]
    commands = re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    listed = subprocess.run([sys.executable, "-m", "fastdata", "--help"], capture_output=True, text=True, check=True)
    assert set(commands) == set(re.findall(r"^  (\w+)  ", listed.stdout.partition("Commands:")[2], re.MULTILINE))


def test_what_is_done_ends_with_0_and_what_is_not_with_1(fastdata: Command, dataset: Path, tmp_path: Path) -> None:
    for command in ("verify", "info"):
        assert fastdata(command, dataset).status == 0
        assert fastdata(command, tmp_path / "nothing.json").status == 1
    for command in ("report", "view", "bench"):
        assert fastdata(command, tmp_path / "nothing.json").status == 1
    broken = copy_of(dataset, tmp_path / "broken")
    (broken / "train-000000.tar").write_bytes(b"no tar")
    assert fastdata("verify", broken).status == 1


@pytest.mark.parametrize(
    "wrong", [["nothing"], ["report"], ["view", "x", "--rows", "0"], ["bench", "x", "--seconds", "no"]]
)
def test_a_wrong_usage_ends_with_2(fastdata: Command, wrong: list[str]) -> None:
    assert fastdata(*wrong).status == 2


def test_json_is_one_line_and_nothing_else(fastdata: Command, dataset: Path, tmp_path: Path) -> None:
    broken = copy_of(dataset, tmp_path / "broken\x1b[31m")
    (broken / "train-000000.tar").write_bytes(b"no tar")
    for arguments in (["info", dataset], ["verify", dataset], ["verify", broken], ["doctor"], ["report", broken]):
        done = fastdata(*arguments, "--json")
        assert done.out.count("\n") == 1
        assert "\x1b" not in done.out
        assert json.loads(done.out)
    (described,) = json.loads(fastdata("info", dataset, "--json").out)
    assert (described["samples"], described["images"]["looked_at"]) == (12, 12)
    found = json.loads(fastdata("verify", broken, "--json").out)
    assert (found["shards"], found["bad_shards"], found["faults"][0]["offset"]) == (3, 1, -1)


def test_ctrl_c_tells_what_is_finished(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capsys.readouterr().err == "stopped: 3 of 10 shards verified\n"
    with bar(10, "shards", "verified") as advance:
        advance(10)
    assert capsys.readouterr().err == ""


def interrupted() -> None:
    with bar(10, "shards", "verified") as advance:
        advance(3)
        raise KeyboardInterrupt


def asked(answer: bytes, *arguments: object) -> tuple[int, bytes]:
    """Exit code of a command that is answered on its terminal, and what it said there."""
    ours, theirs = pty.openpty()
    command: list[Any] = [sys.executable, "-m", "fastdata", *map(str, arguments)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        os.write(ours, answer)
        said = bytearray()
        while chunk := read_terminal(ours):
            said += chunk
        status = running.wait(PATIENCE)
    os.close(ours)
    return status, bytes(said)


def test_ctrl_c_at_a_question_ends_with_130(folder: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    options = ["shard", folder, tmp_path / "out", "--shard-size", "10", "--jobs", "1"]
    command: list[Any] = ["setsid", "--ctty", sys.executable, "-m", "fastdata", *options]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        said = bytearray()
        while b"[y/N]" not in said and (chunk := read_terminal(ours)):
            said += chunk
        while running.poll() is None:
            os.write(ours, b"\x03")  # again, since one that comes just before Python waits is lost
            with suppress(subprocess.TimeoutExpired):
                running.wait(2)
    os.close(ours)
    assert (running.returncode, b"[y/N]" in said) == (130, True)


@pytest.mark.slow
def test_whoever_sits_at_a_terminal_is_asked_about_a_size_that_is_surely_a_mistake(
    folder: Path, tmp_path: Path
) -> None:
    options = ["shard", folder, tmp_path / "out", "--shard-size", "10", "--jobs", 1]
    status, said = asked(b"n\n", *options)
    assert status == 1
    assert b"less than an image has (was 10MB meant?). Go on? [y/N]" in b" ".join(said.split())
    assert not (tmp_path / "out").exists()
    assert asked(b"y\n", *options)[0] == 0
    assert (tmp_path / "out" / "train.json").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fastdata re", "plain,report"),
        ("fastdata report --sam", "plain,--samples"),
        ("fastdata doc", "plain,doctor"),
        ("fastdata report pho", "file,pho"),
        ("fastdata index a.tar b", "file,b"),
        ("fastdata shard a b --labels ta", "file,ta"),
        ("fastdata shard a.csv b --root pho", "file,pho"),
    ],
)
def test_bash_completes_commands_options_and_paths(words: str, expected: str) -> None:
    known = {"_FASTDATA_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    command = [sys.executable, "-m", "fastdata"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | known)
    assert expected in done.stdout.split()
