"""Ctrl-C of `fastdata shard` at counted calls, each time in a fork of this process, which has everything imported.

`python -m support.interrupted FOLDER WORK JOBS MOMENTS` prints, for each moment, what was wrong; nothing where nothing
was.
"""

import itertools
import os
import random
import shutil
import signal
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

import fastdata.packing.parts  # noqa: F401 - once, not in each fork
from fastdata.commands.cli import main as command_line
from support.killed import end_at, no_longer_count
from support.processes import threads

SHARDS = 4
INTERRUPTED = 128 + signal.SIGINT


def packed(folder: Path, out: Path, said: Path, jobs: int, moment: int) -> int:
    """The exit status of packing, interrupted at that call of a function of fastdata's, or not (0)."""
    child = os.fork()
    if child == 0:
        with said.open("w") as file, redirect_stderr(file), redirect_stdout(file):
            os.dup2(file.fileno(), 2)
            os._exit(_status(folder, out, jobs, moment))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _status(folder: Path, out: Path, jobs: int, moment: int) -> int:
    before = threads()
    if moment:
        end_at(moment, signal.SIGINT, in_worker=False)
    try:
        command_line(["shard", str(folder), str(out), "--shards", str(SHARDS), "--jobs", str(jobs)])
    except SystemExit as ended:
        no_longer_count()
        return int(ended.code or 0) if threads() <= before + jobs - 1 else 99
    except KeyboardInterrupt:  # before or after all that click catches: the interpreter says so
        no_longer_count()
        return INTERRUPTED


def calls_of(folder: Path, out: Path) -> int:
    """How many calls of functions of fastdata's a whole run makes."""
    calls = itertools.count()

    def step(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and f"{os.sep}fastdata{os.sep}" in frame.f_code.co_filename:
            next(calls)

    sys.setprofile(step)
    try:
        command_line(["shard", str(folder), str(out), "--shards", str(SHARDS), "--jobs", "1"])
    except SystemExit as ended:
        sys.setprofile(None)
        return 0 if ended.code else next(calls)


def contents(out: Path) -> dict[str, bytes]:
    """All that lies there, by name; but for indexes, which have their shard's time in them."""
    return {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.suffix != ".npy"}


def what_is_wrong(folder: Path, work: Path, jobs: int, moment: int, expected: dict[str, bytes]) -> str:
    out, said = work / "out", work / "said"
    status, text = packed(folder, out, said, jobs, moment), said.read_text()
    if "Traceback" in text or "Exception ignored" in text:
        return text
    if status == 0 and contents(out) == expected:
        return ""  # it had done all
    if status != INTERRUPTED:
        return f"ended with {status}: {text}"
    if packed(folder, out, said, jobs, 0) not in (0, 1):
        return f"the next run: {said.read_text()}"
    return "" if contents(out) == expected else f"there is {sorted(contents(out))}; {said.read_text()}"


def main(folder: Path, work: Path, jobs: int, count: int) -> None:
    warnings.simplefilter("ignore")  # Python 3.12 warns of forks
    work.mkdir()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        calls = calls_of(folder, work / "expected")
    expected = contents(work / "expected")
    for moment in random.Random(5).sample(range(1, calls + 1), count):
        if problem := what_is_wrong(folder, work, jobs, moment, expected):
            print(f"interrupted at call {moment} of {calls}: {problem}")
        shutil.rmtree(work / "out", ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
