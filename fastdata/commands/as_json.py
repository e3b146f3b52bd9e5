"""What commands print as JSON."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from msgspec.json import encode

from fastdata.commands.terminal import printable


def as_json(value: Any) -> str:
    """One line: named tuples as objects, and texts that were read so that a terminal shows them.

    JSON is UTF-8; where standard output is something else, such as ASCII, it is JSON all the same.
    """
    text = encode(_plain(value)).decode()
    if (sys.stdout.encoding or "utf-8").lower().startswith("utf"):
        return text
    return "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {printable(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
