import json
from typing import Any

import msgspec
import pytest

from fastdata.epoch.state import EpochState
from fastdata.errors import StateError

STATE = EpochState(epoch=3, position=40, seed=2**70, shuffle=True, samples=100, fingerprint="abc")


def test_a_state_survives_json() -> None:
    assert EpochState.from_dict(json.loads(json.dumps(STATE.to_dict()))) == STATE
    assert set(STATE.to_dict()) == {"version", "epoch", "position", "seed", "shuffle", "samples", "fingerprint"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, r"enum value 2.*\$.version"),
        ({"epoch": "3"}, r"got `str`.*\$.epoch"),
        ({"epoch": True}, r"got `bool`.*\$.epoch"),
        ({"position": -1}, r">= 0.*\$.position"),
        ({"position": 101}, "position 101 is beyond its 100 samples"),
        ({"seed": 1.5}, r"got `float`.*\$.seed"),
        ({"samples": None}, r"got `null`.*\$.samples"),
        ({"shuffle": 1}, r"got `int`.*\$.shuffle"),
        ({"fingerprint": 7}, r"got `int`.*\$.fingerprint"),
        ({"rank": 0}, "unknown field `rank`"),
    ],
)
def test_what_is_no_state_is_an_error_that_names_the_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StateError, match=message):
        EpochState.from_dict({**STATE.to_dict(), **changes})


def test_a_state_that_lacks_something_is_an_error_that_names_it() -> None:
    for name in STATE.to_dict():
        with pytest.raises(StateError, match=name):
            EpochState.from_dict({key: value for key, value in STATE.to_dict().items() if key != name})


def test_a_state_of_another_epoch_and_position_is_welcome() -> None:
    STATE.check(msgspec.structs.replace(STATE, epoch=0, position=0))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"fingerprint": None}, "fingerprint is 'abc' in the state, None here"),
        ({"samples": 99}, "samples is 100 in the state, 99 here"),
        ({"seed": 1, "shuffle": False}, "seed is .* in the state, 1 here; shuffle is True in the state, False here"),
    ],
)
def test_a_state_of_another_dataset_or_order_is_an_error_that_says_what_differs(
    other: dict[str, Any], message: str
) -> None:
    with pytest.raises(StateError, match=message):
        STATE.check(msgspec.structs.replace(STATE, **other))
