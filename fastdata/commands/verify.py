"""`fastdata verify`: what is wrong with shards."""

import typer

from fastdata.commands.terminal import printable


def show_faults(what: str, *, decode: bool, jobs: int | None) -> None:
    """Verifies the shards that `what` stands for, and prints each fault, then a summary; typer.Exit(1) for faults."""
    from fastdata.cpus import available_cpus
    from fastdata.packing.to_verify import shards_of
    from fastdata.packing.verify import verify

    shards = shards_of(what)
    faults = bad = 0
    for found in verify(shards, decode=decode, jobs=available_cpus() if jobs is None else jobs):
        for fault in found:
            typer.echo(printable(fault))
        faults += len(found)
        bad += bool(found)
    told = f"{faults} faults in {bad} of {len(shards)} shards" if faults else f"{len(shards)} shards, nothing wrong"
    typer.echo(printable(f"{what}: {told}"))
    if faults:
        raise typer.Exit(1)
