"""The command line: parse, call, show. What takes long to import is imported by the command that needs it."""

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import click

from fastdata import __version__
from fastdata.commands.declared import Commands, argument, command, option
from fastdata.commands.given import listed, numbers, parsed, said
from fastdata.commands.shard import shard
from fastdata.commands.terminal import echo, escape_what_the_terminal_lacks, printable
from fastdata.commands.termination import termination
from fastdata.commands.view_options import FieldOptions, ShownOptions, WhichOptions

_OPTIONS = "Options"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, message="fastdata %(version)s", help="Show the version and exit.")
def app() -> None:
    """Folders and tar shards of images into training batches."""


DatasetArgument = Annotated[str, argument("A folder of images, a dataset's json, or shards (path, URL, glob).")]
ShardsArgument = Annotated[str, argument("A dataset's json, a folder of datasets, or shards (path, URL, glob).")]


class IndexFormat(StrEnum):
    """What `fastdata index` writes."""

    NATIVE = "native"
    DALI = "dali"
    WIDS = "wids"


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs a command line (default: the process's) and exits as docs/commands.md says."""
    escape_what_the_terminal_lacks()
    try:
        code = app.main(arguments, "fastdata", standalone_mode=False)
    except click.ClickException as error:
        _show(error)
        sys.exit(error.exit_code)
    except click.Abort as stopped:
        if isinstance(stopped.__cause__ or stopped.__context__, KeyboardInterrupt):  # the latter's at a question
            sys.exit(130)
        echo("Aborted.", err=True)  # by a no
        sys.exit(1)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        echo(f"fastdata: {printable(said(error))}", err=True)
        sys.exit(1)
    sys.exit(code)


def _show(error: click.ClickException) -> None:
    """Tells what is wrong with a command line, without what of it the terminal would act on."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # the help
        error.show(sys.stderr)
    else:
        context = error.ctx if isinstance(error, click.UsageError) else None
        click.UsageError(printable(error.format_message()), context).show(sys.stderr)


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Adds a command."""
    app.add_command(command(function))
    return function


_command(shard)


@_command
def info(
    dst: ShardsArgument,
    look_at: Annotated[int, option(_OPTIONS, "Read the headers of so many images.", min=0)] = 1000,
    json: Annotated[bool, option(_OPTIONS, "As JSON: a list of datasets.", "--json")] = False,
) -> None:
    """Show what is there: shards, samples, bytes, classes, image sizes."""
    from fastdata.commands.as_json import as_json
    from fastdata.commands.info import describe, show

    found = describe(dst, look_at)
    if json:
        echo(as_json(found))
        return
    for described in found:
        show(described)


@_command
def index(
    shards: Annotated[list[str], argument("Shards: paths, globs, brace notation; of wids URLs, too.")],
    format: Annotated[
        IndexFormat,
        option(_OPTIONS, "native, dali: a file beside each shard; wids: one for all, to standard output."),
    ] = IndexFormat.NATIVE,
) -> None:
    """Write the shards' indexes, for fastdata or for other readers."""
    from fastdata.commands.index import local_shards, wids_index, write_dali_index
    from fastdata.sources.tars.index import store_index

    match format:
        case IndexFormat.NATIVE:
            for path in local_shards(shards):
                echo(f"{printable(path)}: {store_index(path)} samples")
        case IndexFormat.DALI:
            for path in local_shards(shards):
                echo(printable(write_dali_index(path)))
        case IndexFormat.WIDS:
            echo(wids_index(shards))


@_command
def verify(
    dst: ShardsArgument,
    decode: Annotated[bool, option(_OPTIONS, "Decode each image, too.", "--decode")] = False,
    jobs: Annotated[int | None, option(_OPTIONS, "Threads (one for each CPU).", min=1)] = None,
    json: Annotated[bool, option(_OPTIONS, "As JSON, when all are read.", "--json")] = False,
) -> None:
    """Read shards to their ends: are they what their json says, whole, and what their indexes say?"""
    from fastdata.commands.verify import show_faults

    if show_faults(dst, decode=decode, jobs=jobs, json=json):
        raise click.exceptions.Exit(1)


@_command
def view(
    src: DatasetArgument,
    shown: ShownOptions,
    fields: FieldOptions,
    which: WhichOptions,
) -> None:
    """Draw a contact sheet of samples as training sees them, or of a past batch again."""
    from fastdata.commands.view import view as sheet_of
    from fastdata.commands.view_picture import check_picture, show_picture

    parsed(check_picture, shown.out, "--out")
    run, at = which.run(), which.at(shown)
    sheet = sheet_of(
        src,
        shown.transform.value,
        run,
        at,
        shown.across(),
        classes=which.names(),
        fields=fields.fields(),
        compare=shown.compare,
        pattern=which.pattern,
    )
    show_picture(sheet, shown.out, shown.json)
    if sheet.unshown:
        echo(printable(f"fastdata: {sheet.unshown}"), err=True)
    if sheet.is_grey:
        raise click.exceptions.Exit(1)


@_command
def report(
    src: DatasetArgument,
    out: Annotated[Path, option(_OPTIONS, "The page; what is there is replaced.")] = Path("report.html"),
    samples: Annotated[int, option(_OPTIONS, "Read and decode so many, evenly spread; 0: all.", min=0)] = 5000,
    json: Annotated[bool, option(_OPTIONS, "As JSON on standard output, instead of the page.", "--json")] = False,
) -> None:
    """Make a page on a dataset: pictures, balance, sizes, duplicates, what is unreadable."""
    from fastdata.commands.report.write import report_json, write_report

    if json:
        echo(report_json(src, samples))
        return
    found = write_report(src, out, samples)
    echo(printable(f"{out}: {found.samples:,} samples, {found.looked_at:,} of them looked at"))


@_command
def bench(
    src: DatasetArgument,
    threads: Annotated[str, option(_OPTIONS, "Of the Loader, as 1,2,4; without it 1, 2, 4, … and all CPUs.")] = "",
    decoder: Annotated[str, option(_OPTIONS, "Of the Loader, as cpu,dali.")] = "cpu",
    against: Annotated[str, option(_OPTIONS, "Others on some of the photos: torch, webdataset, dali; none.")] = "torch",
    seconds: Annotated[float, option(_OPTIONS, "For each of three turns of each way.", min=0.1)] = 1.0,
    model_rate: Annotated[float | None, option(_OPTIONS, "Images/s that a model takes: is it fed?", min=0)] = None,
    png: Annotated[Path | None, option(_OPTIONS, "A chart, by matplotlib.")] = None,
    json: Annotated[bool, option(_OPTIONS, "As JSON.", "--json")] = False,
) -> None:
    """Measure how fast this machine loads this data, what limits it, and what would help. Takes a minute."""
    from fastdata.commands.as_json import as_json
    from fastdata.commands.bench.measuring import bench as measured
    from fastdata.commands.bench.measuring import check_decoders
    from fastdata.commands.bench.peers import check_peers
    from fastdata.commands.bench.show import check_chart, show, write_chart
    from fastdata.commands.bench.verdict import verdict
    from fastdata.commands.progress import interruptible

    counts = parsed(numbers, threads, "--threads")
    others, decoders = [name for name in listed(against) if name not in ("", "none")], listed(decoder)
    parsed(check_peers, others, "--against")
    parsed(check_decoders, decoders, "--decoder")
    if png is not None:
        parsed(check_chart, png, "--png")
    unfinished = "nothing is reported, since speeds are compared when all ways have had their turns"
    with termination(), interruptible(lambda: unfinished):
        report = measured(src, counts, others, seconds, lambda text: echo(text, err=True), decoders)
    said = verdict(report, model_rate)
    if png is not None:
        write_chart(report, png)
    if json:
        echo(as_json(report._asdict() | {"verdict": said}))
    else:
        show(report, said)


@_command
def doctor(
    json: Annotated[bool, option(_OPTIONS, "As JSON: a list of what, state, said, remedy.", "--json")] = False,
) -> None:
    """Look at this machine: what loading needs, a remedy for each known trap. Exits with 1 where something is bad."""
    from fastdata.commands.doctor import findings, show

    found = findings()
    if json:
        from fastdata.commands.as_json import as_json

        echo(as_json(found))
    else:
        show(found)
    if any(finding.state == "bad" for finding in found):
        raise click.exceptions.Exit(1)


@_command
def demo(
    directory: Annotated[Path, argument("Folder for what it makes.")] = Path("fastdata-demo"),
    images: Annotated[int, option(_OPTIONS, "How many photos.", min=1)] = 200,
) -> None:
    """Make some photos, pack them, load them, and show how fast that is."""
    from fastdata.commands.demo import run_demo, show
    from fastdata.commands.progress import interruptible

    with interruptible(
        lambda: f"the photos so far are in {directory}, and are used when it runs again; shards are packed anew"
    ):
        made = run_demo(directory, images, lambda text: echo(text, err=True))
    show(made)
