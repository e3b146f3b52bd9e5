"""What tells one dataset's order and states from another's: its seed, and a fingerprint of its contents."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import ConcatDataset, Subset


class Identity(NamedTuple):
    """A seed, and a fingerprint: None where a dataset has none."""

    seed: int
    fingerprint: str | None


def identity_of(dataset: Any) -> Identity:
    """That of a dataset with `seed` and `fingerprint`, and of torch's Subset and ConcatDataset of such."""
    if isinstance(dataset, Subset):
        seed, known = identity_of(dataset.dataset)
        numbers = own_numbers(dataset.indices, len(dataset.dataset))  # type: ignore[arg-type]
        return Identity(seed, known and fingerprint_of_selected(known, numbers))
    if isinstance(dataset, ConcatDataset):
        parts = [identity_of(part) for part in dataset.datasets]
        names = [part.fingerprint for part in parts if part.fingerprint is not None]
        return Identity(parts[0].seed, fingerprint_of_joined(names) if len(names) == len(parts) else None)
    known = getattr(dataset, "fingerprint", None)
    return Identity(getattr(dataset, "seed", 0), known if isinstance(known, str) else None)


def own_numbers(indices: Iterable[int], samples: int) -> npt.NDArray[np.int64]:
    """A Subset's indices as numbers from 0 on, int64. IndexError for one that its dataset does not have."""
    numbers = np.fromiter(indices, np.int64)
    outside = numbers[(numbers < -samples) | (numbers >= samples)]
    if outside.size:
        raise IndexError(f"index {outside[0]} of a Subset is not one of its dataset's {samples}")
    return numbers % max(samples, 1)  # negative ones count from the end


def fingerprint_of_selected(fingerprint: str, numbers: npt.NDArray[np.int64]) -> str:
    """Of some samples of a dataset."""
    return blake2b(fingerprint.encode() + numbers.astype("<i8").tobytes(), digest_size=8).hexdigest()


def fingerprint_of_joined(fingerprints: Sequence[str]) -> str:
    """Of datasets one after the other."""
    return blake2b("/".join(fingerprints).encode(), digest_size=8).hexdigest()
