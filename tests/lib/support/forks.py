"""Programs that begin at once: each is a fork of a process that has imported what takes seconds, torch above all."""

import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support.processes import PATIENCE, PYTHONPATH

OPTIMIZERS = "torch._dynamo"
"""What torch imports with the first optimizer, in another second."""

Run = Callable[..., str]
"""What a program prints, by its code and arguments; it fails if it hangs or crashes."""


class Program(NamedTuple):
    """The folder to run in, the code, its arguments, files for what it prints and for what it complains of."""

    place: str
    code: str
    arguments: list[str]
    printed: str
    complaints: str
    limit: int  # of seconds


@contextmanager
def prepared(place: Path, *modules: str, silent: bool = True, **environment: str) -> Iterator[Run]:
    """Runs programs in `place`, which have these modules imported, too.

    A silent one fails if it says anything on stderr; of others even warnings are ignored. What an import does, or
    spawning, is for `support.processes.run_python`.
    """
    command = [sys.executable, "-P", *([] if silent else ["-W", "ignore"]), "-m", "support.forked_programs", *modules]
    ours = {**os.environ, "PYTHONPATH": PYTHONPATH, **environment}
    numbers = itertools.count()
    with subprocess.Popen(
        command, cwd=place, env=ours, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as runner:
        assert runner.stdin is not None
        assert runner.stdout is not None
        send, answers = runner.stdin, runner.stdout

        def run(code: str, *arguments: object, limit: float = PATIENCE) -> str:
            number = next(numbers)  # files of its own: who was left behind by another program may still write
            printed, complaints = place / f"printed-{number}", place / f"complaints-{number}"
            printed.write_text("")
            complaints.write_text("")
            given = [str(argument) for argument in arguments]
            program = Program(str(place), code, given, str(printed), str(complaints), math.ceil(limit))
            print(json.dumps(program), file=send)
            status, out, errors = answers.readline().strip(), printed.read_text(), complaints.read_text()
            assert (status, errors if silent else "") == ("0", ""), f"exit status {status}: {out}\n{errors[-4000:]}"
            return out

        yield run
        send.close()


def on_ranks(run: Run, ranks: int, script: object, *arguments: object, limit: float = PATIENCE) -> str:
    """What a script, or a module by its name, prints on so many ranks, launched as by torchrun."""
    code = "import sys; from support.forked_ranks import launch; launch(int(sys.argv[1]), *sys.argv[2:])"
    return run(code, ranks, script, *arguments, limit=limit)
