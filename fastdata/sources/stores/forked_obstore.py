"""obstore, for this process: a forked child has a copy of its own.

obstore runs its requests on threads of a tokio runtime, of which there is one for each loaded library, for good.
Threads don't survive a fork, so in a child of a process that has used obstore every request would wait for ever
(https://github.com/developmentseed/obstore/pull/441). torch's DataLoader forks its workers by default, after the
dataset was opened. So the child loads the library once more, from a copy of its file in memory: the dynamic linker
takes that for another library, with a runtime yet to be started. That takes 20 ms and 15 MB.
"""

import os
import sys
import threading
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any

from fastdata.cpus import interrupting_nobody

_COMPILED = "obstore._obstore"
_lock = threading.Lock()
_own: Any = None  # obstore, once this process has asked for it
_stale = False  # whether obstore in sys.modules is that of a parent
_of_parents: list[
    ModuleType
] = []  # libraries that were loaded before a fork, kept: dropping one would touch its runtime


def obstore() -> Any:
    """The package obstore, whose requests this process can make.

    Raises ImportError that says what to install, RuntimeError in a forked child where there can't be another copy.
    """
    global _own, _stale
    if _own is not None:
        return _own
    with _lock:
        try:
            if _stale:
                _load_again()
                _stale = False
            import obstore.exceptions
            import obstore.store  # what the callers use of it

            with interrupting_nobody():  # the first request begins the runtime's threads
                obstore.put(obstore.store.MemoryStore(), "first", b"")
        except ImportError as error:
            raise ImportError(
                f"s3, gs, az, http and https URLs need obstore: pip install 'fastdata-images[remote]' ({error})"
            ) from error
        _own = obstore
    return obstore


def _load_again() -> None:
    old = sys.modules[_COMPILED]
    copy = _copy_of(str(old.__file__))
    try:
        loader = ExtensionFileLoader(_COMPILED, copy)
        library = module_from_spec(ModuleSpec(_COMPILED, loader, origin=copy))
        _of_parents.extend(sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "obstore")
        sys.modules[_COMPILED] = library
        loader.exec_module(library)
    finally:
        os.close(int(copy.rpartition("/")[2]))
    library.__file__ = old.__file__  # for this process's children


def _copy_of(library: str) -> str:
    """The path of a copy in memory, behind a file descriptor that is to be closed."""
    if not hasattr(os, "memfd_create"):
        raise RuntimeError(
            "a forked process cannot use object storage when its parent has used it: start workers by "
            'multiprocessing_context="spawn" or "forkserver"'
        )
    copy = os.memfd_create("obstore")
    with open(library, "rb") as file:  # noqa: PTH123 -- read by its descriptor
        while os.sendfile(copy, file.fileno(), None, 1 << 30):
            pass
    return f"/proc/self/fd/{copy}"


def _after_fork() -> None:
    global _own, _stale
    _own, _stale = None, _COMPILED in sys.modules
    _lock.release()


# A fork waits for a thread that is just importing obstore: in the child the import would never end.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork)
