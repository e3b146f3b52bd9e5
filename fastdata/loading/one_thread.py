"""torch's operators in one thread: where threads work beside each other, each is a core's work by itself."""

import os
import threading

import torch

_limited = threading.local()
_one_at_a_time = threading.Lock()


def _new_lock() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)  # whoever had it did not come along


def keep_torch_in_one_thread() -> None:
    """From now on torch's operators in the calling thread start no threads of their own, as many as there are cores.

    `torch.set_num_threads` says it for this thread, and for all threads that have not used torch yet. For those another
    thread says again what was so before.
    """
    if getattr(_limited, "so", False):
        return
    with _one_at_a_time:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        others = threading.Thread(target=torch.set_num_threads, args=(before,))
        others.start()
        others.join()
    _limited.so = True
