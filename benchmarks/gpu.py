"""How busy a GPU is, by `nvidia-smi dmon`."""

import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def averages_of(gpu: int, seen: dict[str, float]) -> Iterator[None]:
    """Puts the averages of dmon's columns into `seen` when it is left: sm and jpg in percent, rxpci in MB/s, …"""
    command = ["nvidia-smi", "dmon", "-s", "ut", "-i", str(gpu)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as monitor:
        try:
            yield
        finally:
            monitor.terminate()
            seen.update(averages(monitor.communicate()[0]))


def averages(printed: str) -> dict[str, float]:
    """Of each of dmon's columns, without its first line, which is of before; of those only that are numbers."""
    lines = printed.splitlines()
    names = next((line[1:].split() for line in lines if line.startswith("#")), [])
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")][1:]
    columns = {
        name: [float(row[at]) for row in rows if row[at].replace(".", "").isdigit()] for at, name in enumerate(names)
    }
    return {name: statistics.fmean(values) for name, values in columns.items() if values}
