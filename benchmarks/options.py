"""The options that the scripts share."""

import argparse
import os
from pathlib import Path

from fastdata.cpus import available_cpus


def parser(
    about: str | None, rounds: int, images: int | None = None, *, has_epoch: bool = True
) -> argparse.ArgumentParser:
    """With the photos, the rounds, the CPUs, where the outcome goes, and `images` to measure where that counts.

    Without `--epoch` where the script knows itself how long one must be.
    """
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, help="folder of JPEGs; without it the demo's photos are made")
    made.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    if images is not None:
        made.add_argument(
            "--images", type=int, default=images, help=f"measured, of each contestant in each round; default: {images}"
        )
    if has_epoch:
        made.add_argument("--epoch", type=int, default=5000, help="images at least: photos are repeated; default: 5000")
    made.add_argument("--batch-size", type=int, default=64, help="default: 64")
    made.add_argument("--cpus", help="as 0,1; without it all that this process may use")
    made.add_argument("--out", type=Path, help="folder for a JSON file of all rounds and a chart")
    return made


def use_cpus(cpus: str | None) -> int:
    """Stay on these CPUs from here on; gives their number."""
    if cpus:
        os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    return available_cpus()
