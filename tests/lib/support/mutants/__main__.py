"""`python -m support.mutants`: draws mutants, tries each, prints the score and who survived. `.ci/mutants` runs it."""

import argparse
import json
import time
from collections import Counter
from pathlib import Path

from support.mutants.choosing import Tests
from support.mutants.drawing import Mutant, draw
from support.mutants.trying import Outcome, attempt, check_unchanged, preload

FOLDERS = [Path("fastdata", room) for room in ("epoch", "sources", "images", "loading")]
SECONDS = 15, 150
"""Of tests, as long as they take unchanged: for each mutant, and once more for those that survive."""


def main() -> None:
    """Tries a sample of mutants in this folder, whose files it changes: a copy of the repository."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("traces", type=Path, nargs="+", help="what tests run where, by support.mutants.tracing")
    parser.add_argument(
        "--results", type=Path, required=True, help="a line of JSON for each mutant tried; none is twice"
    )
    parser.add_argument("--number", type=int, default=500, help="of mutants, over all folders")
    parser.add_argument("--seed", type=int, default=14, help="says which")
    parser.add_argument(
        "--minutes", type=float, default=60, help="begin no other after that: the first are a sample, too"
    )
    given = parser.parse_args()
    results: Path = given.results
    preload()
    until = time.monotonic() + 60 * given.minutes
    tests, found = Tests(given.traces), _read(results)
    check_unchanged(tests.within(tests.of(FOLDERS[0] / "order.py", 1), SECONDS[0]), results.with_suffix(".log"))
    for mutant in draw(FOLDERS, given.number, given.seed):
        if str(mutant) not in found and time.monotonic() < until:
            outcome = _tried(mutant, tests, results.with_suffix(".log"))
            found[str(mutant)] = {"mutant": str(mutant), "outcome": outcome, "changed": mutant.changed_line()}
            with results.open("a") as file:
                print(json.dumps(found[str(mutant)]), file=file, flush=True)
    _report(list(found.values()))


def _tried(mutant: Mutant, tests: Tests, log: Path) -> Outcome:
    able = tests.of(mutant.module, mutant.line)
    outcome: Outcome = "survived"
    for seconds in SECONDS:
        if outcome == "survived":
            outcome = attempt(mutant, tests.within(able, seconds), 60 + 3 * seconds, log)
    return outcome


def _read(results: Path) -> dict[str, dict[str, str]]:
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    return {row["mutant"]: row for row in rows}


def _report(rows: list[dict[str, str]]) -> None:
    for row in sorted(rows, key=lambda row: row["mutant"]):
        if row["outcome"] != "killed":
            print(f"{row['outcome']}  {row['mutant']}\n    {row['changed']}")
    counts = Counter(row["outcome"] for row in rows)
    noticed = counts["killed"] + counts["timeout"]
    print(f"{noticed} of {len(rows)} were noticed ({noticed / max(1, len(rows)):.1%}): {dict(counts)}")


if __name__ == "__main__":
    main()
