"""The compiled kernel's C keeps to the same rules as the package: rooms in layers, no circles."""

import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

CSRC = Path(__file__).parents[1] / "fastdata" / "csrc"
MAY_INCLUDE = {  # besides itself
    "": set(),
    "transforms": {""},
    "sources": {""},
    "images": {"", "transforms"},
    "python": {"", "transforms", "sources", "images"},
}


def included_by(path: Path) -> set[Path]:
    found = re.findall(r'^#include "(.+)"$', path.read_text(), re.MULTILINE)
    return {(path.parent / name).resolve().relative_to(CSRC.resolve()) for name in found}


def room_of(path: Path) -> str:
    return path.parent.name


def test_a_room_includes_only_those_below_it() -> None:
    files = [path.relative_to(CSRC) for path in sorted(CSRC.rglob("*.[ch]"))]
    assert {room_of(path) for path in files} == set(MAY_INCLUDE)
    for path in files:
        rooms = {room_of(other) for other in included_by(CSRC / path)} - {room_of(path)}
        assert rooms <= MAY_INCLUDE[room_of(path)], path


def test_there_are_no_circles() -> None:
    parts: dict[Path, set[Path]] = {}  # a .c and its .h are one
    for path in CSRC.rglob("*.[ch]"):
        name = path.relative_to(CSRC).with_suffix("")
        parts.setdefault(name, set()).update({other.with_suffix("") for other in included_by(path)} - {name})
    assert len(list(TopologicalSorter(parts).static_order())) == len(parts)


def test_only_one_room_knows_python() -> None:
    knowing = {path.parent.name for path in CSRC.rglob("*.[ch]") if "<Python.h>" in path.read_text()}
    assert knowing == {"python"}


def test_a_build_that_finds_no_sources_says_where_it_looked(tmp_path: Path) -> None:
    command = [sys.executable, str(CSRC.parents[1] / "setup.py"), "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"no sources of the kernel in {tmp_path / 'fastdata' / 'csrc'}" in done.stderr
