"""The options of `fastdata shard` that say what is packed."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import click

from fastdata.commands.declared import argument, option
from fastdata.commands.given import listed
from fastdata.commands.terminal import printable

if TYPE_CHECKING:
    from fastdata.packing.origins.labels import Labels
    from fastdata.packing.origins.source import Missing, Source

Kind = Literal["folder", "table", "inventory", "rows", "shards"]
"""What can be packed."""

_SAMPLES = "What is packed"


class MissingFields(StrEnum):
    """What becomes of an image without a field or a row that was asked for."""

    ERROR = "error"
    ALLOW = "allow"


def folder(text: str) -> Path:
    """A local folder, which need not be there; BadParameter for a URL of something else."""
    from fastdata.sources.urls import local_folder

    try:
        return local_folder(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


SourceArgument = Annotated[
    str,
    argument(
        "Folder of class folders, or with other --labels of any images; a table with an image a row (.csv, .tsv, "
        ".jsonl, .parquet); Parquet files with images in a column; or shards: 'old-*.tar', 'old-{000..009}.tar', "
        "old.json. Any of these may be a URL, as s3://bucket/photos.",
        metavar="SRC",
    ),
]


@dataclass(frozen=True)
class SampleOptions:
    """What is packed."""

    pattern: Annotated[
        str | None, option(_SAMPLES, "Pack the files below SRC that match, as '**/*.jpg'; hidden ones don't.")
    ] = None
    labels: Annotated[
        str,
        option(
            _SAMPLES,
            "Classes: the folders directly below SRC, none at all, or a table (CSV, TSV, JSONL, Parquet) with a row "
            "for each image.",
            metavar="folder|none|TABLE",
            is_file=True,
        ),
    ] = "folder"
    labels_key: Annotated[
        str | None,
        option(
            _SAMPLES,
            "The table's column with the images' paths below SRC, with or without extension (the first column).",
            metavar="COLUMN",
        ),
    ] = None
    label_column: Annotated[
        str | None,
        option(
            _SAMPLES,
            "The table's column with class indexes, or with names, which are numbered as sorted (label).",
            metavar="COLUMN",
        ),
    ] = None
    label_fields: Annotated[
        str | None,
        option(_SAMPLES, "More columns, as score,caption: they become each sample's json.", metavar="COLUMNS"),
    ] = None
    fields: Annotated[
        str | None,
        option(
            _SAMPLES,
            "Pack what lies beside the images, too, as txt,json,seg.png: 1.txt, 1.json and 1.seg.png go with 1.jpg.",
            metavar="EXTENSIONS",
        ),
    ] = None
    missing_fields: Annotated[
        MissingFields, option(_SAMPLES, "An image without one of the fields, or without a row in the table.")
    ] = MissingFields.ERROR
    follow_links: Annotated[
        bool, option(_SAMPLES, "Pack what links take from outside of SRC, too.", "--follow-links")
    ] = False

    image_column: Annotated[
        str | None,
        option(
            _SAMPLES,
            "Where SRC is a table: its column with the images' paths or URLs (the first), or with images (image).",
            metavar="COLUMN",
        ),
    ] = None
    columns: Annotated[
        str | None,
        option(
            _SAMPLES,
            "Where SRC is a CSV whose first line does not name them: its columns. With bucket,key,… it is an inventory "
            "of S3, and stands for what lies in the bucket, or below --root.",
            metavar="NAMES",
        ),
    ] = None
    root: Annotated[
        str | None,
        option(
            _SAMPLES,
            "Where SRC is a table: the folder, or URL, below which its paths are (that of SRC).",
            metavar="DIR",
            is_file=True,
        ),
    ] = None
    keys: Annotated[
        Path | None, option(_SAMPLES, "Pack only the samples whose keys are in this file, a line each.", exists=True)
    ] = None

    def source(self, src: str) -> "Source":
        """What they mean by SRC."""
        from fastdata.packing.origins.select import with_keys

        source = self._whole_source(src)
        return source if self.keys is None else with_keys(source, self.keys, self.missing_fields.value)

    def _whole_source(self, src: str) -> "Source":
        from fastdata.sources.urls import is_remote

        kind, fields, missing = self.kind(src), listed(self.fields), self._missing()
        self._refuse_others(kind)
        match kind:  # what reads each is imported where it is asked for, since together that takes a while
            case "shards":
                from fastdata.packing.origins.from_shards import collect_shards

                return collect_shards(src)
            case "rows":
                from fastdata.packing.origins.from_rows import collect_rows, parquet_files

                table = self._own_table(src)
                return collect_rows(parquet_files(src), table.key, table.label, table.fields, missing)
            case "table":
                from fastdata.packing.origins.from_table import collect_table

                return collect_table(self._own_table(src), self.root, fields, missing, follow_links=self.follow_links)
            case "inventory":
                from fastdata.packing.origins.inventory import collect_inventory

                columns = listed(self.columns)
                return collect_inventory(src, columns, self.root, self.pattern, self.table(), fields, missing)
            case "folder":
                if self.pattern is None:
                    _refuse_shards(src)
                from fastdata.packing.origins.collect import collect

                where = src if is_remote(src) else folder(src)
                return collect(where, self.pattern, self.table(), fields, missing, follow_links=self.follow_links)

    def _missing(self) -> "Missing":
        return self.missing_fields.value

    def kind(self, src: str) -> Kind:
        """What SRC is: known by its name, and by whether there are images in a Parquet file."""
        from fastdata.sources.urls import path_of

        kind = kind_of(src)
        if kind == "table" and {"bucket", "key"} <= set(listed(self.columns)):
            return "inventory"
        in_columns = kind == "folder" and self.image_column is not None
        if in_columns or (kind == "table" and path_of(src).lower().endswith(".parquet")):
            from fastdata.packing.origins.from_rows import has_images, parquet_files

            return "rows" if has_images(parquet_files(src)[0], self.image_column) else "table"
        return kind

    def _own_table(self, src: str) -> "Labels":
        """SRC as a table, of which `--labels none` leaves the classes."""
        from fastdata.packing.origins.labels import NO_LABELS, Labels

        label = self.label_column if self.labels != "none" else NO_LABELS
        return Labels(src, self.image_column, label, listed(self.label_fields), listed(self.columns))

    def _refuse_others(self, kind: "Kind") -> None:
        """BadParameter for options that say something of another kind of SRC."""
        of_rows = {"--image-column": self.image_column}
        of_table = of_rows | {"--root": self.root, "--columns": self.columns}
        of_folder = {"--pattern": self.pattern, "--labels-key": self.labels_key}
        of_labels = {"--label-column": self.label_column, "--label-fields": self.label_fields}
        of_files = {"--fields": self.fields}
        given = {
            "folder": of_table,
            "table": of_folder,
            "inventory": of_rows,
            "rows": of_folder | of_files | {"--root": self.root, "--columns": self.columns},
            "shards": of_table | of_folder | of_labels | of_files,
        }[kind]
        names = {"shards": "shards", "rows": "Parquet files of images", "inventory": "an inventory"}
        for name, value in given.items():
            if value is not None:
                raise click.BadParameter(f"{name} has no meaning where SRC is {names.get(kind, f'a {kind}')}")
        if kind not in ("folder", "inventory") and self.labels not in ("folder", "none"):
            raise click.BadParameter("--labels TABLE belongs to a folder")

    def table(self) -> "Literal['folder'] | Labels | None":
        """What --labels and its companions say of a folder."""
        from fastdata.packing.origins.labels import Labels
        from fastdata.sources.urls import is_remote

        fields = listed(self.label_fields)
        if self.labels not in ("folder", "none"):
            if not is_remote(self.labels) and not Path(self.labels).expanduser().exists():
                problem = f"{self.labels!r} is neither 'folder' nor 'none', and there is no such table"
                raise click.BadParameter(problem, param_hint="--labels")
            return Labels(self.labels, self.labels_key, self.label_column, fields)
        if self.labels_key is not None or self.label_column is not None or fields:
            raise click.BadParameter("--labels-key, --label-column and --label-fields belong to --labels TABLE")
        return "folder" if self.labels == "folder" else None


def _refuse_shards(src: str) -> None:
    """BadParameter for a folder in which there are shards, and neither folders nor images: its photos are in them."""
    from fastdata.commands.loose import has_loose_images

    if not Path(src).is_dir() or not any(Path(src).glob("*.tar")):
        return
    if not any(path.is_dir() for path in Path(src).iterdir()) and not has_loose_images(src):
        raise click.BadParameter(printable(f"{src} holds shards: name them, as '{src.rstrip('/')}/*.tar'"))


def kind_of(src: str) -> Kind:
    """What SRC is by its name; a folder is one whatever its name."""
    if Path(src).is_dir():
        return "folder"
    from fastdata.packing.origins.from_table import TABLES
    from fastdata.sources.urls import path_of

    name = path_of(src).lower()
    return "table" if name.endswith(TABLES) else "shards" if name.endswith((".tar", ".json")) else "folder"
