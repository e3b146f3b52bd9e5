"""`fastdata verify`: what is wrong with shards."""

from fastdata.commands.as_json import as_json
from fastdata.commands.counted import counted
from fastdata.commands.progress import bar
from fastdata.commands.terminal import echo, printable


def show_faults(what: str, *, decode: bool, jobs: int | None, json: bool = False) -> bool:
    """Verifies the shards that `what` stands for, and prints each fault, then a summary; whether there are any.

    As JSON it is one object, at the end.
    """
    from fastdata.cpus import available_cpus
    from fastdata.packing.to_verify import shards_of
    from fastdata.packing.verify import verify

    shards = shards_of(what)
    faults, bad = [], 0
    with bar(len(shards), "shards", "verified") as advance:
        for found in verify(shards, decode=decode, jobs=available_cpus() if jobs is None else jobs):
            for fault in [] if json else found:
                echo(printable(fault))
            faults += found
            bad += bool(found)
            advance(1)
    if json:
        echo(as_json({"shards": len(shards), "bad_shards": bad, "faults": faults}))
    else:
        read = counted(len(shards), "shard")
        said = f"{counted(len(faults), 'fault')} in {bad} of {read}" if faults else f"{read}, nothing wrong"
        echo(printable(f"{what}: {said}"))
    return bool(faults)
