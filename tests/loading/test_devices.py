"""The device that a Loader's batches go to, where there is no GPU to look at."""

import pytest
import torch

from fastdata.loading.devices import device_of


def test_a_local_rank_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "x")
    with pytest.raises(ValueError, match="environment variable LOCAL_RANK must be an integer, not 'x'"):
        device_of("cuda")
    assert device_of("cuda:3") == torch.device("cuda", 3)
