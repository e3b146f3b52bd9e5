"""The command line: parse, call, show. What takes long to import is imported by the command that needs it."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from fastdata.commands.grouped import grouped, listed, numbers, parsed
from fastdata.commands.shard import shard
from fastdata.commands.terminal import escape_what_the_terminal_lacks, printable
from fastdata.commands.termination import termination
from fastdata.commands.view_options import FieldOptions, ShownOptions, WhichOptions

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


DatasetArgument = Annotated[
    str, typer.Argument(help="A folder of images, a dataset's json, or shards (path, URL, glob).", metavar="SRC")
]


class IndexFormat(StrEnum):
    """What `fastdata index` writes."""

    NATIVE = "native"
    DALI = "dali"
    WIDS = "wids"


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs a command line (default: the process's) and exits as docs/commands.md says."""
    escape_what_the_terminal_lacks()
    try:
        app(arguments, prog_name="fastdata")
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        typer.echo(f"fastdata: {printable(error)}", err=True)
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


app.command()(shard)


@app.command()
def info(
    dst: Annotated[
        str, typer.Argument(help="A dataset's json, a folder of datasets, or shards (path, URL, glob).", metavar="DST")
    ],
    look_at: Annotated[int, typer.Option(min=0, help="Read the headers of so many images.")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="As JSON: a list of datasets.")] = False,
) -> None:
    """Show what is there: shards, samples, bytes, classes, image sizes."""
    from fastdata.commands.as_json import as_json
    from fastdata.commands.info import describe, show

    found = describe(dst, look_at)
    if json:
        typer.echo(as_json(found))
        return
    for described in found:
        show(described)


@app.command()
def index(
    shards: Annotated[list[str], typer.Argument(help="Shards: paths, globs, brace notation.", metavar="SHARDS")],
    format: Annotated[
        IndexFormat,
        typer.Option(help="native, dali: a file beside each shard; wids: one for all, to standard output."),
    ] = IndexFormat.NATIVE,
) -> None:
    """Write the shards' indexes, for fastdata or for other readers."""
    from fastdata.commands.index import wids_index, write_dali_index
    from fastdata.sources.node.cache import local
    from fastdata.sources.tars.index import store_index
    from fastdata.sources.urls import expand

    paths = [Path(local(url)) for url in expand(shards)]
    match format:
        case IndexFormat.NATIVE:
            for path in paths:
                typer.echo(f"{printable(path)}: {store_index(path)} samples")
        case IndexFormat.DALI:
            for path in paths:
                typer.echo(printable(write_dali_index(path)))
        case IndexFormat.WIDS:
            typer.echo(wids_index(paths))


@app.command()
def verify(
    dst: Annotated[
        str, typer.Argument(help="A dataset's json, a folder of datasets, or shards (path, URL, glob).", metavar="DST")
    ],
    decode: Annotated[bool, typer.Option("--decode", help="Decode each image, too.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Threads (one for each CPU).")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON, when all are read.")] = False,
) -> None:
    """Read shards to their ends: are they what their json says, whole, and what their indexes say?"""
    from fastdata.commands.verify import show_faults

    if show_faults(dst, decode=decode, jobs=jobs, json=json):
        raise typer.Exit(1)


@app.command()
@grouped
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
        typer.echo(printable(f"fastdata: {sheet.unshown}"), err=True)
    if all(sample.cause for sample in sheet.samples):
        raise typer.Exit(1)


@app.command()
def report(
    src: DatasetArgument,
    out: Annotated[Path, typer.Option(help="The page; what is there is replaced.")] = Path("report.html"),
    samples: Annotated[int, typer.Option(min=0, help="Read and decode so many, evenly spread; 0: all.")] = 5000,
    json: Annotated[bool, typer.Option("--json", help="As JSON on standard output, instead of the page.")] = False,
) -> None:
    """Make a page on a dataset: pictures, balance, sizes, duplicates, what is unreadable."""
    from fastdata.commands.report.write import report_json, write_report

    if json:
        typer.echo(report_json(src, samples))
        return
    found = write_report(src, out, samples)
    typer.echo(printable(f"{out}: {found.samples:,} samples, {found.looked_at:,} of them looked at"))


@app.command()
def bench(
    src: DatasetArgument,
    threads: Annotated[str, typer.Option(help="Of the Loader, as 1,2,4; without it 1, 2, 4, … and all CPUs.")] = "",
    decoder: Annotated[str, typer.Option(help="Of the Loader, as cpu,dali.")] = "cpu",
    against: Annotated[
        str, typer.Option(help="Others on some of the photos: torch, webdataset, dali; none.")
    ] = "torch",
    seconds: Annotated[float, typer.Option(min=0.1, help="For each of three turns of each way.")] = 1.0,
    model_rate: Annotated[float | None, typer.Option(min=0, help="Images/s that a model takes: is it fed?")] = None,
    png: Annotated[Path | None, typer.Option(help="A chart, by matplotlib.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
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
        report = measured(src, counts, others, seconds, lambda text: typer.echo(text, err=True), decoders)
    said = verdict(report, model_rate)
    if png is not None:
        write_chart(report, png)
    if json:
        typer.echo(as_json(report._asdict() | {"verdict": said}))
    else:
        show(report, said)


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="As JSON: a list of what, state, said, remedy.")] = False,
) -> None:
    """Look at this machine: what loading needs, a remedy for each known trap. Exits with 1 where something is bad."""
    from fastdata.commands.doctor import findings, show

    found = findings()
    if json:
        from fastdata.commands.as_json import as_json

        typer.echo(as_json(found))
    else:
        show(found)
    if any(finding.state == "bad" for finding in found):
        raise typer.Exit(1)


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(help="Folder for what it makes.", metavar="DIRECTORY")] = Path(
        "fastdata-demo"
    ),
    images: Annotated[int, typer.Option(min=1, help="How many photos.")] = 200,
) -> None:
    """Make some photos, pack them, load them, and show how fast that is."""
    from fastdata.commands.demo import run_demo, show
    from fastdata.commands.progress import interruptible

    with interruptible(
        lambda: f"the photos so far are in {directory}, and are used when it runs again; shards are packed anew"
    ):
        made = run_demo(directory, images, lambda text: typer.echo(text, err=True))
    show(made)
