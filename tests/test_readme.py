"""The README's example prints what the README says it prints."""

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def example() -> tuple[str, str]:
    """Source and printed output of the example between the two markers."""
    found = re.search(r"<!-- example -->\n```python\n(.*?)```\n<!-- output -->\n```\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert found, "README.md has no example with its output"
    return found[1], found[2]


def test_example_prints_what_the_readme_says():
    source, expected = example()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "README.md", "exec"), {})
    assert printed.getvalue() == expected
    assert expected.strip(), "an example without output shows nothing"


def test_commands_of_the_readme_exist():
    from pyhybrid.cli import COMMANDS

    table = set(re.findall(r"^\| `pyhybrid (\w+)", README.read_text("utf-8"), re.MULTILINE))
    assert table == set(COMMANDS)


def test_operators_and_models_of_the_readme_exist():
    import pyhybrid.ops
    from pyhybrid.papers import VARIANTS

    cells = [line.split("|") for line in README.read_text("utf-8").splitlines() if line.startswith("| ")]
    of_papers = [row[2] for row in cells if "arxiv.org" in row[1] or row[1].strip() == "all papers"]
    operators = {name for cell in of_papers for name in re.findall(r"`(\w+)`", cell)}
    assert operators == set(pyhybrid.ops.__all__)
    models = {name for row in cells for name in re.findall(r"`((?:acmix|coatnet|das|smt|hornet)_\w+)`", row[1])}
    assert models <= set(VARIANTS) and {name for name in VARIANTS if name.startswith("acmix")} <= models


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text("utf-8")):
        assert (README.parent / target).exists(), f"README.md links to {target}, which is not there"
