import pickle

import pytest

from fastdata import errors
from fastdata.errors import SampleError

FAMILY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SampleError)]


@pytest.mark.parametrize("kind", FAMILY)
def test_an_error_of_a_sample_says_all_and_survives_pickling(kind: type[SampleError]) -> None:
    error = kind("it is no image").at("cats/1", "photos/cats/1.jpg")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "sample 'cats/1' in photos/cats/1.jpg: it is no image"
    assert (again.key, again.where, again.cause) == ("cats/1", "photos/cats/1.jpg", "it is no image")


@pytest.mark.parametrize("kind", FAMILY)
def test_torchs_dataloader_can_raise_it_again_by_its_message(kind: type[SampleError]) -> None:
    error = kind("it is no image").at("cats/1", "photos/cats/1.jpg")
    assert str(kind(str(error))) == str(error)


def test_an_error_that_is_kept_holds_no_frames() -> None:
    def failing() -> None:
        try:
            raise OSError("gone")
        except OSError as error:
            raise SampleError("can't be read") from error

    with pytest.raises(SampleError) as caught:
        failing()
    kept = caught.value.without_frames()
    assert isinstance(kept.__cause__, OSError)
    assert kept.__traceback__ is kept.__cause__.__traceback__ is None


def test_frames_are_forgotten_of_an_error_that_is_its_own_cause() -> None:
    error = SampleError("it has no bytes")
    with pytest.raises(SampleError):
        raise error from error
    assert error.without_frames().__traceback__ is None
