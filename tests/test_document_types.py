"""Type checkers have nothing to say about the Python of README and docs, as somebody would write it into a script."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastdata as fd
from support.documents import PAGES, YOURS, blocks

FLAGS = ["--check-untyped-defs", "--ignore-missing-imports", "--no-error-summary", "--no-incremental"]


@pytest.mark.slow
def test_every_block_is_clean(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed: pip install 'fastdata-images[lint]'")
    for page in PAGES:
        setup, *others = blocks(page)
        for number, block in enumerate(others or [setup]):
            if not block.is_others:
                code = [YOURS, setup.code if others else "", f"# {block.heading} of {page.name}", block.code]
                (tmp_path / f"{page.stem.replace('-', '_')}_{number}.py").write_text("\n".join(code))
    config = tmp_path / "none.ini"
    config.write_text("[mypy]\n")
    command = [sys.executable, "-m", "mypy", f"--config-file={config}", *FLAGS, *map(str, tmp_path.glob("*.py"))]
    # On Python's path, not in the current folder: what is installed is looked up there and not checked itself.
    env = {**os.environ, "PYTHONPATH": str(Path(fd.__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
