"""Extensions that are not there, or not wanted."""

import pytest

from fastdata.commands.doctor import _kernel as look_at_kernel
from fastdata.compiled import extension, is_turned_off
from fastdata.images import kernel


@pytest.mark.parametrize(("said", "is_off"), [("no", True), ("NO", True), ("0", True), ("off", True), ("yes", False)])
def test_an_extension_is_turned_off_by_a_no_alone(monkeypatch: pytest.MonkeyPatch, said: str, is_off: bool) -> None:
    monkeypatch.setenv("FASTDATA_KERNEL", said)
    assert is_turned_off() == is_off
    assert (extension("zlib") is None) == is_off


def test_one_that_was_not_built_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTDATA_KERNEL", raising=False)
    assert extension("fastdata.images._unbuilt") is None


def test_doctor_does_not_take_a_kernel_that_is_missing_for_one_that_is_turned_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel, "KERNEL", None)
    monkeypatch.setenv("FASTDATA_KERNEL", "yes")
    assert [finding.said for finding in look_at_kernel()] == ["not compiled: half the speed, the same samples"]
    monkeypatch.setenv("FASTDATA_KERNEL", "no")
    assert [finding.said for finding in look_at_kernel()] == ["turned off by FASTDATA_KERNEL"]
