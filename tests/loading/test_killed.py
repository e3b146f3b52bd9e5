"""Signals at any moment: an error with a name, or the epoch goes on by its last state; nothing is left behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import PYTHONPATH

pytestmark = pytest.mark.slow

PATIENCE = 200  # seconds, for some fifty epochs
IN_OWN_SHM = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size="$0" tmpfs /dev/shm && exec "$@"']


def with_own_shm(size: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Python with these arguments, and with an empty /dev/shm of that size that nobody else sees."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("a /dev/shm of one's own needs root and unshare")
    command = [*IN_OWN_SHM, size, sys.executable, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)


@pytest.mark.parametrize(
    ("way", "signal", "moments"),
    [("cpu", "SIGKILL", 50), ("cpu", "SIGINT", 50), ("dali", "SIGKILL", 25), ("dali", "SIGINT", 25),
     ("workers", "SIGKILL", 15)],
)  # fmt: skip
def test_an_epoch_that_is_ended_at_any_moment_goes_on_and_leaves_nothing(
    way: str, signal: str, moments: int, folder: Path, tmp_path: Path
) -> None:
    if way == "dali":
        pytest.importorskip("nvidia.dali")
    done = with_own_shm("64m", "-m", "support.killed", way, signal, folder, tmp_path / "log", moments)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


FULL = """
import sys
from pathlib import Path
from torch.utils.data import DataLoader
import fastdata as fd
from support.numbered import map_style
dataset = map_style(Path(sys.argv[1]), transform=fd.Transform([fd.RandomResizedCrop(224)]))
if sys.argv[2] == "Loader":
    batches = fd.Loader(dataset, 8, num_threads=2)
else:
    batches = DataLoader(dataset, 8, num_workers=2, collate_fn=fd.collate)
try:
    print(sum(len(images) for images, _ in batches))
except RuntimeError as error:
    print(error)
"""


@pytest.mark.parametrize(("loader", "said"), [("Loader", "37"), ("DataLoader", "shared memory")])
def test_a_full_dev_shm_does_not_matter_to_a_loader_and_is_named_by_torch(loader: str, said: str, folder: Path) -> None:
    done = with_own_shm("64k", "-W", "ignore", "-c", FULL, folder, loader)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
