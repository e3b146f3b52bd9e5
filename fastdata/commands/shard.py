"""`fastdata shard`: its options, what they mean, and what it tells."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from fastdata.commands.terminal import printable

if TYPE_CHECKING:
    from fastdata.packing.convert import Conversion
    from fastdata.packing.plan import Division
    from fastdata.packing.write import Progress
    from fastdata.sources.manifest import Manifest

T = TypeVar("T")

_PARTS = frozenset(["train", "training", "val", "valid", "validation", "test"])


class Labels(StrEnum):
    """Where targets come from."""

    FOLDER = "folder"
    NONE = "none"


class Jpeg(StrEnum):
    """The names of the conversions in `packing/convert.py`."""

    KEEP = "keep"
    CROP_READY = "crop-ready"
    ENCODE = "encode"


Source = Annotated[Path, typer.Argument(help="Folder of class folders; with --labels none, of any images.")]
Destination = Annotated[Path, typer.Argument(help="Folder for the shards; made if need be.")]
Name = Annotated[str | None, typer.Option(help="The dataset's name: NAME-000000.tar …, NAME.json (train).")]
Number = Annotated[int | None, typer.Option(min=1, help="Number of shards: ranks × workers, say.")]
SampleLimit = Annotated[int | None, typer.Option(min=1, help="At most so many samples in a shard.")]
SizeLimit = Annotated[
    str | None, typer.Option(help="At most so many bytes in a shard, counted before --jpeg: 500MB, 1GiB (1GB).")
]
Pattern = Annotated[
    str | None, typer.Option(help="Pack the files below SRC that match, as '**/*.jpg'; hidden ones don't.")
]
LabelsFrom = Annotated[Labels, typer.Option(help="Targets: the folders directly below SRC, or none at all.")]
FollowLinks = Annotated[bool, typer.Option("--follow-links", help="Pack what links take from outside of SRC, too.")]
Split = Annotated[str | None, typer.Option(help="A dataset for each part, as train=0.9,val=0.1.")]
Shuffle = Annotated[bool, typer.Option(help="Shuffle, for readers that only shuffle in a buffer.")]
Seed = Annotated[int, typer.Option(min=0, help="Of --split and --shuffle.")]
JpegAs = Annotated[Jpeg, typer.Option(help="Images as they are, with restart markers, or encoded anew.")]
MaxSide = Annotated[int | None, typer.Option(min=1, help="With encode: longer side in pixels (512).")]
Quality = Annotated[int | None, typer.Option(min=1, max=100, help="With encode: JPEG quality (92).")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes (one for each CPU).")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the datasets of these names.")]


def shard(
    src: Source,
    dst: Destination,
    name: Name = None,
    shards: Number = None,
    samples_per_shard: SampleLimit = None,
    shard_size: SizeLimit = None,
    pattern: Pattern = None,
    labels: LabelsFrom = Labels.FOLDER,
    follow_links: FollowLinks = False,
    split: Split = None,
    shuffle: Shuffle = False,
    seed: Seed = 0,
    jpeg: JpegAs = Jpeg.KEEP,
    max_side: MaxSide = None,
    quality: Quality = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
) -> None:
    """Pack a folder of images into tar shards in WebDataset layout."""
    from fastdata.packing.pack import pack
    from fastdata.packing.plan import parse_split
    from fastdata.sources.folder import scan_classes, scan_pattern

    if name is not None and split is not None:
        raise typer.BadParameter("--split names the datasets; leave --name out")
    parts = _parsed(parse_split, split if split is not None else f"{name or 'train'}=1", "--split")
    division = _division(shards, samples_per_shard, shard_size)
    images = _conversion(jpeg, max_side, quality)
    scan_samples = scan_classes if labels is Labels.FOLDER else scan_pattern
    scan = scan_samples(src, pattern, follow_links=follow_links)
    _hint_at_parts(src, dst, scan.classes)
    packed = partial(pack, scan, dst, parts, division, shuffle=shuffle, seed=seed, jpeg=images, jobs=jobs)
    with _termination(), _progress(len(scan)) as progress:
        made = packed(overwrite=overwrite, progress=progress)
    for manifest in made:
        typer.echo(_summary(dst, manifest))
    _hint_at_large_samples(division, made)
    if scan.left_out:
        left_out = ", ".join(f"{count} {what}" for what, count in sorted(scan.left_out.items()))
        typer.echo(f"left out: {printable(left_out)}")


def _parsed(parse: Callable[[str], T], text: str, option: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _division(shards: int | None, samples: int | None, size: str | None) -> "Division":
    from fastdata.packing.plan import SamplesPerShard, ShardCount, ShardSize, parse_size

    if sum(given is not None for given in (shards, samples, size)) > 1:
        raise typer.BadParameter("give one of --shards, --samples-per-shard and --shard-size")
    if shards is not None:
        return ShardCount(shards)
    if samples is not None:
        return SamplesPerShard(samples)
    return ShardSize(_parsed(parse_size, "1GB" if size is None else size, "--shard-size"))


def _conversion(jpeg: Jpeg, max_side: int | None, quality: int | None) -> "Conversion":
    from fastdata.packing.convert import CropReady, Encode, Keep

    if jpeg is not Jpeg.ENCODE and (max_side is not None or quality is not None):
        raise typer.BadParameter("--max-side and --quality belong to --jpeg encode")
    match jpeg:
        case Jpeg.KEEP:
            return Keep()
        case Jpeg.CROP_READY:
            return CropReady()
        case Jpeg.ENCODE:
            given = {"max_side": max_side, "quality": quality}
            return Encode(**{option: value for option, value in given.items() if value is not None})


def _hint_at_parts(src: Path, dst: Path, classes: Sequence[str]) -> None:
    """Says what to write instead where the class folders are the parts of a data set, as train/ and val/ are."""
    if len(classes) < 2 or not {name.lower() for name in classes} <= _PARTS:
        return
    instead = "; ".join(f"fastdata shard {src / name} {dst} --name {name}" for name in classes)
    hint = f"warning: the folders {', '.join(classes)} become the classes; for a dataset of each write: {instead}"
    typer.echo(printable(hint), err=True)


def _hint_at_large_samples(division: "Division", made: Sequence["Manifest"]) -> None:
    """Says so where shards are larger than asked, since a sample is never divided."""
    from fastdata.packing.plan import ShardSize

    shards = [shard for manifest in made for shard in manifest.shards]
    if isinstance(division, ShardSize) and (over := sum(shard.filesize > division.bytes for shard in shards)):
        hint = f"warning: {over} of {len(shards)} shards have more than {division.bytes} bytes: single samples do, or"
        typer.echo(f"{hint} --jpeg made them larger; give more by --shard-size, or --shards", err=True)


@contextmanager
def _termination() -> Iterator[None]:
    """Makes SIGTERM end the program as Ctrl-C does: everything is stopped and cleared away."""

    def terminate(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(files: int) -> Iterator["Progress"]:
    """A progress bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("files  {task.fields[speed]:.0f} MB/s"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=files, speed=0.0)
        read = 0

        def advance(files: int, size: int) -> None:
            nonlocal read
            read += size
            bar.update(task, advance=files, speed=read / 1e6 / (bar.tasks[task].elapsed or 1.0))

        yield advance


def _summary(directory: Path, manifest: "Manifest") -> str:
    made, megabytes = manifest.made, manifest.filesize / 1e6
    text = printable(f"{directory / manifest.name}.json: {manifest.nsamples} samples, {len(manifest.classes)} classes")
    text += f"; shards: {len(manifest.shards)}, {megabytes:.1f} MB"
    if made.jpeg == "keep":
        return text
    text += f"\n{made.jpeg}: {made.changed} of {manifest.nsamples} images changed, from {made.source_bytes / 1e6:.1f}"
    text += f" to {made.image_bytes / 1e6:.1f} MB together"
    return text + (f"; {made.refused} that can't be are kept as they were" if made.refused else "")
