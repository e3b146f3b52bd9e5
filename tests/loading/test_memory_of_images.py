"""The memory that hostile images take, and what is said where there is not enough: by real limits, in processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.corpus.large import write_large
from support.processes import PATIENCE, PYTHONPATH

pytestmark = pytest.mark.slow

PROGRAM = """
import resource, sys
from pathlib import Path
import fastdata as fd
root, limit = Path(sys.argv[1]), int(sys.argv[2])
dataset = fd.ImageDirectoryDataset(root, "*", transform=[fd.Resize((24, 24))], labels=None)
list(fd.Loader(fd.ImageDirectoryDataset(root, "0*", transform=[fd.Resize((24, 24))], labels=None), 1, num_threads=1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if limit:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + limit,) * 2)
loader = fd.Loader(dataset, 3, num_threads=1, on_error="skip")
try:
    print(sum(len(images) for images, _ in loader), [cause for _, _, cause in loader.skipped])
except OSError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
KINDS = ["jpeg", "progressive", "scans", "png", "palette", "16-bit", "gif", "webp", "tiff"]


def run(kind: str, root: Path, limit: int, kernel: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "FASTDATA_KERNEL": kernel}
    write_large(root, kind)  # here: to write it takes more memory than to read it
    command = [sys.executable, "-P", "-W", "ignore", "-c", PROGRAM, str(root), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("kernel", ["yes", "no"])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_an_image_that_there_is_no_memory_for_is_named_and_never_skipped(
    kind: str, kernel: str, tmp_path: Path
) -> None:
    said, _ = run(kind, tmp_path, 300 << 20, kernel)
    assert said == f"[Errno 12] no memory to decode a sample: '{tmp_path}/1.{kind}'"


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_image_of_a_few_kilobytes_takes_less_than_a_gigabyte_and_a_half(kind: str, tmp_path: Path) -> None:
    said, taken = run(kind, tmp_path, 0, "yes")
    assert said == "2 []"
    assert int(taken) < 1500
