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

    named = set(re.findall(r"pyhybrid (tour|step|prove|golden|bench|lab|info|\w+)`? ", README.read_text("utf-8")))
    table = set(re.findall(r"^\| `pyhybrid (\w+)", README.read_text("utf-8"), re.MULTILINE))
    assert table == set(COMMANDS)
    assert {name for name in named if name in COMMANDS} <= set(COMMANDS)


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text("utf-8")):
        assert (README.parent / target).exists(), f"README.md links to {target}, which is not there"
