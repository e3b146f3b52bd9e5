"""The page works in a real browser: from a file, on a phone, by keyboard, in the dark, whatever the names in it are."""

import os
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fastdata.commands.report.write import write_report
from support.chromium import Page, chromium
from support.pictures import jpeg

NASTY = '<script>alert(1)</script>" onerror="alert(2)'
"""A class's name that would run, were it not escaped."""

TAB = 9


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a folder of long, hostile and foreign names, with duplicates and broken files."""
    root = tmp_path_factory.mktemp("report")
    names = (
        NASTY.replace("/", "\u2215"),
        "猫" * 30,
        "x" * 200,
        "turn\u202earound",
        os.fsdecode(b"not utf-8 \xff"),
        "small",
    )
    for place, name in enumerate(names):
        (root / "photos" / name).mkdir(parents=True)
        for number in range(6 if place else 70):
            (root / "photos" / name / f"{name[:60]} {number}.jpg").write_bytes(jpeg(40 + number, 30, number + place))
    for number in range(30):
        (root / "photos" / "small" / f"broken{number}.jpg").write_bytes(b"none")
    write_report(str(root / "photos"), root / "report.html", 0)
    return root / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_it_has_its_sections_and_shows_pictures_of_each_class(page: Page, written: Path) -> None:
    page.open(written, 1200)
    assert page.evaluate("[...document.querySelectorAll('section')].map(s => s.id)") == [
        "classes",
        "pictures",
        "sizes",
        "duplicates",
        "unreadable",
        "loading",
    ]
    assert page.evaluate("document.querySelectorAll('#classes tbody tr').length") == 6
    shown = page.evaluate("[...document.querySelectorAll('#pictures img')].map(i => [i.naturalWidth, i.alt])")
    assert len(shown) >= 8 + 4 * 6
    assert all(width == 128 and alt for width, alt in shown)
    assert page.evaluate("document.querySelectorAll('#sizes svg[role=img][aria-label]').length") == 4
    assert page.evaluate("document.querySelector('#sizes svg').getBoundingClientRect().height") > 50
    assert page.evaluate("document.querySelectorAll('#unreadable details').length") == 1


def test_nothing_is_fetched_and_the_console_is_silent(page: Page, written: Path) -> None:
    page.requests.clear()
    page.open(written, 800)
    assert [url for url in page.requests if not url.startswith("data:")] == [written.as_uri()]
    assert page.console == []


@pytest.mark.parametrize("width", [320, 360, 800, 1600])
def test_no_window_scrolls_sideways(page: Page, written: Path, width: int) -> None:
    page.open(written, width)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_is_reached_by_keyboard_and_the_focus_shows(page: Page, written: Path) -> None:
    page.open(written, 800)
    reached = []
    for _ in range(11):
        page.press("Tab", TAB)
        focus = "(e => [e.tagName, e.textContent, getComputedStyle(e).outlineStyle])(document.activeElement)"
        reached.append(page.evaluate(focus))
    assert [text for _, text, _ in reached[:3]] == ["To the report", "Classes", "Pictures"]
    assert {outline for _, _, outline in reached} == {"solid"}
    assert page.evaluate("document.querySelectorAll('[tabindex], [onclick], script').length") == 0
    unnamed = "[...document.querySelectorAll('table')].filter(t => !t.querySelector('th[scope]')).length"
    assert page.evaluate(unnamed) == 0


def test_text_can_be_read_in_light_and_in_dark(page: Page, written: Path) -> None:
    seen = set()
    for dark in (False, True):
        page.open(written, 800, dark=dark)
        style = "(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))"
        text, behind = (luminance(colour) for colour in page.evaluate(style))
        seen.add(behind < text)
        soft = luminance(page.evaluate("getComputedStyle(document.querySelector('.soft')).color"))
        for lightness in (text, soft):
            assert (max(lightness, behind) + 0.05) / (min(lightness, behind) + 0.05) > 4.5  # WCAG's AA
    assert seen == {False, True}


def luminance(colour: str) -> float:
    """WCAG's relative luminance of 'rgb(1, 2, 3)'."""
    levels = [int(level) / 255 for level in colour[4:-1].split(",")]
    red, green, blue = (level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class Read(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, frozenset[str]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, frozenset(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_are_text_wherever_they_stand(written: Path) -> None:
    read = Read()
    text = written.read_text("utf-8")
    read.feed(text)
    assert "script" not in {tag for tag, _ in read.tags}
    assert not [names for _, names in read.tags if any(name.startswith("on") for name in names)]
    assert NASTY.replace("/", "\u2215") in read.text
    assert "turn\\u202earound" in read.text
    assert "not utf-8 \\udcff" in read.text
    assert "\u202e" not in text


def test_a_thousand_classes_are_a_small_page(tmp_path: Path) -> None:
    image = jpeg(160, 120, 1, quality=95)
    for number in range(1100):
        (tmp_path / "photos" / f"class {number}").mkdir(parents=True)
        (tmp_path / "photos" / f"class {number}" / "0.jpg").write_bytes(image)
    found = write_report(str(tmp_path / "photos"), tmp_path / "report.html", 50)
    text = (tmp_path / "report.html").read_text()
    assert (len(found.classes), found.looked_at) == (1100, 50)
    assert len(text) < 1_500_000
    assert text.count("<img") <= 12 * 8 + 48 * 4 + 20
    assert "And 75 more." in text
    assert "1,075 smaller classes" in text
