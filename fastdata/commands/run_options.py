"""The options of `fastdata shard` that say who packs, and where."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastdata.commands.grouped import option, parsed
from fastdata.commands.sample_options import folder

if TYPE_CHECKING:
    from fastdata.packing.engines import Engine
    from fastdata.packing.parts import Part, PartDone
    from fastdata.packing.recipe import Recipe
    from fastdata.packing.source import Source
    from fastdata.packing.write import Progress
    from fastdata.sources.manifest import Manifest

_RUN = "How it is packed"


class EngineName(StrEnum):
    """What writes the shards."""

    PROCESSES = "processes"
    DASK = "dask"
    RAY = "ray"


Destination = Annotated[
    Path, typer.Argument(help="Folder for the shards; made if need be.", parser=folder, metavar="DST")
]


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
    verify: Annotated[bool, option(_RUN, "Read the shards again, as fastdata verify does.", "--verify")] = False

    def pack(self, source: "Source", dst: Path, recipe: "Recipe", progress: "Progress") -> "PartDone | list[Manifest]":
        """Packs a part, puts all parts together, or does all at once."""
        from fastdata.packing.pack import pack_by
        from fastdata.packing.parts import commit, pack_part

        part, engine = self.which_part(), self.writer()
        if part is not None:
            return pack_part(source, dst, recipe, part, engine, overwrite=self.overwrite, progress=progress)
        if self.commit:
            return commit(source, dst, recipe, overwrite=self.overwrite)
        return pack_by(source, dst, recipe, engine, overwrite=self.overwrite, progress=progress)

    def check(self) -> None:
        """Raises BadParameter for options that don't go together, before anything is looked at."""
        if self.part is not None and (self.commit or self.verify):
            raise typer.BadParameter("--commit and --verify come when all parts are written, without --part")
        if self.engine is EngineName.PROCESSES and self.address is not None:
            raise typer.BadParameter("--address belongs to --engine dask or ray")
        if self.engine is not EngineName.PROCESSES and self.jobs is not None:
            raise typer.BadParameter("--jobs belongs to --engine processes: a cluster has its own workers")
        self.which_part()

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
