"""A pytest plugin that records which test runs which lines of the package, and for how long.

Coverage of one thread or process more than the test's own counts where Python can follow it: threads, not processes.
"""

import json
import os
import time
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

coverage_file = Path(os.environ.get("FASTDATA_TRACED", ".traced"))
_measured = coverage.Coverage(data_file=str(coverage_file), source_pkgs=["fastdata"], config_file=False)
_measured.set_option("run:disable_warnings", ["module-not-measured"])
_measured.start()  # here, before a conftest imports the package
os.register_at_fork(after_in_child=_measured.stop)  # one file, one writer
_passed: dict[str, float] = {}  # test -> seconds


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Lines that run from here on are this test's."""
    _measured.switch_context(item.nodeid)
    began = time.perf_counter()
    try:
        return (yield)
    finally:
        _passed.setdefault(item.nodeid, time.perf_counter() - began)
        _measured.switch_context("")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test that fails already can notice nothing."""
    if report.failed:
        _passed[report.nodeid] = float("inf")


def pytest_unconfigure() -> None:
    """Beside the coverage, the seconds."""
    _measured.stop()
    _measured.save()
    Path(f"{coverage_file}.json").write_text(json.dumps(_passed))
