"""`pyhybrid golden`: exit status and output."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pyhybrid import backend, cli


@pytest.fixture(autouse=True)
def colourless(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def case(golden):
    return str(golden / "acmix" / "shift_all9.npz")


def test_passing(case, capsys):
    assert cli.main(["golden", case]) == 0
    out = capsys.readouterr().out
    assert "shift" in out and "0 failed" in out


def test_failing(case, recorded, capsys):
    damaged = recorded("acmix_k3_s1")
    damaged.arrays["output.y"] += 1e-6
    path = str(damaged.write())
    assert cli.main(["golden", case, path, "--backend", "numpy"]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL"))
    assert path in line and "output.y: relative error" in line and "at most 1e-10 expected" in line


def test_not_understood(recorded, capsys):
    case = recorded("acmix_k3_s1")
    case.meta["operator"] = "no_such"
    assert cli.main(["golden", str(case.write())]) == 1
    assert "not understood: operator 'no_such'" in capsys.readouterr().out


def test_json(case, capsys):
    assert cli.main(["golden", case, "--json", "--backend", "numpy"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] and report["rows"][0]["operator"] == "shift" and report["rows"][0]["error"] == 0


def test_json_with_an_error_that_is_not_finite(recorded, capsys):
    case = recorded("acmix_k3_s1")
    case.arrays["output.y"][:] = float("nan")
    assert cli.main(["golden", str(case.write()), "--json", "--backend", "numpy"]) == 1
    assert json.loads(capsys.readouterr().out)["rows"][0]["error"] is None


def test_wrong_use(tmp_path, capsys):
    for arguments in ([], [str(tmp_path)], [str(tmp_path / "absent")]):
        assert cli.main(["golden", *arguments]) == 2
        assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.skipif(backend.available(), reason="needs an installation without the compiled core")
def test_rust_without_core(case, capsys):
    assert cli.main(["golden", case, "--backend", "rust"]) == 2
    assert "not installed" in capsys.readouterr().err


@pytest.mark.skipif(not backend.available(), reason="no compiled core")
def test_both_is_the_default(case, capsys):
    cli.main(["golden", case, "--json"])
    assert [row["backend"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["numpy", "rust"]


def test_as_a_program(golden):
    done = subprocess.run([sys.executable, "-m", "pyhybrid", "golden", str(golden)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
