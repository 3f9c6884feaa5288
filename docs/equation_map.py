"""Writes `equations.md`: every equation of a paper card, with the function, kernel, tests, proofs and lessons that belong to it.

    python docs/equation_map.py

Nothing on the page is kept by hand. What computes an equation is on the paper's card; a kernel and a test bear the operator's name; a proof
belongs to the operators that its module imports or its texts name; a lesson says in its metadata which operators it is about.
"""

from __future__ import annotations

import ast
import functools
import importlib
import json
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyhybrid.ops
import pyhybrid.papers
import pyhybrid.proofs
from pyhybrid.papers import Card

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "equations.md"
HEAD = """# Equations

What computes an equation, and what holds it to its word. The papers' own numbers are used; "code" stands for what only the official code
shows. This page is made by `python docs/equation_map.py`, and a test says when it is out of date.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for card in cards() for line in section(card))]) + "\n"


def cards() -> Iterator[Card]:
    """The card of every paper, in the order of their packages' names."""
    for found in pkgutil.iter_modules(pyhybrid.papers.__path__):
        if found.ispkg:
            yield importlib.import_module(f"pyhybrid.papers.{found.name}").CARD


def section(card: Card) -> Iterator[str]:
    yield f"\n## {card.title} ({card.identifier})\n"
    if card.note:
        yield f"{card.note}\n"
    yield "| equation | statement | function | kernel | tests | proofs | lessons |"
    yield "|---|---|---|---|---|---|---|"
    for equation in card.equations:
        operators = list(dict.fromkeys(filter(None, map(operator, equation.functions))))
        kernels = [link(name, f"rust/kernels/src/{name}.rs") for name in operators]
        cells = [equation.label, equation.statement.replace("|", "\\|"), listed(map(function, equation.functions)), listed(kernels),
                 listed(tests(operators, equation.functions)), listed(proofs(operators)), listed(lessons(card, operators))]
        yield "| " + " | ".join(cells) + " |"


def operator(name: str) -> str | None:
    """conv2d for "pyhybrid.ops.conv2d.forward"; None for what is no operator."""
    found = re.match(r"pyhybrid\.ops\.(\w+)\.", name)
    return found[1] if found else None


def function(name: str) -> str:
    """A link to the file that defines it."""
    module = importlib.import_module(name.rpartition(".")[0])
    owner = getattr(getattr(module, name.rpartition(".")[2]), "__module__", module.__name__)
    own = operator(name)
    file = f"pyhybrid/ops/{own}.py" if own else str(Path(*owner.split(".")).with_suffix(".py"))
    if not (ROOT / file).exists():
        file = str(Path(*owner.split(".")) / "__init__.py")
    return link(name.removeprefix("pyhybrid.").removeprefix("ops."), file)


def tests(operators: Iterable[str], functions: Iterable[str]) -> Iterator[str]:
    """Of operators, and of what only a paper's package has: the test files that name it."""
    for name in operators:
        yield link(f"test_{name}", f"tests/ops/test_{name}.py")
    named = {name.rpartition(".")[2] for name in functions if operator(name) is None}
    for file in sorted((ROOT / "tests" / "papers").glob("test_*.py")):
        if named & set(re.findall(r"\w+", file.read_text("utf-8"))):
            yield link(file.stem, f"tests/papers/{file.name}")


def proofs(operators: Iterable[str]) -> Iterator[str]:
    wanted = set(operators)
    for statement in pyhybrid.proofs.STATEMENTS:
        if wanted & operators_of(statement):
            yield link(statement.replace("_", " "), f"pyhybrid/proofs/{statement}.py")


@functools.cache
def operators_of(statement: str) -> set[str]:
    """What the module of a proof imports from pyhybrid.ops, and what its texts call by name."""
    module = importlib.import_module(f"pyhybrid.proofs.{statement}")
    names = set()
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "pyhybrid.ops":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyhybrid.ops."):
            names.add(str(node.module).split(".")[2])
    texts = (f"{proof.statement} " + " ".join(f"{step.text} {step.reason}" for step in proof.steps) for proof in module.PROOFS)
    named = {word.lower() for text in texts for word in re.findall(r"\w+(?=\()", text)}
    return (names | named) & set(pyhybrid.ops.__all__)


def lessons(card: Card, operators: Iterable[str]) -> Iterator[str]:
    for number, file, paper, about in all_lessons():
        if card.identifier in paper and set(operators) & about:
            yield link(str(number), f"tutorials/{file}")


@functools.cache
def all_lessons() -> list[tuple[int, str, str, set[str]]]:
    """Number, file, papers and operators of every lesson."""
    found = []
    for path in sorted((ROOT / "tutorials").glob("[0-9]*.ipynb")):
        said = json.loads(path.read_text("utf-8"))["metadata"]["pyhybrid"]
        found.append((said["lesson"], path.name, said["paper"], set(said["operators"])))
    return found


def link(text: str, file: str) -> str:
    if not (ROOT / file).exists():
        raise FileNotFoundError(f"{text}: there is no {file}")
    return f"[{text}](../{file})"


def listed(items: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(items)) or "—"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
