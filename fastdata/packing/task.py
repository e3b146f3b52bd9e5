"""The task of a packing process or a cluster's worker: one shard of a table that lies somewhere."""

from fastdata.packing.journal import finish_shard
from fastdata.packing.remote import upload_shard
from fastdata.packing.table_file import open_table
from fastdata.packing.write import Progress, Written
from fastdata.sources.urls import is_remote


def write_task(where: str, number: int, report: Progress) -> Written:
    """Writes the shard of that number of the table at a path, or a URL, beside which it belongs."""
    if is_remote(where):
        return upload_shard(where, number, report)
    return finish_shard(open_table(where).shard(number), report)
