"""How packing processes begin: each anew, or as a copy of one process that has imported what they need.

To begin anew takes a CPU as long as packing a hundred megabytes. So the command line starts the process to be copied
at once, which then imports what it needs while the folder is looked through. It runs nothing of the caller's, so a copy
has no threads and locks of the caller's, either. It lives as long as the caller, who in a script may have other uses
for Python's one such process: there each packing process begins anew.
"""

import multiprocessing
from multiprocessing import forkserver, get_context
from multiprocessing.context import BaseContext

from fastdata.packing.workers.signals import no_interrupts

_NEEDED = "fastdata.packing.task"
_is_ready = False


def begin_early() -> None:
    """Starts the process to be copied, in the background."""
    global _is_ready
    if "forkserver" in multiprocessing.get_all_start_methods():
        get_context("forkserver").set_forkserver_preload([_NEEDED])
        with no_interrupts():  # which the process, and so its copies, inherit
            forkserver.ensure_running()
        _is_ready = True


def packing_context() -> BaseContext:
    """What packing processes are made by. (A fork of this process would copy whatever threads and locks it has.)"""
    return get_context("forkserver" if _is_ready else "spawn")
