"""The options of `fastdata shard`, in the groups in which --help shows them, and what they mean."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

if TYPE_CHECKING:
    from fastdata.packing.convert import Conversion
    from fastdata.packing.engines import Engine
    from fastdata.packing.labels import Labels
    from fastdata.packing.parts import Part, PartDone
    from fastdata.packing.plan import Division
    from fastdata.packing.recipe import Recipe
    from fastdata.packing.source import Source
    from fastdata.packing.write import Progress
    from fastdata.sources.manifest import Manifest

T = TypeVar("T")

_SAMPLES, _SHARDS, _IMAGES, _RUN = "What is packed", "Shards", "Images", "How it is packed"


class Jpeg(StrEnum):
    """The names of the conversions in `packing/convert.py`."""

    KEEP = "keep"
    CROP_READY = "crop-ready"
    ENCODE = "encode"


class Check(StrEnum):
    """Whether images are read to their ends."""

    DECODE = "decode"
    NONE = "none"


class MissingFields(StrEnum):
    """What becomes of an image without a field or a row that was asked for."""

    ERROR = "error"
    ALLOW = "allow"


class OnError(StrEnum):
    """What becomes of a file that can't be packed."""

    RAISE = "raise"
    SKIP = "skip"


class EngineName(StrEnum):
    """What writes the shards."""

    PROCESSES = "processes"
    DASK = "dask"
    RAY = "ray"


def _option(group: str, help: str, *names: str, **how: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=group, **how)


def _folder(text: str) -> Path:
    from fastdata.sources.urls import local_folder

    try:
        return local_folder(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _parsed(parse: Callable[[str], T], text: str, option: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _listed(text: str | None) -> list[str]:
    """The names in 'a,b'."""
    return [] if text is None else [name.strip() for name in text.split(",")]


SourceFolder = Annotated[
    Path,
    typer.Argument(help="Folder of class folders; with other --labels, of any images.", parser=_folder, metavar="SRC"),
]
Destination = Annotated[
    Path, typer.Argument(help="Folder for the shards; made if need be.", parser=_folder, metavar="DST")
]


@dataclass(frozen=True)
class SampleOptions:
    """What is packed."""

    pattern: Annotated[
        str | None, _option(_SAMPLES, "Pack the files below SRC that match, as '**/*.jpg'; hidden ones don't.")
    ] = None
    labels: Annotated[
        str,
        _option(
            _SAMPLES,
            "Classes: the folders directly below SRC, none at all, or a table (CSV, TSV, JSONL, Parquet) with a row "
            "for each image.",
            metavar="folder|none|TABLE",
        ),
    ] = "folder"
    labels_key: Annotated[
        str | None,
        _option(
            _SAMPLES,
            "The table's column with the images' paths below SRC, with or without extension (the first column).",
            metavar="COLUMN",
        ),
    ] = None
    label_column: Annotated[
        str | None,
        _option(
            _SAMPLES,
            "The table's column with class indexes, or with names, which are numbered as sorted (label).",
            metavar="COLUMN",
        ),
    ] = None
    label_fields: Annotated[
        str | None,
        _option(_SAMPLES, "More columns, as score,caption: they become each sample's json.", metavar="COLUMNS"),
    ] = None
    fields: Annotated[
        str | None,
        _option(
            _SAMPLES,
            "Pack what lies beside the images, too, as txt,json,seg.png: 1.txt, 1.json and 1.seg.png go with 1.jpg.",
            metavar="EXTENSIONS",
        ),
    ] = None
    missing_fields: Annotated[
        MissingFields, _option(_SAMPLES, "An image without one of the fields, or without a row in the table.")
    ] = MissingFields.ERROR
    follow_links: Annotated[
        bool, _option(_SAMPLES, "Pack what links take from outside of SRC, too.", "--follow-links")
    ] = False

    def source(self, src: Path) -> "Source":
        """What they mean by SRC."""
        from fastdata.packing.collect import collect

        fields, missing = _listed(self.fields), self.missing_fields.value
        return collect(src, self.pattern, self.table(), fields, missing, follow_links=self.follow_links)

    def table(self) -> "Literal['folder'] | Labels | None":
        """What --labels and its companions say."""
        from fastdata.packing.labels import Labels

        fields = _listed(self.label_fields)
        if self.labels not in ("folder", "none"):
            if not Path(self.labels).expanduser().exists():
                problem = f"{self.labels!r} is neither 'folder' nor 'none', and there is no such table"
                raise typer.BadParameter(problem, param_hint="--labels")
            return Labels(self.labels, self.labels_key, self.label_column, fields)
        if self.labels_key is not None or self.label_column is not None or fields:
            raise typer.BadParameter("--labels-key, --label-column and --label-fields belong to --labels TABLE")
        return "folder" if self.labels == "folder" else None


@dataclass(frozen=True)
class ShardOptions:
    """Which shards are made."""

    name: Annotated[str | None, _option(_SHARDS, "The dataset's name: NAME-000000.tar …, NAME.json (train).")] = None
    shards: Annotated[int | None, _option(_SHARDS, "Number of shards: ranks × workers, say.", min=1)] = None
    samples_per_shard: Annotated[int | None, _option(_SHARDS, "At most so many samples in a shard.", min=1)] = None
    shard_size: Annotated[
        str | None, _option(_SHARDS, "At most so many bytes in a shard, counted before --jpeg: 500MB, 1GiB (1GB).")
    ] = None
    split: Annotated[str | None, _option(_SHARDS, "A dataset for each part, as train=0.9,val=0.1.")] = None
    shuffle: Annotated[bool, _option(_SHARDS, "Shuffle, for readers that only shuffle in a buffer.")] = False
    seed: Annotated[int, _option(_SHARDS, "Of --split and --shuffle.", min=0)] = 0

    def division(self) -> "Division":
        """How samples are shared out."""
        from fastdata.packing.plan import SamplesPerShard, ShardCount, ShardSize, parse_size

        given = (self.shards, self.samples_per_shard, self.shard_size)
        if sum(each is not None for each in given) > 1:
            raise typer.BadParameter("give one of --shards, --samples-per-shard and --shard-size")
        if self.shards is not None:
            return ShardCount(self.shards)
        if self.samples_per_shard is not None:
            return SamplesPerShard(self.samples_per_shard)
        return ShardSize(_parsed(parse_size, "1GB" if self.shard_size is None else self.shard_size, "--shard-size"))

    def recipe(self, images: "ImageOptions") -> "Recipe":
        """All that determines the bytes besides the samples."""
        from fastdata.packing.check import can_check
        from fastdata.packing.plan import parse_split
        from fastdata.packing.recipe import Recipe

        if self.name is not None and self.split is not None:
            raise typer.BadParameter("--split names the datasets; leave --name out")
        split = self.split if self.split is not None else f"{self.name or 'train'}=1"
        fractions = _parsed(parse_split, split, "--split")
        check = can_check() if images.check is None else images.check is Check.DECODE
        on_error = images.on_error.value
        return Recipe(fractions, self.division(), self.shuffle, self.seed, images.conversion(), check, on_error)


@dataclass(frozen=True)
class ImageOptions:
    """What becomes of images."""

    check: Annotated[
        Check | None,
        _option(
            _IMAGES, "Read each JPEG to its end, so that training need not; the default where the kernel is compiled."
        ),
    ] = None
    jpeg: Annotated[Jpeg, _option(_IMAGES, "Images as they are, with restart markers, or encoded anew.")] = Jpeg.KEEP
    max_side: Annotated[int | None, _option(_IMAGES, "With encode: longer side in pixels (512).", min=1)] = None
    quality: Annotated[int | None, _option(_IMAGES, "With encode: JPEG quality (92).", min=1, max=100)] = None
    on_error: Annotated[
        OnError,
        _option(
            _IMAGES,
            "A file that can't be read ends the run, or is left out and named in NAME.rejects.jsonl; so is then what "
            "is no image, where images are checked.",
        ),
    ] = OnError.RAISE

    def conversion(self) -> "Conversion":
        """What images are converted to."""
        from fastdata.packing.convert import CropReady, Encode, Keep

        if self.jpeg is not Jpeg.ENCODE and (self.max_side is not None or self.quality is not None):
            raise typer.BadParameter("--max-side and --quality belong to --jpeg encode")
        match self.jpeg:
            case Jpeg.KEEP:
                return Keep()
            case Jpeg.CROP_READY:
                return CropReady()
            case Jpeg.ENCODE:
                given = {"max_side": self.max_side, "quality": self.quality}
                return Encode(**{option: value for option, value in given.items() if value is not None})


@dataclass(frozen=True)
class RunOptions:
    """Who packs, and what that does with what is there."""

    jobs: Annotated[int | None, _option(_RUN, "Processes (one for each CPU).", min=1)] = None
    engine: Annotated[
        EngineName, _option(_RUN, "Processes of this machine, or a cluster that sees SRC and DST by the same paths.")
    ] = EngineName.PROCESSES
    address: Annotated[str | None, _option(_RUN, "Of the cluster: tcp://… of Dask's scheduler, or ray's, as auto.")] = (
        None
    )
    part: Annotated[
        str | None,
        _option(
            _RUN,
            "Write one part of the shards: of 0/64 to 63/64, say, anywhere, at the same time or again. Then --commit.",
            metavar="NUMBER/COUNT",
        ),
    ] = None
    commit: Annotated[
        bool, _option(_RUN, "Put together what all parts have written; with their other options.", "--commit")
    ] = False
    overwrite: Annotated[bool, _option(_RUN, "Replace the datasets of these names.", "--overwrite")] = False
    verify: Annotated[bool, _option(_RUN, "Read the shards again, as fastdata verify does.", "--verify")] = False

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

        return None if self.part is None else _parsed(parse_part, self.part, "--part")

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
