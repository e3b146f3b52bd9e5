"""Programs that tests run in a process of their own; each goes on from lines that make a Loader named `loader`.

They need `import os, signal, sys`, and the photos of `support.numbered` in the Loader's batches.
"""

FORKED = """
import warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of every fork of a process with threads
expected = [batch.images.clone() for batch in loader]
loader.set_epoch(0)
batches = iter(loader)
first = next(batches)
for _ in range(2):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            next(batches)
        except RuntimeError as error:
            assert "before the fork" in str(error), error
        else:
            raise AssertionError("the parent's iteration went on in the child")
        for _ in range(2):
            loader.set_epoch(0)
            assert all((batch.images == other).all() for batch, other in zip(loader, expected, strict=True))
        del first, batches, loader
        sys.exit(7)  # so that what is registered to run at exit does
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(sum(len(batch.images) for batch in batches))
"""
"""Forks within an epoch, twice; prints how many samples came after its first batch."""

INTERRUPTED = """
import threading
from support.processes import assert_no_more_threads_than, threads
attempts, longest_wait = {attempts}, {longest_wait}
list(loader)
before = threads()
caught = 0
for attempt in range(attempts):
    wait = longest_wait * attempt / attempts
    try:
        for epoch in range(10**9):
            loader.set_epoch(epoch)
            for number, batch in enumerate(loader):
                if (epoch, number) == (0, attempt % 5):
                    threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT)).start()
    except KeyboardInterrupt:
        caught += 1
    assert_no_more_threads_than(before)
loader.set_epoch(1)
print(caught, sum(len(batch.images) for batch in loader))
"""
"""Ctrl-C in the loop at `attempts` moments, `longest_wait` seconds after a batch at most; prints how many were raised,
and how many samples the next epoch has."""
