"""The options of `fastdata shard` that say who packs, and where."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import click

from fastdata.commands.declared import argument, option
from fastdata.commands.given import parsed
from fastdata.commands.sample_options import folder

if TYPE_CHECKING:
    from fastdata.packing.engines import Engine
    from fastdata.packing.origins.source import Source
    from fastdata.packing.parts import Part, PartDone
    from fastdata.packing.recipe import Recipe
    from fastdata.packing.write import Progress
    from fastdata.sources.manifest import Manifest

_RUN = "How it is packed"


class EngineName(StrEnum):
    """What writes the shards."""

    PROCESSES = "processes"
    DASK = "dask"
    RAY = "ray"


Destination = Annotated[str, argument("Folder for the shards; made if need be. Or a URL, as s3://bucket/out.", "DST")]


@dataclass(frozen=True)
class RunOptions:
    """Who packs, and what that does with what is there."""

    jobs: Annotated[int | None, option(_RUN, "Processes (one for each CPU).", min=1)] = None
    engine: Annotated[
        EngineName, option(_RUN, "Processes of this machine, or a cluster that sees SRC and DST by the same paths.")
    ] = EngineName.PROCESSES
    address: Annotated[str | None, option(_RUN, "Of the cluster: tcp://… of Dask's scheduler, or ray's, as auto.")] = (
        None
    )
    part: Annotated[
        str | None,
        option(
            _RUN,
            "Write one part of the shards: of 0/64 to 63/64, say, anywhere, at the same time or again. Then --commit.",
            metavar="NUMBER/COUNT",
        ),
    ] = None
    commit: Annotated[
        bool, option(_RUN, "Put together what all parts have written; with their other options.", "--commit")
    ] = False
    overwrite: Annotated[bool, option(_RUN, "Replace the datasets of these names.", "--overwrite")] = False
    yes: Annotated[bool, option(_RUN, "Go on where an option looks like a mistake.", "--yes")] = False
    verify: Annotated[bool, option(_RUN, "Read the shards again, as fastdata verify does.", "--verify")] = False

    def pack(self, source: "Source", dst: str, recipe: "Recipe", progress: "Progress") -> "PartDone | list[Manifest]":
        """Packs a part, puts all parts together, or does all at once."""
        from fastdata.packing.pack import pack_by
        from fastdata.packing.parts import commit, pack_part

        part, engine = self.which_part(), self.writer()
        if part is not None:
            return pack_part(source, dst, recipe, part, engine, overwrite=self.overwrite, progress=progress)
        if self.commit:
            return commit(source, dst, recipe, overwrite=self.overwrite)
        return pack_by(source, dst, recipe, engine, overwrite=self.overwrite, progress=progress)

    def destination(self, dst: str) -> str:
        """DST, a path or a URL. BadParameter for options that don't go with it, or together."""
        from fastdata.sources.urls import is_remote

        if is_remote(dst):
            _known(dst)
            if self.part is not None or self.commit or self.overwrite or self.verify:
                raise click.BadParameter("--part, --commit, --overwrite and --verify are for folders, and DST is a URL")
        else:
            dst = str(folder(dst))
        if self.part is not None and (self.commit or self.verify):
            raise click.BadParameter("--commit and --verify come when all parts are written, without --part")
        if self.engine is EngineName.PROCESSES and self.address is not None:
            raise click.BadParameter("--address belongs to --engine dask or ray")
        if self.engine is not EngineName.PROCESSES and self.jobs is not None:
            raise click.BadParameter("--jobs belongs to --engine processes: a cluster has its own workers")
        self.which_part()
        return dst

    def needs_processes(self) -> bool:
        """Whether processes of this machine may have to pack."""
        return self.engine is EngineName.PROCESSES and self.jobs != 1 and not self.commit

    def which_part(self) -> "Part | None":
        """The part to write; None without --part."""
        from fastdata.packing.parts import parse_part

        return None if self.part is None else parsed(parse_part, self.part, "--part")

    def writer(self) -> "Engine":
        """The engine that writes shards."""
        from fastdata.packing.engines import Dask, Processes, Ray

        match self.engine:
            case EngineName.PROCESSES:
                return Processes(self.jobs)
            case EngineName.DASK:
                return Dask(self.address)
            case EngineName.RAY:
                return Ray(self.address)


def _known(url: str) -> None:
    """BadParameter for a URL that can't be written to."""
    from fastdata.sources.stores.storage import storage_of

    try:
        storage_of(url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r}: nothing is written over HTTP: give a folder, or a URL as s3://bucket/out")
