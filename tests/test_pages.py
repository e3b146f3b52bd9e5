"""What the pages in docs/ name exists: the tests of promises, public names, figures."""

import re
from pathlib import Path

import reference

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
PAGE = (ROOT / "docs" / "promises.md").read_text()


def rows(text: str) -> list[str]:
    """Of all tables, without their heads."""
    return re.findall(r"^\| (?!promise \|).+$", text, re.MULTILINE)


def test_each_promise_has_a_test_that_exists() -> None:
    assert len(rows(PAGE)) > 20
    for row in rows(PAGE):
        named = NAMED.findall(row)
        assert named, f"no test for: {row}"
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(), f"{file} has no {test}"


def test_the_page_of_names_says_what_docstrings_say() -> None:
    page = (ROOT / "docs" / "reference.md").read_text()
    assert page == reference.page(), "python tools/reference.py > docs/reference.md"


def test_readmes_figures_are_those_of_the_page_of_all_figures() -> None:
    how_fast = (ROOT / "README.md").read_text().partition("## How fast")[2].partition("\n## ")[0]
    numbers = (ROOT / "docs" / "numbers.md").read_text()
    assert rows(how_fast)
    assert [row for row in rows(how_fast) if row not in numbers] == []
