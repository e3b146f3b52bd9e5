"""The command line: parse, call, show. What takes long to import is imported by the command that needs it."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from fastdata.commands.index import _wids_index, _write_dali_index

if TYPE_CHECKING:
    from fastdata.packing.convert import Conversion
    from fastdata.packing.plan import Division
    from fastdata.packing.write import Progress
    from fastdata.sources.manifest import Manifest

T = TypeVar("T")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Labels(StrEnum):
    """Where targets come from."""

    FOLDER = "folder"
    NONE = "none"


class Jpeg(StrEnum):
    """The names of the conversions in `conversion.py`."""

    KEEP = "keep"
    CROP_READY = "crop-ready"
    ENCODE = "encode"


class IndexFormat(StrEnum):
    """What `fastdata index` writes."""

    NATIVE = "native"
    DALI = "dali"
    WIDS = "wids"


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs a command line (default: the process's) and exits: 0, 1 for what went wrong, 2 for a wrong usage."""
    try:
        app(arguments, prog_name="fastdata")
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        typer.echo(f"fastdata: {error}", err=True)
        sys.exit(1)
    sys.exit(0)


def _version(wanted: bool) -> None:
    if wanted:
        from fastdata import __version__

        typer.echo(f"fastdata {__version__}")
        raise typer.Exit


@app.callback()
def fastdata(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Folders and tar shards of images into training batches."""


@app.command()
def shard(
    src: Annotated[Path, typer.Argument(help="Folder of class folders; with --labels none, of any images.")],
    dst: Annotated[Path, typer.Argument(help="Folder for the shards; made if need be.")],
    name: Annotated[str | None, typer.Option(help="The dataset's name: NAME-000000.tar …, NAME.json (train).")] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="Number of shards: ranks × workers, say.")] = None,
    samples_per_shard: Annotated[int | None, typer.Option(min=1, help="At most so many samples in a shard.")] = None,
    shard_size: Annotated[
        str | None, typer.Option(help="At most so many bytes in a shard, counted before --jpeg: 500MB, 1GiB (1GB).")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Pack the files below SRC that match, as '**/*.jpg'; hidden ones don't.")
    ] = None,
    labels: Annotated[
        Labels, typer.Option(help="Targets: the folders directly below SRC, or none at all.")
    ] = Labels.FOLDER,
    split: Annotated[str | None, typer.Option(help="A dataset for each part, as train=0.9,val=0.1.")] = None,
    shuffle: Annotated[bool, typer.Option(help="Shuffle, for readers that only shuffle in a buffer.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of --split and --shuffle.")] = 0,
    jpeg: Annotated[Jpeg, typer.Option(help="Images as they are, with restart markers, or encoded anew.")] = Jpeg.KEEP,
    max_side: Annotated[int | None, typer.Option(min=1, help="With encode: longer side in pixels (512).")] = None,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="With encode: JPEG quality (92).")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes (one for each CPU).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the datasets of these names.")] = False,
) -> None:
    """Pack a folder of images into tar shards in WebDataset layout."""
    from fastdata.packing.pack import pack
    from fastdata.packing.plan import parse_split
    from fastdata.sources.folder import scan_classes, scan_pattern

    if name is not None and split is not None:
        raise typer.BadParameter("--split names the datasets; leave --name out")
    parts = _parsed(parse_split, split if split is not None else f"{name or 'train'}=1", "--split")
    division = _division(shards, samples_per_shard, shard_size)
    conversion = _conversion(jpeg, max_side, quality)
    scan = scan_classes(src, pattern) if labels is Labels.FOLDER else scan_pattern(src, pattern)
    with _termination(), _progress(len(scan)) as progress:
        made = pack(
            scan,
            dst,
            parts,
            division,
            shuffle=shuffle,
            seed=seed,
            jpeg=conversion,
            jobs=jobs,
            overwrite=overwrite,
            progress=progress,
        )
    for manifest in made:
        typer.echo(_summary(dst, manifest))
    if scan.left_out:
        typer.echo("left out: " + ", ".join(f"{count} {what}" for what, count in sorted(scan.left_out.items())))


@app.command()
def info(
    dst: Annotated[str, typer.Argument(help="A dataset's json, a folder of datasets, or shards (path or glob).")],
    look_at: Annotated[int, typer.Option(min=0, help="Read the headers of so many images.")] = 1000,
) -> None:
    """Show what is there: shards, samples, bytes, classes, image sizes."""
    from fastdata.commands.info import describe, show

    for described in describe(dst, look_at):
        show(described)


@app.command()
def index(
    shards: Annotated[list[str], typer.Argument(help="Shards: paths, globs, brace notation.")],
    format: Annotated[
        IndexFormat,
        typer.Option(help="native, dali: a file beside each shard; wids: one for all, to standard output."),
    ] = IndexFormat.NATIVE,
) -> None:
    """Write the shards' indexes, for fastdata or for other readers."""
    from fastdata.sources.cache import local
    from fastdata.sources.index import store_index
    from fastdata.sources.urls import expand

    paths = [Path(local(url)) for url in expand(shards)]
    match format:
        case IndexFormat.NATIVE:
            for path in paths:
                typer.echo(f"{path}: {store_index(path)} samples")
        case IndexFormat.DALI:
            for path in paths:
                typer.echo(_write_dali_index(path))
        case IndexFormat.WIDS:
            typer.echo(_wids_index(paths))


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(help="Folder for what it makes.")] = Path("fastdata-demo"),
    images: Annotated[int, typer.Option(min=1, help="How many photos.")] = 200,
) -> None:
    """Make some photos, pack them, load them, and show how fast that is."""
    from fastdata.commands.demo import run_demo, show

    show(run_demo(directory, images, typer.echo))


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
    """Has SIGTERM end the program as Ctrl-C does, with everything stopped and cleared away."""

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
    made, size = manifest.made, sum(shard.filesize for shard in manifest.shards)
    text = f"{directory / manifest.name}.json: {manifest.nsamples} samples, {len(manifest.classes)} classes"
    text += f"; shards: {len(manifest.shards)}, {size / 1e6:.1f} MB"
    if made.jpeg == "keep":
        return text
    text += f"\n{made.jpeg}: {made.changed} of {manifest.nsamples} images changed, from {made.source_bytes / 1e6:.1f}"
    text += f" to {made.image_bytes / 1e6:.1f} MB together"
    return text + (f"; {made.refused} that can't be are kept as they were" if made.refused else "")


if __name__ == "__main__":
    main()
