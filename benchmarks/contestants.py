"""Who can take part: by name, with what it needs."""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import ours
import peers
from material import Material
from work import Batches, Work


class Contestant(NamedTuple):
    """`start` gives the batches. `needs` is a module; `in_workers`: it runs in torch's DataLoader."""

    start: Callable[[Work], Batches]
    needs: str = "fastdata"
    in_workers: bool = False
    crop_ready: bool = False

    @property
    def installed(self) -> bool:
        try:
            return importlib.util.find_spec(self.needs) is not None
        except ModuleNotFoundError:  # not even the package that the module would be in
            return False

    def why_not(self, files: Material) -> str | None:
        """What it misses, where it can't take part."""
        if not self.installed:
            return f"{self.needs} is not installed"
        return "no kernel or jpegtran for crop-ready shards" if self.crop_ready and not files.crop_ready else None


CONTESTANTS = {
    "Loader, shards": Contestant(ours.loader_shards),
    "Loader, crop-ready shards": Contestant(ours.loader_crop_ready, crop_ready=True),
    "Loader, folder": Contestant(ours.loader_folder),
    "Loader, Parquet": Contestant(ours.loader_parquet, "pyarrow"),
    "Loader, compressed Parquet": Contestant(partial(ours.loader_parquet, compressed=True), "pyarrow"),
    "Loader, full decode": Contestant(ours.loader_full_decode),
    "Loader by DALI, folder": Contestant(partial(ours.loader_folder, decoder="dali"), "nvidia.dali"),
    "Loader by DALI, crop-ready shards": Contestant(
        partial(ours.loader_crop_ready, decoder="dali"), "nvidia.dali", crop_ready=True
    ),
    "torch's DataLoader, shards": Contestant(ours.torch_shards, in_workers=True),
    "torch's DataLoader, folder": Contestant(ours.torch_folder, in_workers=True),
    "DALI's own": Contestant(peers.dali, "nvidia.dali"),
    "webdataset": Contestant(peers.webdataset, "webdataset", in_workers=True),
    "torchvision's ImageFolder": Contestant(peers.torchvision, "torchvision", in_workers=True),
    "SPDL": Contestant(peers.spdl, "spdl.io"),
    "FFCV": Contestant(peers.ffcv, "ffcv"),
}
