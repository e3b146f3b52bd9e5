"""`fastdata shard`: packs, and shows how it goes."""

import logging
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from fastdata.commands.doubt import ask
from fastdata.commands.run_options import Destination, RunOptions
from fastdata.commands.sample_options import SampleOptions, SourceArgument, kind_of
from fastdata.commands.shard_options import ImageOptions, ShardOptions
from fastdata.commands.terminal import echo, printable
from fastdata.commands.termination import termination
from fastdata.commands.verify import show_faults

if TYPE_CHECKING:
    from fastdata.packing.write import Progress


def shard(
    src: SourceArgument,
    dst: Destination,
    samples: SampleOptions,
    shards: ShardOptions,
    images: ImageOptions,
    run: RunOptions,
) -> None:
    """Pack images into tar shards in WebDataset layout.

    \b
    Class folders:
        fastdata shard photos shards
    Captions beside images:
        fastdata shard photos shards --labels none --fields txt
    A table, file,label,…:
        fastdata shard photos shards --labels labels.csv --label-fields score
    What a table names:
        fastdata shard urls.parquet shards --image-column file --root photos
    On object storage:
        fastdata shard s3://bucket/photos s3://bucket/shards
    Images in Parquet:
        fastdata shard 'data/train-*.parquet' shards --image-column image
    Other shards:
        fastdata shard 'old-{000..009}.tar' shards --keys keys.txt
    In 64 jobs, then once:
        fastdata shard photos shards --part 3/64
        fastdata shard photos shards --commit
    """
    from fastdata.packing.workers.context import begin_early

    if run.needs_processes():
        begin_early()
    from fastdata.commands import shard_report as report
    from fastdata.packing.origins.beside import Beside, extensions_beside

    dst = run.destination(dst)
    recipe = shards.recipe(images)
    with termination():  # copies of what is not here are made for this
        source = samples.source(src)
    ask([*shards.doubts(len(source.scan)), *images.doubts()], run.yes)
    beside = extensions_beside(source.scan) if source.stored is None else Beside(Counter(), Counter())
    if kind_of(src) == "folder" and samples.labels == "folder":
        report.hint_at_parts(src.rstrip("/"), dst, source.scan.classes)
    report.hint_at_masks(beside.images, len(source.scan))
    report.hint_at_places(source, recipe.jpeg)
    with termination(), _told(), _progress(len(source.scan)) as progress:
        made = run.pack(source, dst, recipe, progress)
    if not isinstance(made, list):
        echo(report.of_part(dst, made))
        return
    for manifest in made:
        labelled = bool((source.scan.targets >= 0).any()) or "cls" in source.fields
        echo(report.summary(dst, manifest, labelled))
    report.hint_at_large_samples(recipe.division, made)
    report.tell_what_is_missing(source, beside.others)
    if run.verify:
        bad = [show_faults(f"{dst}/{each.name}.json", decode=False, jobs=run.jobs) for each in made]
        if any(bad):
            raise click.exceptions.Exit(1)


class _Told(logging.Handler):
    """What packing tells, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        warning = "warning: " if record.levelno >= logging.WARNING else ""
        echo(printable(f"{warning}{record.getMessage()}"), err=True)


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
