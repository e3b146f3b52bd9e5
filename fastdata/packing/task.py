"""The task of a packing process or a cluster's worker: one shard of a table that lies somewhere."""

from pathlib import Path

from fastdata.errors import PackError
from fastdata.packing.journal import finish_shard
from fastdata.packing.remote import upload_shard
from fastdata.packing.table_file import open_table
from fastdata.packing.write import Progress, Written
from fastdata.sources.urls import is_remote


def write_task(where: str, number: int, report: Progress) -> Written:
    """Writes the shard of that number of the table at a path, or a URL, beside which it belongs.

    A task may outlive its run, as of a cluster that has lost sight of a worker. PackError where another run has begun
    in the folder, which removes the table first of all.
    """
    if is_remote(where):
        return upload_shard(where, number, report)
    is_there = False

    def report_while_there(files: int, size: int) -> None:
        nonlocal is_there
        # Asked when the shard has its temporary file: where the table goes only later, that is removed after it.
        if not is_there and not Path(where).exists():
            raise PackError(f"{where} is not there any more: its run has ended, and this task of it writes nothing")
        is_there = True
        report(files, size)

    return finish_shard(open_table(where).shard(number), report_while_there)
