"""Samples whose images are the same to the last byte."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastdata.commands.report.looks import Looks


class Group(NamedTuple):
    """Samples of the same image: their numbers, their classes by index, and the bytes of one."""

    numbers: list[int]
    classes: list[int]
    bytes: int


class Duplicates(NamedTuple):
    """The groups, those of different classes and then the largest first.

    `copies` are the samples that could go, `bytes` what these take; `contradicting` groups are of different classes.
    """

    groups: list[Group]
    copies: int
    bytes: int
    contradicting: int


def duplicates(looks: Looks, classes: npt.NDArray[np.int64]) -> Duplicates:
    """Among the samples looked at, by the hashes of their bytes. `classes` are those of all samples."""
    good = looks.good
    order = np.argsort(good["hash"], kind="stable")
    hashes = good["hash"][order]
    begins = np.flatnonzero(np.concatenate([np.ones(min(1, len(hashes)), np.bool_), hashes[1:] != hashes[:-1]]))
    sizes = np.diff(np.append(begins, len(hashes)))
    groups = []
    for begin, size in zip(begins[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        same = good[order[begin : begin + size]]
        of_classes = np.unique(classes[same["number"]]).tolist()
        groups.append(Group(same["number"].tolist(), of_classes, int(same["bytes"][0])))
    groups.sort(key=lambda group: (-min(len(group.classes), 2), -len(group.numbers), group.numbers[0]))
    return Duplicates(
        groups,
        sum(len(group.numbers) - 1 for group in groups),
        sum((len(group.numbers) - 1) * group.bytes for group in groups),
        sum(len(group.classes) > 1 for group in groups),
    )
