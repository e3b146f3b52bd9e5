"""Which files were left out of a dataset: `<name>.rejects.jsonl` beside its json."""

import json
from collections.abc import Sequence
from pathlib import Path

from fastdata.files import whole_file
from fastdata.packing.write import Rejected


def store_rejects(directory: Path, name: str, rejected: Sequence[Rejected]) -> None:
    """Writes which files were left out of a dataset, if there are any, a line of JSON for each: `path` and `reason`."""
    if not rejected:
        return
    with whole_file(rejects_path(directory, name)) as file:
        for each in rejected:
            file.write(json.dumps(each._asdict()).encode("ascii") + b"\n")


def rejects_path(directory: Path, name: str) -> Path:
    """Where it lies which files were left out of the dataset `name`."""
    return directory / f"{name}.rejects.jsonl"
