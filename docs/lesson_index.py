"""Writes the index of the lessons: `tutorials/index.ipynb`, and the table in `tutorials/README.md`.

    python docs/lesson_index.py

Nothing in either is kept by hand. Every lesson says of itself, in its notebook's metadata under `pyhybrid`, its number, statement, paper,
equations, operators, minutes, difficulty and prerequisites; the index is those facts, and what follows from them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[1] / "tutorials"
README = FOLDER / "README.md"
NOTEBOOK = FOLDER / "index.ipynb"
HEAD = """| lesson | statement | minutes | level | needs | paper |
|---|---|---|---|---|---|
"""
WELCOME = """# Lessons

New here? Open [lesson 0]({first}): five minutes through the whole project. Then begin with lesson 1, or with the paper that brought you,
and follow *the way there*. A lesson runs in seconds from top to bottom ("Run All"), before anything is solved; so run it once, then go back
to its first `Predict` and read.
"""
FOOT = """Every equation of the papers, with its function, kernel, tests, proofs and lessons: `docs/equations.md` in a clone. How the
exercises are judged, and what lecturers may want to know: [README.md](README.md).
"""


class Lesson(NamedTuple):
    """What a notebook says of itself; `paper` names one or several, each by name and identifier, separated by semicolons."""

    file: str
    lesson: int
    statement: str
    paper: str
    equations: list[str]
    operators: list[str]
    minutes: int
    difficulty: str
    prerequisites: list[str]

    @property
    def link(self) -> str:
        return f"[{self.lesson}]({self.file})"

    @property
    def papers(self) -> list[str]:
        return self.paper.split("; ")

    @property
    def needs(self) -> list[int]:
        """The lessons among the prerequisites."""
        return [int(need.removeprefix("lesson ")) for need in self.prerequisites if need.startswith("lesson ")]


def lessons() -> list[Lesson]:
    """All of them, by number. `TypeError` names a fact that is missing or unknown."""
    paths = sorted(FOLDER.glob("[0-9]*.ipynb"))
    return [Lesson(path.name, **json.loads(path.read_text("utf-8"))["metadata"]["pyhybrid"]) for path in paths]


def way(lesson: Lesson, every: dict[int, Lesson]) -> list[Lesson]:
    """The lessons that it builds on, directly or not, then itself. `ValueError` if one of them comes later or does not exist."""
    found: set[int] = set()
    for need in lesson.needs:
        if need >= lesson.lesson or need not in every:
            raise ValueError(f"lesson {lesson.lesson} needs lesson {need}, which does not come before it")
        found |= {step.lesson for step in way(every[need], every)}
    return [*(every[number] for number in sorted(found)), lesson]


def sources(lesson: Lesson, total: int) -> str:
    """Its papers and equations in a cell of a table; `total` is the number of papers that there are."""
    papers = "all papers" if len(lesson.papers) == total > 1 else lesson.paper
    return ", ".join([papers, *lesson.equations])


def table() -> str:
    """The table of README.md."""
    found = lessons()
    total = len(by_paper(found))
    rows = ((lesson.lesson, f"[{lesson.statement}]({lesson.file})", lesson.minutes, lesson.difficulty, ", ".join(lesson.prerequisites),
             sources(lesson, total)) for lesson in found)
    return HEAD + "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def by_paper(found: list[Lesson]) -> dict[str, list[Lesson]]:
    """The papers in the order of their lessons, lessons on a single paper first; each with what is about it."""
    papers: dict[str, list[Lesson]] = {}
    for lesson in sorted(found, key=lambda lesson: (len(lesson.papers), lesson.lesson)):
        for paper in lesson.papers:
            papers.setdefault(paper, []).append(lesson)
    return {paper: sorted(about) for paper, about in papers.items()}


def by_operator(found: list[Lesson]) -> dict[str, list[Lesson]]:
    """The operators in alphabetical order, each with the lessons about it."""
    names = sorted({name for lesson in found for name in lesson.operators})
    return {name: [lesson for lesson in found if name in lesson.operators] for name in names}


def page() -> Iterator[str]:
    """The cells of the index, all of them text."""
    found = lessons()
    every = {lesson.lesson: lesson for lesson in found}
    yield WELCOME.format(first=found[0].file)
    rows = ["| lesson | what it shows | minutes | level | the way there |", "|---|:--|---|---|:--|"]
    for lesson in found:
        steps = way(lesson, every)
        there = " → ".join(step.link for step in steps) + f", {duration(sum(step.minutes for step in steps))}" if steps[1:] else "at once"
        others = [need for need in lesson.prerequisites if not need.startswith("lesson ")]
        there += "".join(f"; {need}" for need in others)
        rows.append(f"| {lesson.lesson} | [{lesson.statement}]({lesson.file}) | {lesson.minutes} | {lesson.difficulty} | {there} |")
    yield "\n".join(rows) + "\n"
    rows = ["## By paper", "", "| paper | lessons and equations |", "|:--|:--|"]
    for paper, about in by_paper(found).items():
        cells = (lesson.link + (f" {', '.join(lesson.equations)}" if lesson.equations else "") for lesson in about)
        rows.append(f"| {paper} | {' · '.join(cells)} |")
    yield "\n".join(rows) + "\n"
    rows = ["## By operator", "", "| operator | lessons |", "|:--|:--|"]
    rows += [f"| `{name}` | {', '.join(lesson.link for lesson in about)} |" for name, about in by_operator(found).items()]
    yield "\n".join(rows) + "\n\n" + FOOT


def duration(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02} min" if hours else f"{rest} min"


def notebook() -> str:
    """The index as the text of a notebook."""
    cells: list[dict[str, Any]] = [
        {"cell_type": "markdown", "id": f"index-{n}", "metadata": {}, "source": text.rstrip("\n").splitlines(keepends=True)}
        for n, text in enumerate(page())]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1, ensure_ascii=False) + "\n"


def readme() -> str:
    """README.md with the table that belongs there. `ValueError` if it has none."""
    text = README.read_text("utf-8")
    old = re.search(rf"^{re.escape(HEAD)}(\|.*\n)*", text, re.MULTILINE)
    if old is None:
        raise ValueError(f"{README} has no table that begins with\n{HEAD}")
    return text[: old.start()] + table() + text[old.end() :]


if __name__ == "__main__":
    README.write_text(readme(), "utf-8")
    NOTEBOOK.write_text(notebook(), "utf-8")
