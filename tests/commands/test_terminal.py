import pytest

from fastdata.commands.terminal import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain: ü 猫 / [red]", "plain: ü 猫 / [red]"),
        ("a\x1b[31mb\x07", "a\\x1b[31mb\\x07"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x9b2J\u202e", "\\x9b2J\\u202e"),
        ("not utf-8: \udcff", "not utf-8: \\udcff"),
    ],
)
def test_what_a_terminal_would_act_on_or_could_not_show_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
