"""Pictures within a terminal, in those that say that they can, by kitty's graphics protocol or iTerm2's.

sw.kovidgoyal.net/kitty/graphics-protocol and iterm2.com/documentation-images.html describe them.
"""

import base64
import shutil
from collections.abc import Mapping
from typing import Literal

Protocol = Literal["kitty", "iterm2"]

_CHUNK = 4096  # of base64, which is as much as kitty takes in one piece


def protocol(environment: Mapping[str, str]) -> Protocol | None:
    """Which one the terminal knows by what it has set; None where that is not clear, as within tmux and screen."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or term.startswith(("screen", "tmux")):
        return None
    if "KITTY_WINDOW_ID" in environment or term in ("xterm-kitty", "xterm-ghostty"):
        return "kitty"
    if program in ("iTerm.app", "WezTerm", "mintty") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    return None


def inline(png: bytes, by: Protocol) -> str:
    """What has the terminal show a PNG, as wide as it is itself."""
    text = base64.b64encode(png).decode("ascii")
    match by:
        case "kitty":
            chunks = [text[first : first + _CHUNK] for first in range(0, len(text), _CHUNK)]
            what = f"a=T,f=100,q=2,c={shutil.get_terminal_size().columns},"
            parts = [
                f"\x1b_G{what if number == 0 else ''}m={int(number < len(chunks) - 1)};{chunk}\x1b\\"
                for number, chunk in enumerate(chunks)
            ]
            return "".join(parts) + "\n"
        case "iterm2":
            return f"\x1b]1337;File=inline=1;size={len(png)};width=100%:{text}\x07\n"
