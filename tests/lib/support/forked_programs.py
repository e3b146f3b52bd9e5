"""Runs programs, each in a fork of this process, which has imported torch and fastdata: that takes two seconds.

    python -m support.forked_programs MODULES…

It imports these as well. Of stdin each line is a `Program`, as JSON. The answer is a line with its exit
status, or less than 0: the signal that ended it.
"""

import gc
import importlib
import json
import os
import signal
import sys
import types
from contextlib import suppress

import torch
from torch.utils import data

import fastdata as fd
from support.forks import Program

IMPORTED = [torch, data, *(getattr(fd, name) for name in dir(fd))]


def main() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()  # else a fork looks at, and so copies, all of that at its end
    for line in sys.stdin:
        program = Program(*json.loads(line))
        child = os.fork()
        if child == 0:
            become(program)
            exec(compile(program.code, "<program>", "exec"), vars(sys.modules["__main__"]))  # noqa: S102 - tests' own
            return  # and end as any program does
        status = os.waitpid(child, 0)[1]
        with suppress(ProcessLookupError):  # where it has left nobody behind
            os.killpg(child, signal.SIGKILL)
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(program: Program) -> None:
    """A program of its own: its names and processes, in its folder, no input, what it prints in files, and an end."""
    os.setsid()
    signal.alarm(program.limit)
    sys.modules["__main__"] = types.ModuleType("__main__")
    os.chdir(program.place)
    sys.argv = ["-c", *program.arguments]
    for descriptor, file in enumerate([os.devnull, program.printed, program.complaints]):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND if descriptor else os.O_RDONLY)
        os.dup2(opened, descriptor)
        os.close(opened)


if __name__ == "__main__":
    main()
