"""What `fastdata shard` tells: hints before it packs, what was made, and what was left out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fastdata.commands.counted import counted
from fastdata.commands.terminal import echo, printable

if TYPE_CHECKING:
    from fastdata.packing.convert import Conversion
    from fastdata.packing.origins.source import Source
    from fastdata.packing.parts import PartDone
    from fastdata.packing.plan import Division
    from fastdata.sources.manifest import Manifest

_PARTS = frozenset(["train", "training", "val", "valid", "validation", "test"])
_PIXELLESS = frozenset(["txt", "cls"])  # fields that hold no place in the image


def hint_at_parts(src: str, dst: str, classes: Sequence[str]) -> None:
    """Says what to write instead where the class folders are the parts of a data set, as train/ and val/ are."""
    if len(classes) < 2 or not {name.lower() for name in classes} <= _PARTS:
        return
    instead = "; ".join(f"fastdata shard {src}/{name} {dst} --name {name}" for name in classes)
    _warn(f"the folders {', '.join(classes)} become the classes; for a dataset of each write: {instead}")


def hint_at_masks(beside: Mapping[str, int], samples: int) -> None:
    """Says so where about each image has another one beside it, a mask perhaps, that is packed as one more image."""
    for extension, count in sorted(beside.items()):
        if 2 * count >= samples - count:
            problem = f"{count} images are named as others are, but end in .{extension}: they are samples of their own"
            _warn(f"{problem}; if they are masks, pack them with their images by --fields {extension}")


def hint_at_places(source: "Source", jpeg: "Conversion") -> None:
    """Says that what fields hold in pixels does not follow an image that is encoded anew."""
    from fastdata.packing.convert import Encode
    from fastdata.sample import IMAGE_EXTENSIONS

    packed = {*source.fields, *(["json"] if source.columns else [])}
    names = sorted(name for name in packed - _PIXELLESS if name.rpartition(".")[2] not in IMAGE_EXTENSIONS)
    if names and isinstance(jpeg, Encode):  # masks are refused
        problem = "--jpeg encode turns images upright and shrinks them, so boxes or points in pixels would not fit"
        _warn(f"{problem} them any more: are there any in {', '.join(names)}, then keep the images")


def hint_at_large_samples(division: "Division", made: Sequence["Manifest"]) -> None:
    """Says so where shards are larger than asked, since a sample is never divided."""
    from fastdata.packing.plan import ShardSize

    shards = [shard for manifest in made for shard in manifest.shards]
    if isinstance(division, ShardSize) and (over := sum(shard.filesize > division.bytes for shard in shards)):
        problem = f"{over} of {len(shards)} shards have more than {division.bytes} bytes: single samples do, or"
        _warn(f"{problem} --jpeg made them larger; give more by --shard-size, or --shards")


def summary(directory: str, manifest: "Manifest", labelled: bool) -> str:
    """A line on what was made, and another on its images where they were converted. `labelled`: samples have classes,
    be it that nobody knows their names."""
    made, megabytes = manifest.made, manifest.filesize / 1e6
    count = len(manifest.classes)
    classes = (
        "1 class" if count == 1 else f"{count:,} classes" if count else "class indexes" if labelled else "no classes"
    )
    samples = counted(manifest.nsamples, "sample")
    text = printable(f"{directory.rstrip('/')}/{manifest.name}.json: {samples}, {classes}")
    text += f"; shards: {len(manifest.shards)}, {megabytes:.1f} MB"
    if made.rejected:
        text += f"\nleft out since they can't be packed: {counted(made.rejected, 'file')}, named in "
        text += printable(f"{directory.rstrip('/')}/{manifest.name}.rejects.jsonl")
    if made.damaged:
        text += f"\n{counted(made.damaged, 'image')} {'is' if made.damaged == 1 else 'are'} damaged: "
        text += "Pillow decides what becomes of such when they are loaded; "
        text += "`fastdata verify --decode` names those that are errors"
    if made.jpeg == "keep":
        return text
    text += f"\n{made.jpeg}: {made.changed} of {manifest.nsamples} images changed, from {made.source_bytes / 1e6:.1f}"
    text += f" to {made.image_bytes / 1e6:.1f} MB together"
    return text + (f"; {made.refused} that can't be are kept as they were" if made.refused else "")


def of_part(directory: str, done: "PartDone") -> str:
    """A line on a part that was written, and what comes next."""
    text = f"{directory}: part {done.part} is there: {done.shards} of {done.of_all} shards, {done.written} of them new"
    return printable(f"{text}; when all parts are, give the same command with --commit in place of --part")


def tell_what_is_missing(source: "Source", beside: Mapping[str, int]) -> None:
    """Says which samples lack a component, what was left out, and how it could be packed."""
    for what, count in source.lacking.items():
        echo(printable(f"without {what}: {count} of {len(source.scan)} samples"))
    left_out = ", ".join(f"{count} {what}" for what, count in sorted(source.left_out.items()))
    packed = {*source.fields, *(["json"] if source.columns else [])}
    names = sorted(set(beside) - packed)
    hint = f"; pack what lies beside images by --fields {','.join(names)}" if names else ""
    if left_out or names:
        echo(printable(f"left out: {left_out or 'what no pattern asked for'}{hint}"))


def _warn(text: str) -> None:
    echo(printable(f"warning: {text}"), err=True)
