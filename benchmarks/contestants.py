"""Who can take part: by name, with what it needs."""

import importlib.metadata
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import ours
from material import Material
from peers import torchs
from peers.dali import dali_folder, dali_shards
from peers.ffcv import ffcv
from peers.grain import grain
from peers.litdata import litdata
from peers.spdl import spdl
from peers.streaming import streaming
from peers.webdataset import webdataset
from real_torchvision import why_not as why_no_torchvision
from work import Batches, Work


class Contestant(NamedTuple):
    """`start` gives the batches. `needs` is a module; `in_workers`: it runs in so many processes as `work.workers`."""

    start: Callable[[Work], Batches]
    needs: str = "fastdata"
    in_workers: bool = False
    crop_ready: bool = False

    def why_not(self, files: Material) -> str | None:
        """What it misses, where it can't take part."""
        if self.needs == "torchvision":
            return why_no_torchvision()
        if not installed(self.needs):
            return f"{self.needs} is not installed"
        return "no kernel or jpegtran for crop-ready shards" if self.crop_ready and not files.crop_ready else None

    @property
    def version(self) -> str:
        """Of the package that it needs, as `name 1.2`; of torchvision's folder, which is not installed, nothing."""
        package, _, part = self.needs.partition(".")
        of = importlib.metadata.packages_distributions().get(package, [])
        named = [name for name in of if part in name] or of  # `nvidia` is a folder that many share
        return f"{named[0]} {importlib.metadata.version(named[0])}" if named else package


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that the module would be in
        return False


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
    "DALI's own": Contestant(dali_folder, "nvidia.dali"),
    "DALI's own, shards": Contestant(dali_shards, "nvidia.dali"),
    "webdataset": Contestant(webdataset, "webdataset", in_workers=True),
    "torchvision's ImageFolder": Contestant(torchs.torchvision, "torchvision", in_workers=True),
    "torchcodec": Contestant(torchs.torchcodec, "torchcodec", in_workers=True),
    "torchdata's threads": Contestant(torchs.threads, "torchdata.nodes"),
    "Streaming": Contestant(streaming, "streaming", in_workers=True),
    "LitData": Contestant(litdata, "litdata", in_workers=True),
    "Grain": Contestant(grain, "grain", in_workers=True),
    "SPDL": Contestant(spdl, "spdl.io"),
    "FFCV": Contestant(ffcv, "ffcv"),
}
