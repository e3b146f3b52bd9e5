"""The options of `fastdata shard`, in the groups in which --help shows them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

_SAMPLES, _SHARDS, _IMAGES = "What is packed", "Shards", "Images"


class Jpeg(StrEnum):
    """The names of the conversions in `packing/convert.py`."""

    KEEP = "keep"
    CROP_READY = "crop-ready"
    ENCODE = "encode"


class Check(StrEnum):
    """Whether images are read to their ends."""

    DECODE = "decode"
    NONE = "none"


class Hash(StrEnum):
    """The names of the algorithms in `sources/content_hash.py`."""

    XXH3_128 = "xxh3_128"
    SHA256 = "sha256"


class MissingFields(StrEnum):
    """What becomes of an image without a field or a row that was asked for."""

    ERROR = "error"
    ALLOW = "allow"


def _option(group: str, help: str, *names: str, **how: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=group, **how)


def _folder(text: str) -> Path:
    from fastdata.sources.urls import local_folder

    try:
        return local_folder(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Source = Annotated[
    Path,
    typer.Argument(help="Folder of class folders; with other --labels, of any images.", parser=_folder, metavar="SRC"),
]
Destination = Annotated[
    Path, typer.Argument(help="Folder for the shards; made if need be.", parser=_folder, metavar="DST")
]

Pattern = Annotated[
    str | None, _option(_SAMPLES, "Pack the files below SRC that match, as '**/*.jpg'; hidden ones don't.")
]
LabelsFrom = Annotated[
    str,
    _option(
        _SAMPLES,
        "Classes: the folders directly below SRC, none at all, or a table (CSV, TSV, JSONL, Parquet) with a row for "
        "each image.",
        metavar="folder|none|TABLE",
    ),
]
LabelsKey = Annotated[
    str | None,
    _option(
        _SAMPLES,
        "The table's column with the images' paths below SRC, with or without extension (the first column).",
        metavar="COLUMN",
    ),
]
LabelColumn = Annotated[
    str | None,
    _option(
        _SAMPLES,
        "The table's column with class indexes, or with names, which are numbered as sorted (label).",
        metavar="COLUMN",
    ),
]
LabelFields = Annotated[
    str | None,
    _option(_SAMPLES, "More columns, as score,caption: they become each sample's json.", metavar="COLUMNS"),
]
Fields = Annotated[
    str | None,
    _option(
        _SAMPLES,
        "Pack what lies beside the images, too, as txt,json,seg.png: 1.txt, 1.json and 1.seg.png go with 1.jpg.",
        metavar="EXTENSIONS",
    ),
]
OfMissing = Annotated[
    MissingFields, _option(_SAMPLES, "An image without one of the fields, or without a row in the table.")
]
FollowLinks = Annotated[bool, _option(_SAMPLES, "Pack what links take from outside of SRC, too.", "--follow-links")]

Name = Annotated[str | None, _option(_SHARDS, "The dataset's name: NAME-000000.tar …, NAME.json (train).")]
Number = Annotated[int | None, _option(_SHARDS, "Number of shards: ranks × workers, say.", min=1)]
SampleLimit = Annotated[int | None, _option(_SHARDS, "At most so many samples in a shard.", min=1)]
SizeLimit = Annotated[
    str | None, _option(_SHARDS, "At most so many bytes in a shard, counted before --jpeg: 500MB, 1GiB (1GB).")
]
Split = Annotated[str | None, _option(_SHARDS, "A dataset for each part, as train=0.9,val=0.1.")]
Shuffle = Annotated[bool, _option(_SHARDS, "Shuffle, for readers that only shuffle in a buffer.")]
Seed = Annotated[int, _option(_SHARDS, "Of --split and --shuffle.", min=0)]
Jobs = Annotated[int | None, _option(_SHARDS, "Processes (one for each CPU).", min=1)]
Overwrite = Annotated[bool, _option(_SHARDS, "Replace the datasets of these names.", "--overwrite")]

Verify = Annotated[bool, _option(_SHARDS, "Read the shards again, as fastdata verify does.", "--verify")]

HashBy = Annotated[
    Hash, _option(_SHARDS, "Of the shards, in NAME.json; sha256 is slower, and holds against forgers, too.", "--hash")
]

CheckImages = Annotated[
    Check | None,
    _option(_IMAGES, "Read each JPEG to its end, so that training need not; the default where the kernel is compiled."),
]
JpegAs = Annotated[Jpeg, _option(_IMAGES, "Images as they are, with restart markers, or encoded anew.")]
MaxSide = Annotated[int | None, _option(_IMAGES, "With encode: longer side in pixels (512).", min=1)]
Quality = Annotated[int | None, _option(_IMAGES, "With encode: JPEG quality (92).", min=1, max=100)]
