"""Programs in forks, as tests run them: none sees another's names, files or processes."""

from pathlib import Path

import pytest

from support.forks import Run, on_ranks
from support.processes import wait_until

LEAVES_A_CHILD = """
import os, sys, time
from pathlib import Path
if os.fork() == 0:
    Path(sys.argv[1]).write_text(str(os.getpid()))
    time.sleep(600)
while not (Path(sys.argv[1]).exists() and Path(sys.argv[1]).read_text()):
    os.sched_yield()
print("parent")
if sys.argv[2] == "hangs":
    time.sleep(600)
"""

SCRIPT = """
import beside
if __name__ == "__main__":
    print(beside.NAME, flush=True)
"""


def test_a_program_has_no_names_but_its_own(run_forked: Run) -> None:
    run_forked("left = 1")
    for name in ("torch", "fd", "Program", "left"):
        with pytest.raises(AssertionError, match=f"name '{name}' is not defined"):
            run_forked(f"print({name})")
    assert run_forked("import sys; print(__name__, vars(sys.modules['__main__']) is globals())") == "__main__ True\n"


@pytest.mark.parametrize("end", ["ends", "hangs"])
def test_what_a_program_leaves_behind_ends_with_it(run_forked: Run, tmp_path: Path, end: str) -> None:
    if end == "hangs":
        with pytest.raises(AssertionError, match="exit status -14: parent"):
            run_forked(LEAVES_A_CHILD, tmp_path / "child", end, limit=0.5)
    else:
        assert run_forked(LEAVES_A_CHILD, tmp_path / "child", end) == "parent\n"
    child = Path("/proc", (tmp_path / "child").read_text())
    wait_until(lambda: not child.exists() or ") Z " in (child / "stat").read_text())
    assert run_forked("print('next')") == "next\n"


def test_a_script_on_ranks_finds_the_modules_beside_it(run_forked: Run, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("NAME = 'found'")
    (tmp_path / "script.py").write_text(SCRIPT)
    assert on_ranks(run_forked, 1, tmp_path / "script.py") == "found\n"
