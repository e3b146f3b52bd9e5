"""Runs programs, each in a fork of this process, which has imported torch and fastdata: that takes two seconds.

    python -m support.forked_blocks

Of stdin each line is one, as JSON: the folder to run in, the code, the file for what it prints, and how many seconds it
may take. The answer is a line with its exit status, or less than 0: the signal that ended it.
"""

import json
import os
import signal
import sys

import torch
from torch.utils import data

import fastdata as fd

IMPORTED = [torch, data, *(getattr(fd, name) for name in dir(fd))]


def main() -> None:
    for line in sys.stdin:
        place, code, printed, limit = json.loads(line)
        child = os.fork()
        if child == 0:
            become(place, printed, limit)
            exec(compile(code, "<block>", "exec"), vars(sys.modules["__main__"]))  # noqa: S102 - the documents' own
            return  # and end as any program does
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def become(place: str, printed: str, limit: int) -> None:
    """A program of its own: in its folder, with no input, what it prints in a file, and an end."""
    signal.alarm(limit)
    os.chdir(place)
    for file, flags, descriptors in ((os.devnull, os.O_RDONLY, [0]), (printed, os.O_WRONLY | os.O_CREAT, [1, 2])):
        opened = os.open(file, flags)
        for descriptor in descriptors:
            os.dup2(opened, descriptor)


if __name__ == "__main__":
    main()
