"""The options of `fastdata shard` that say which shards are made, and what becomes of images."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import click

from fastdata.commands.declared import option
from fastdata.commands.given import parsed

if TYPE_CHECKING:
    from fastdata.packing.convert import Conversion
    from fastdata.packing.plan import Division
    from fastdata.packing.recipe import Recipe

_SHARDS, _IMAGES = "Shards", "Images"
_LEAST, _MOST = 10**6, 10**11  # bytes of a shard that are not asked about
_FILES = 100_000
_SIDE, _QUALITY = 32, 20  # from where on images are still to be recognized


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
    """The names of the algorithms in `sources/tars/content_hash.py`."""

    XXH3_128 = "xxh3_128"
    SHA256 = "sha256"


class OnError(StrEnum):
    """What becomes of a file that can't be packed."""

    RAISE = "raise"
    SKIP = "skip"


@dataclass(frozen=True)
class ShardOptions:
    """Which shards are made."""

    name: Annotated[str | None, option(_SHARDS, "The dataset's name: NAME-000000.tar …, NAME.json (train).")] = None
    shards: Annotated[int | None, option(_SHARDS, "Number of shards: ranks × workers, say.", min=1, metavar="N")] = None
    samples_per_shard: Annotated[
        int | None, option(_SHARDS, "At most so many samples in a shard.", min=1, metavar="N")
    ] = None
    shard_size: Annotated[
        str | None,
        option(_SHARDS, "At most so many bytes in a shard, counted before --jpeg: 500MB, 1GiB (1GB).", metavar="SIZE"),
    ] = None
    split: Annotated[str | None, option(_SHARDS, "A dataset for each part, as train=0.9,val=0.1.")] = None
    shuffle: Annotated[
        bool, option(_SHARDS, "Shuffle, for readers that only shuffle in a buffer.", "--shuffle/--no-shuffle")
    ] = False
    seed: Annotated[int, option(_SHARDS, "Of --split and --shuffle.", min=0, metavar="N")] = 0
    hash: Annotated[
        Hash,
        option(_SHARDS, "Of shards, in NAME.json; sha256 is slower, and holds against forgers, too.", "--hash"),
    ] = Hash.XXH3_128

    def division(self) -> "Division":
        """How samples are shared out."""
        from fastdata.packing.plan import SamplesPerShard, ShardCount, ShardSize, parse_size

        given = (self.shards, self.samples_per_shard, self.shard_size)
        if sum(each is not None for each in given) > 1:
            raise click.BadParameter("give one of --shards, --samples-per-shard and --shard-size")
        if self.shards is not None:
            return ShardCount(self.shards)
        if self.samples_per_shard is not None:
            return SamplesPerShard(self.samples_per_shard)
        return ShardSize(parsed(parse_size, "1GB" if self.shard_size is None else self.shard_size, "--shard-size"))

    def doubts(self, samples: int) -> list[str]:
        """What is surely a mistake, for so many samples."""
        from fastdata.packing.plan import SamplesPerShard, ShardCount, ShardSize

        match self.division():
            case ShardSize(size) if size < _LEAST and (self.shard_size or "").strip().isdigit():
                given = self.shard_size
                return [f"--shard-size {given} is in bytes, less than an image has (was {given}MB meant?)"]
            case ShardSize(size) if size > _MOST:
                return [
                    f"--shard-size {self.shard_size}: one file of more than {_MOST // 10**9} GB can't be shared out"
                ]
            case SamplesPerShard(count) if samples > count * _FILES:
                return [f"--samples-per-shard {count}: {samples} samples become more than {_FILES} shards"]
            case ShardCount(count) if count > _FILES:
                return [f"--shards {count}: a file each, for {samples} samples"]
        return []

    def recipe(self, images: "ImageOptions") -> "Recipe":
        """All that determines the bytes besides the samples."""
        from fastdata.packing.check import can_check
        from fastdata.packing.plan import parse_split
        from fastdata.packing.recipe import Recipe

        if self.name is not None and self.split is not None:
            raise click.BadParameter("--split names the datasets; leave --name out")
        split = self.split if self.split is not None else f"{self.name or 'train'}=1"
        fractions = parsed(parse_split, split, "--split")
        check = can_check() if images.check is None else images.check is Check.DECODE
        division, jpeg, on_error = self.division(), images.conversion(), images.on_error
        return Recipe(fractions, division, self.shuffle, self.seed, jpeg, check, on_error.value, self.hash.value)


@dataclass(frozen=True)
class ImageOptions:
    """What becomes of images."""

    check: Annotated[
        Check | None,
        option(
            _IMAGES, "Read each JPEG to its end, so that training need not; the default where the kernel is compiled."
        ),
    ] = None
    jpeg: Annotated[
        Jpeg,
        option(
            _IMAGES,
            "Images as they are, with restart markers, or encoded anew; an upright JPEG that would have more bytes so "
            "stays, with its sides, and only gets restart markers.",
        ),
    ] = Jpeg.KEEP
    max_side: Annotated[int | None, option(_IMAGES, "With encode: longer side in pixels (512).", min=1)] = None
    quality: Annotated[int | None, option(_IMAGES, "With encode: JPEG quality (92).", min=1, max=100)] = None
    on_error: Annotated[
        OnError,
        option(
            _IMAGES,
            "A file that can't be read ends the run, or is left out and named in NAME.rejects.jsonl; so is then what "
            "is no image, where images are checked.",
        ),
    ] = OnError.RAISE

    def doubts(self) -> list[str]:
        """What is surely a mistake."""
        said = []
        if self.max_side is not None and self.max_side < _SIDE:
            said.append(f"--max-side {self.max_side} is in pixels, and leaves little of an image")
        if self.quality is not None and self.quality < _QUALITY:
            said.append(f"--quality {self.quality} is of 100, and leaves little of an image")
        return said

    def conversion(self) -> "Conversion":
        """What images are converted to."""
        from fastdata.packing.convert import CropReady, Encode, Keep

        if self.jpeg is not Jpeg.ENCODE and (self.max_side is not None or self.quality is not None):
            raise click.BadParameter("--max-side and --quality belong to --jpeg encode")
        match self.jpeg:
            case Jpeg.KEEP:
                return Keep()
            case Jpeg.CROP_READY:
                return CropReady()
            case Jpeg.ENCODE:
                given = {"max_side": self.max_side, "quality": self.quality}
                return Encode(**{option: value for option, value in given.items() if value is not None})
