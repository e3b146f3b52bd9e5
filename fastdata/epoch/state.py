"""How far a run has come, as a small dict that survives JSON."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from fastdata.errors import StateError

Count = Annotated[int, msgspec.Meta(ge=0)]


class EpochState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a run has come: `position` samples of epoch `epoch` are delivered, over all ranks.

    The other fields say in which order of which dataset that is. It holds for any number of ranks and workers
    and any batch size. `samples` is the length of an epoch; `fingerprint` names the dataset's contents, None where it
    has no name; `order` names an order other than the plain one.
    """

    epoch: Count
    position: Count
    seed: Count
    shuffle: bool
    samples: Count
    fingerprint: str | None
    version: Literal[1] = 1
    order: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """A dict that survives JSON; `from_dict` reads it."""
        state = msgspec.structs.asdict(self)
        if self.order is None:  # which older versions don't know
            del state["order"]
        return state

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "EpochState":
        """The state that `to_dict` wrote; StateError names the key that is missing, unknown or wrong."""
        try:
            loaded = msgspec.convert(dict(state), cls)
        except msgspec.ValidationError as error:
            raise StateError(f"not a state of this fastdata: {error}") from None
        if "version" not in state:
            raise StateError("not a state of this fastdata: it has no `version`")
        if loaded.position > loaded.samples:
            raise StateError(f"the state's position {loaded.position} is beyond its {loaded.samples} samples")
        return loaded

    def check(self, current: "EpochState") -> None:
        """StateError if this state is not one of `current`'s dataset and order; epoch and position may differ."""
        differences = [
            f"{name} is {getattr(self, name)!r} in the state, {getattr(current, name)!r} here"
            for name in ("fingerprint", "samples", "seed", "shuffle", "order")
            if getattr(self, name) != getattr(current, name)
        ]
        if differences:
            raise StateError(f"the state is another dataset's or order's: {'; '.join(differences)}")
