"""`fastdata shard`: what its options mean."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar

import typer

from fastdata.commands import shard_options as options
from fastdata.commands.shard_options import Check, Hash, Jpeg, MissingFields
from fastdata.commands.terminal import printable
from fastdata.commands.verify import show_faults

if TYPE_CHECKING:
    from fastdata.packing.convert import Conversion
    from fastdata.packing.labels import Labels
    from fastdata.packing.plan import Division
    from fastdata.packing.write import Progress

T = TypeVar("T")


def shard(
    src: options.Source,
    dst: options.Destination,
    pattern: options.Pattern = None,
    labels: options.LabelsFrom = "folder",
    labels_key: options.LabelsKey = None,
    label_column: options.LabelColumn = None,
    label_fields: options.LabelFields = None,
    fields: options.Fields = None,
    missing_fields: options.OfMissing = MissingFields.ERROR,
    follow_links: options.FollowLinks = False,
    name: options.Name = None,
    shards: options.Number = None,
    samples_per_shard: options.SampleLimit = None,
    shard_size: options.SizeLimit = None,
    split: options.Split = None,
    shuffle: options.Shuffle = False,
    seed: options.Seed = 0,
    jobs: options.Jobs = None,
    overwrite: options.Overwrite = False,
    check: options.CheckImages = None,
    verify: options.Verify = False,
    hash: options.HashBy = Hash.XXH3_128,
    jpeg: options.JpegAs = Jpeg.KEEP,
    max_side: options.MaxSide = None,
    quality: options.Quality = None,
) -> None:
    """Pack a folder of images into tar shards in WebDataset layout.

    Class folders:            fastdata shard photos shards

    Captions beside images:   fastdata shard photos shards --labels none --fields txt

    A table, file,label,…:    fastdata shard photos shards --labels labels.csv --label-fields score
    """
    from fastdata.packing.context import begin_early

    if jobs != 1:
        begin_early()
    from fastdata.commands import shard_report as report
    from fastdata.packing.beside import extensions_beside
    from fastdata.packing.collect import collect
    from fastdata.packing.pack import pack
    from fastdata.packing.plan import parse_split

    if name is not None and split is not None:
        raise typer.BadParameter("--split names the datasets; leave --name out")
    parts = _parsed(parse_split, split if split is not None else f"{name or 'train'}=1", "--split")
    division = _division(shards, samples_per_shard, shard_size)
    images = _conversion(jpeg, max_side, quality)
    table = _labels(labels, labels_key, label_column, _listed(label_fields))
    source = collect(src, pattern, table, _listed(fields), missing_fields.value, follow_links=follow_links)
    beside = extensions_beside(source.scan)
    report.hint_at_parts(src, dst, source.scan.classes if table == "folder" else [])
    report.hint_at_masks(beside.images, len(source.scan))
    report.hint_at_places(source, images)
    packed = partial(pack, source, dst, parts, division, shuffle=shuffle, seed=seed, jpeg=images, jobs=jobs)
    checked = None if check is None else check is Check.DECODE
    with _termination(), _told(), _progress(len(source.scan)) as progress:
        made = packed(check=checked, hash=hash.value, overwrite=overwrite, progress=progress)
    for manifest in made:
        typer.echo(report.summary(dst, manifest, labelled=bool((source.scan.targets >= 0).any())))
    report.hint_at_large_samples(division, made)
    report.tell_what_is_missing(source, beside.others)
    if verify:
        for manifest in made:
            show_faults(str(dst / f"{manifest.name}.json"), decode=False, jobs=jobs)


def _listed(text: str | None) -> list[str]:
    """The names in 'a,b'."""
    return [] if text is None else [name.strip() for name in text.split(",")]


def _labels(labels: str, key: str | None, column: str | None, fields: list[str]) -> "Literal['folder'] | Labels | None":
    """What --labels and its companions say."""
    from fastdata.packing.labels import Labels

    if labels not in ("folder", "none"):
        if not Path(labels).expanduser().exists():
            problem = f"{labels!r} is neither 'folder' nor 'none', and there is no such table"
            raise typer.BadParameter(problem, param_hint="--labels")
        return Labels(labels, key, column, fields)
    if key is not None or column is not None or fields:
        raise typer.BadParameter("--labels-key, --label-column and --label-fields belong to --labels TABLE")
    return "folder" if labels == "folder" else None


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


class _Told(logging.Handler):
    """What packing tells, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        warning = "warning: " if record.levelno >= logging.WARNING else ""
        typer.echo(printable(f"{warning}{record.getMessage()}"), err=True)


@contextmanager
def _told() -> Iterator[None]:
    """Shows what packing tells about a run that it goes on with, or leaves to be gone on with."""
    log, handler = logging.getLogger("fastdata.packing"), _Told()
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


@contextmanager
def _progress(files: int) -> Iterator["Progress"]:
    """A progress bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("files  {task.fields[speed]:.0f} MB/s"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=files, speed=0.0)
        read = 0

        def advance(files: int, size: int) -> None:
            nonlocal read
            read += size
            bar.update(task, advance=files, speed=read / 1e6 / (bar.tasks[task].elapsed or 1.0))

        yield advance


def _ignore(files: int, size: int) -> None:
    """Stands for a bar that nobody would see."""
