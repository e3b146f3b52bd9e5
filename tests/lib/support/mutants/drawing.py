"""Which mutants: a seeded sample over some folders of the package, weighted by their lines of code."""

import ast
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

# What no test should tell apart: a decorator that is there only for types or speed, identity for equality.
EXCLUDED = frozenset(
    f"core/{name}"
    for name in (
        "RemoveDecorator",
        "ReplaceComparisonOperator_Is_Eq",
        "ReplaceComparisonOperator_IsNot_NotEq",
        "ReplaceComparisonOperator_Eq_Is",
        "ReplaceComparisonOperator_NotEq_IsNot",
    )
)

Site = tuple[Path, tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Mutant:
    """A change of one place in a module: the `occurrence`-th place where cosmic-ray's operator finds something."""

    module: Path
    line: int
    operator: str
    occurrence: int

    def source(self) -> str:
        """The module's source with the change."""
        operator = cosmic_ray.plugins.get_operator(self.operator)()
        changed: str = mutate_code(self.module.read_text(), operator, self.occurrence)
        return changed

    def changed_line(self) -> str:
        """The changed line, for people."""
        before, after = self.module.read_text().splitlines(), self.source().splitlines()
        return next((new for old, new in zip(before, after, strict=False) if old != new), "").strip()

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.operator.removeprefix('core/')}#{self.occurrence}"


def draw(folders: list[Path], number: int, seed: int) -> list[Mutant]:
    """`number` mutants, of each folder as its share of the lines; each in another place, one of its operators by lot.

    They come in an order by lot, so that the first ones are a sample, too.
    """
    modules = {folder: sorted(folder.rglob("*.py")) for folder in folders}
    lines = {folder: sum(len(module.read_text().splitlines()) for module in modules[folder]) for folder in folders}
    mutants: list[Mutant] = []
    for folder in folders:
        wanted = round(number * lines[folder] / sum(lines.values()))
        lot = random.Random(f"{seed} {folder.name}")
        drawn = _drawn(_sites(modules[folder]), lot)
        mutants += islice(drawn, wanted)
    random.Random(seed).shuffle(mutants)
    return mutants


def _sites(modules: list[Path]) -> dict[Site, list[Mutant]]:
    sites: dict[Site, list[Mutant]] = defaultdict(list)
    operators = {name: cosmic_ray.plugins.get_operator(name) for name in cosmic_ray.plugins.operator_names()}
    chosen = {name: kind() for name, kind in operators.items() if name not in EXCLUDED and not kind.arguments()}
    for module in modules:
        nodes = list(ast_nodes(get_ast(module.read_text())))
        for name, operator in sorted(chosen.items()):
            places = (place for node in nodes for place in operator.mutation_positions(node))
            for occurrence, (start, end) in enumerate(places):
                sites[module, start, end].append(Mutant(module, start[0], name, occurrence))
    return sites


def _drawn(sites: dict[Site, list[Mutant]], lot: random.Random) -> Iterator[Mutant]:
    for site in lot.sample(sorted(sites), len(sites)):
        mutant = lot.choice(sites[site])
        if _is_a_change(site[0].read_text(), mutant.source()):
            yield mutant


def _is_a_change(before: str, after: str) -> bool:
    """Not where it is no Python any more, nor where only annotations and decorators differ."""
    try:
        return _dump(before) != _dump(after)
    except SyntaxError:
        return False


def _dump(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for untold in ("annotation", "returns"):
            if getattr(node, untold, None) is not None:
                setattr(node, untold, ast.Constant(None))
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = []
    return ast.dump(tree)
