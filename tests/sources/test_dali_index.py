"""The index of a shard in DALI's own form: what its tool writes, and what its reader reads."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdata.errors import TarError
from fastdata.sources.tars.webdataset import dali_index
from support.tars import packed, samples, tool


def test_the_index_for_dali_is_what_its_own_tool_writes(tmp_path: Path) -> None:
    wds2idx = pytest.importorskip("wds2idx")
    tool("tar")
    files = [*samples(4), ("b" * 120 + "/ü.jpg", b"long"), ("c.seg.png", b"m"), ("c.jpg", b"")]
    path = packed(tmp_path / "a.tar", files)
    script = "import sys, wds2idx; wds2idx.IndexCreator(*sys.argv[1:], verbose=False).create_index()"
    theirs = tmp_path / "theirs.idx"
    subprocess.run(
        [sys.executable, "-c", script, path, theirs],
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": os.path.dirname(wds2idx.__file__)},
    )
    assert dali_index(path).splitlines()[0] == "v1.2 6"
    assert by_component(dali_index(path)) == by_component(theirs.read_text())


def by_component(text: str) -> list[list[str]]:
    """The words of each line, without names, in which GNU tar's listing escapes what is not ASCII."""
    return [
        [word for at, word in enumerate(line.split(" ")) if at % 4 != 3] if line[0] != "v" else [line]
        for line in text.splitlines()
    ]


def test_blanks_have_no_place_in_an_index_for_dali(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", [("my cat.jpg", b"x")])
    assert dali_index(path) == "v1.2 1\njpg 512 1 my_cat.jpg\n"
    with pytest.raises(TarError, match="component 'my jpg' of 'a'"):
        dali_index(packed(tmp_path / "b.tar", [("a.my jpg", b"x")]))


def test_dali_reads_a_shard_by_the_exported_index(tmp_path: Path) -> None:
    dali = pytest.importorskip("nvidia.dali")
    from nvidia.dali import fn

    files = [("my cats/1.jpg", b"one"), ("my cats/1.json", json.dumps({"a": 1}).encode()), ("2.JPG", b"two")]
    path = packed(tmp_path / "a.tar", [*files, ("l" * 150 + ".jpg", b"three")])
    index_file = tmp_path / "a.idx"
    index_file.write_text(dali_index(path))

    @dali.pipeline_def(batch_size=3, num_threads=1, device_id=None)  # type: ignore[untyped-decorator, unused-ignore]
    def pipeline() -> object:
        read: Any = fn.readers.webdataset(paths=[str(path)], index_paths=[str(index_file)], ext=["jpg", "json"])
        return tuple(read)

    pipe = pipeline()
    pipe.build()
    images, texts = ([bytes(tensor) for tensor in map(np.asarray, output)] for output in pipe.run())
    assert images == [b"one", b"two", b"three"]
    assert texts == [b'{"a": 1}', b"", b""]
