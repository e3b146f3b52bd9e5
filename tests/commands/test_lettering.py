"""What stands in pictures can be read, whatever its letters."""

import pytest
from PIL import Image, ImageDraw

from fastdata.commands import lettering as module
from fastdata.commands.lettering import lettering


def drawn(text: object) -> bytes:
    """The pixels of a text."""
    said, font = lettering(text, 20)
    image = Image.new("L", (200, 40))
    ImageDraw.Draw(image).text((2, 2), said, 255, font)
    return image.tobytes()


def test_each_letter_is_drawn_as_itself() -> None:
    pictures = [drawn(text) for text in ("Rucke", "Rücke", "Röcke", "Růcke", "Rцcke", "R\U0010fffdcke")]
    assert len(set(pictures)) == len(pictures)
    assert drawn("Ro\u0308cke") == drawn("Röcke")  # as macOS writes it in names of files


def test_no_font_is_made_for_each_text() -> None:
    assert lettering("Röcke", 20).font is lettering("Rücke", 20).font
    assert lettering("a", 20).font is lettering("b", 20).font is not lettering("b", 21).font


def test_without_a_font_of_the_systems_letters_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_installed", lambda name, size: None)
    assert lettering("Röcke", 11).text == "R\\xf6cke"
    assert lettering("…/a\n", 11).text == "…/a\\n"
