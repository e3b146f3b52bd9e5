"""A real Chromium without a window, driven over a pipe by its DevTools protocol."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

PROGRAM = "chromium"


class Page:
    """One tab: what it has asked the network for, and what its console says, is kept."""

    def __init__(self, commands: BinaryIO, answers: BinaryIO) -> None:
        self._commands, self._answers = commands, answers
        self._count, self._session = 0, ""
        self.requests: list[str] = []
        self.console: list[str] = []
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result; AssertionError with what Chromium says where it fails."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            pass
        assert "error" not in answer, answer
        return cast(dict[str, Any], answer["result"])

    def open(self, file: Path, width: int, height: int = 800, dark: bool = False) -> None:
        """Shows a file in a window of so many pixels, and waits until all of it is there."""
        self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.do("Emulation.setEmulatedMedia", features=[scheme])
        self.do("Page.navigate", url=file.absolute().as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript in the page, as JSON has it."""
        done = self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """A key by its name, as Tab, and Windows's number of it."""
        for kind in ("rawKeyDown", "keyUp"):
            self.do("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def _next(self) -> dict[str, Any]:
        """The next message; what it tells of the network and the console is kept."""
        text = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            text += byte
        message: dict[str, Any] = json.loads(text)
        parameters = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Log.entryAdded":
                self.console.append(parameters["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.console.append(json.dumps(parameters))
        return message


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A tab of a Chromium that keeps what it writes in `profile`; skips where there is none, unless it is required."""
    program = shutil.which(PROGRAM)
    if program is None:
        assert not os.environ.get("FASTDATA_REQUIRE_TOOLS"), f"{PROGRAM} is required"
        pytest.skip(f"no {PROGRAM}: apt install {PROGRAM}")
    his_commands, my_commands = os.pipe()
    my_answers, his_answers = os.pipe()
    options = "--headless --no-sandbox --disable-gpu --no-first-run --remote-debugging-pipe"
    line = f'exec "$0" {options} --user-data-dir="$1" 3<&{his_commands} 4>&{his_answers}'
    command = ["bash", "-c", line, program, str(profile)]
    with (
        open(my_commands, "wb", buffering=0) as commands,
        open(my_answers, "rb") as answers,
        subprocess.Popen(command, pass_fds=(his_commands, his_answers), stderr=subprocess.DEVNULL) as process,
    ):
        os.close(his_commands)
        os.close(his_answers)
        try:
            yield Page(cast(BinaryIO, commands), answers)
        finally:
            process.kill()
