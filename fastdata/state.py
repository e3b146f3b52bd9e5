"""How far a run has come, as a small dict that survives JSON."""

from collections.abc import Mapping
from typing import Any, NamedTuple

STATE_VERSION = 1


class StateError(ValueError):
    """A state that can't be resumed from, or that can't be told: says what differs or is missing."""


class EpochState(NamedTuple):
    """How far a run has come: `position` samples of epoch `epoch` are delivered, over all ranks.

    The other fields say in which order of which dataset that is. It holds for any number of ranks and workers
    and any batch size. `fingerprint` names the dataset's contents, None where it has no name.
    """

    epoch: int
    position: int
    seed: int
    shuffle: bool
    samples: int
    fingerprint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """A dict that survives JSON; `from_dict` reads it."""
        return {"version": STATE_VERSION, **self._asdict()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "EpochState":
        """The state that `to_dict` wrote; StateError names the key that is missing, unknown or wrong."""
        if state.get("version") != STATE_VERSION:
            raise StateError(f"state has version {state.get('version')!r}, this fastdata reads version {STATE_VERSION}")
        if differing := set(state) ^ {"version", *cls._fields}:
            raise StateError(f"state lacks, or should not have, {', '.join(map(repr, sorted(differing)))}")
        loaded = cls(*(state[name] for name in cls._fields))
        for name in ("epoch", "position", "seed", "samples"):
            value = state[name]
            if type(value) is not int or value < 0:
                raise StateError(f"state's {name} must be a whole number from 0 on, not {value!r}")
        if type(loaded.shuffle) is not bool:
            raise StateError(f"state's shuffle must be true or false, not {loaded.shuffle!r}")
        if not isinstance(loaded.fingerprint, str | None):
            raise StateError(f"state's fingerprint must be a string or null, not {loaded.fingerprint!r}")
        if loaded.position > loaded.samples:
            raise StateError(f"state's position {loaded.position} is beyond its {loaded.samples} samples")
        return loaded

    def check(self, current: "EpochState") -> None:
        """StateError if this state is not one of `current`'s dataset and order; epoch and position may differ."""
        differences = [
            f"{name} is {getattr(self, name)!r} in the state, {getattr(current, name)!r} here"
            for name in ("fingerprint", "samples", "seed", "shuffle")
            if getattr(self, name) != getattr(current, name)
        ]
        if differences:
            raise StateError(f"the state is another dataset's or order's: {'; '.join(differences)}")
