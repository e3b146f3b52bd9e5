"""Which tests for a mutant: those that run its line, nearest and quickest first."""

import json
from collections import defaultdict
from pathlib import Path

from coverage import CoverageData


class Tests:
    """What tests ran where, as `tracing` recorded it in some files."""

    def __init__(self, traces: list[Path]) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._of_line: dict[tuple[str, int], set[str]] = defaultdict(set)
        self._of_module: dict[str, set[str]] = defaultdict(set)
        for trace in traces:
            self._add(trace)

    def _add(self, trace: Path) -> None:
        seconds: dict[str, float] = json.loads(Path(f"{trace}.json").read_text())
        for test, took in seconds.items():
            self._seconds[function(test)] += took
        data = CoverageData(str(trace))
        data.read()
        for module in data.measured_files():
            name = module[module.rindex("fastdata/") :]
            for line, tests in data.contexts_by_lineno(module).items():
                self._of_line[name, line] |= {function(test) for test in tests if test}
                self._of_module[name] |= {function(test) for test in tests if test}

    def of(self, module: Path, line: int) -> list[str]:
        """Tests that run this line, or, where none does (it runs at import, in a process), that run this module."""
        room, name = module.parent.name, f"test_{module.stem}.py"
        tests = self._of_line[str(module), line] or self._of_module[str(module)]

        def distance(test: str) -> tuple[int, float]:
            file = Path(test.split("::")[0])
            return (0 if file.name == name else 1 if file.parent.name == room else 2), self._seconds[test]

        return sorted((test for test in tests if self._seconds[test] < float("inf")), key=distance)

    def within(self, tests: list[str], seconds: float) -> list[str]:
        """As many of the first as take so long together, but one at least."""
        chosen: list[str] = []
        for test in tests:
            seconds -= self._seconds[test]
            if chosen and seconds < 0:
                continue
            chosen.append(test)
        return chosen


def function(test: str) -> str:
    """A test without its parameters."""
    return test.partition("[")[0]
