"""What of a dataset stands out, in words: each a sentence with what to do."""

from typing import Literal, NamedTuple

from fastdata.commands.report.survey import Survey

_UNBALANCED = 10  # times as many samples in the largest class as in the smallest
_MIXED = 1.5  # times the chi-square of a full shuffle, from where on a window shuffle is advised against
_LARGE = 2_000_000  # pixels, far more than any crop needs


class Verdict(NamedTuple):
    """Something that stands out, how badly, and the section of the page that says more."""

    state: Literal["bad", "note"]
    text: str
    section: str


def verdicts(found: Survey) -> list[Verdict]:
    """The bad ones first."""
    return [*_of_reading(found), *_of_classes(found), *_of_loading(found)]


def _of_reading(found: Survey) -> list[Verdict]:
    said = []
    if found.broken:
        said.append(Verdict("bad", f"Shards that can't be opened: {len(found.broken):,}.", "unreadable"))
    if found.unreadable:
        text = f"Unreadable: {len(found.unreadable):,} of the {found.looked_at:,} samples looked at."
        said.append(Verdict("bad", text, "unreadable"))
    same = found.duplicates
    if same.contradicting:
        text = f"Images that lie in more than one class, the same to the last byte: {same.contradicting:,}."
        said.append(Verdict("bad", text, "duplicates"))
    if same.copies:
        said.append(Verdict("note", f"Copies of other samples: {same.copies:,} of {found.looked_at:,}.", "duplicates"))
    return said


def _of_classes(found: Survey) -> list[Verdict]:
    said = []
    if found.classes and found.unlabelled:
        said.append(Verdict("note", f"Samples without a class: {found.unlabelled:,}.", "classes"))
    empty = sum(one.samples == 0 for one in found.classes)
    if empty:
        said.append(Verdict("note", f"Classes without samples: {empty:,}.", "classes"))
    filled = [one for one in found.classes if one.samples]
    if filled and filled[0].samples >= _UNBALANCED * filled[-1].samples:
        times = filled[0].samples / filled[-1].samples
        text = (
            f"{filled[0].name} has {times:,.0f} times as many samples as {filled[-1].name}; fd.Balanced draws classes "
        )
        said.append(Verdict("note", text + "equally often.", "classes"))
    return said


def _of_loading(found: Survey) -> list[Verdict]:
    said = []
    (_, width, _), (_, height, _) = found.extent
    if width * height > _LARGE:
        text = f"Half of the images have more than {width * height / 1e6:.1f} megapixels: fastdata shard --jpeg encode "
        said.append(Verdict("note", text + "--max-side 512 makes loading many times faster.", "sizes"))
    jpegs = found.formats.get("JPEG", 0)
    if jpegs and not found.crop_ready:
        text = "No JPEG is crop-ready: fastdata shard --jpeg crop-ready lets a crop decode only what it needs; "
        said.append(Verdict("note", text + "fastdata bench measures what that gains here.", "loading"))
    if found.window is not None and 1 + found.window.excess > _MIXED:
        text = 'Neighbours are of the same class, so shuffle="window" would mix them badly: use shuffle=True, or pack '
        said.append(Verdict("note", text + "by fastdata shard --shuffle.", "loading"))
    return said
