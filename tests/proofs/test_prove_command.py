"""`pyhybrid prove`: what it prints and how it exits."""

import argparse
import json
import time

import pytest

from pyhybrid import backend, proofs
from pyhybrid.commands import prove
from pyhybrid.errors import UsageError
from pyhybrid.ops import shift


@pytest.fixture(autouse=True)
def reference():
    with backend.use("numpy"):
        yield


def run(*arguments):
    parser = argparse.ArgumentParser()
    prove.configure(parser)
    return prove.run(parser.parse_args(arguments))


def test_all_proofs_hold_within_ten_seconds(capsys):
    started = time.process_time()
    assert run() == 0
    assert time.process_time() - started < 10
    out = capsys.readouterr().out
    assert all(proof.title in out and proof.steps[-1].text in out for proof in proofs.every())
    last = out.strip().splitlines()[-1]
    number = len(proofs.every())
    assert last.startswith(f"{number} of {number} proofs hold")


def test_one_proof_prints_steps_reasons_verdict_bound_and_counterexample(capsys):
    assert run("conv_is_shift_and_sum.odd") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "= Σ_pq Shift(K_pq x, p-r, q-r) ok a pointwise map commutes with the shift" in out
    assert "a false step survives at any one size with chance <= 5.6e-17" in out
    assert "fails as it must: a stage-I bias b" in out and "equal: the interior, where no tap leaves the map" in out
    assert "1 of 1 proofs hold: 5 of 5 steps, 3 of 3 counterexamples fail as they must" in out


def test_prefix_exact_and_symbolic(capsys):
    assert run("pointwise", "--exact") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "3 sizes x 12 draws of integers" in out and "1 size x 3 draws of fractions" in out
    pytest.importorskip("sympy")
    assert run("pointwise", "--symbolic") == 0
    assert "proven on symbols at 1 size" in capsys.readouterr().out


def test_exact_judges_a_proof_that_has_no_fractions_once(capsys):
    assert run("zero_queries_average.mask", "--exact") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.count("numbers only") == 1 and out.count("zero_queries_average.mask:") == 1


def test_list(capsys):
    assert run("--list") == 0
    out = capsys.readouterr().out
    assert all(proof.name in out and proof.title in out for proof in proofs.every())
    assert run("--list", "--json") == 0
    assert [p["name"] for p in json.loads(capsys.readouterr().out)] == [p.name for p in proofs.every()]


def test_json(capsys):
    assert run("stride_is_subsampling.conv2d", "--json", "--exact") == 0
    exact, fractions = json.loads(capsys.readouterr().out)
    assert (exact["mode"], fractions["mode"]) == ("exact", "fractions")
    assert exact["holds"] and [s["holds"] for s in exact["steps"]] == [True] * 3
    assert exact["survival"] < 1e-60 and exact["degree"] == 2
    assert all(c["fails"] and c["difference"] for c in exact["counterexamples"])


def test_unknown_name_lists_the_names():
    with pytest.raises(UsageError, match=r"no proof is called 'pythagoras'; there are: .*zero_queries_average"):
        run("pythagoras")


def test_negative_seed():
    with pytest.raises(UsageError, match="--seed"):
        run("pointwise", "--seed", "-1")


def test_a_broken_operator_gives_exit_status_1(monkeypatch, capsys):
    right = shift.forward
    monkeypatch.setattr(shift, "forward", lambda x, *, offset: right(x, offset=(-offset[0], -offset[1])))
    assert run("conv_is_shift_and_sum.odd") == 1
    out = capsys.readouterr().out
    assert "FAIL" in out and "not equal to the line above" in out and "0 of 1 proofs hold: 4 of 5 steps" in out
    assert run("conv_is_shift_and_sum.odd", "--json") == 1
    (verdict,) = json.loads(capsys.readouterr().out)
    assert not verdict["holds"] and verdict["steps"][1]["difference"].startswith("at (")


def test_a_counterexample_that_holds_gives_exit_status_1(monkeypatch, capsys):
    from dataclasses import replace

    (proof,) = proofs.find("pointwise_commutes_with_shift")
    example = proof.counterexamples[0]
    monkeypatch.setattr(proofs, "find", lambda name: (replace(proof, counterexamples=(replace(example, right=example.left),)),))
    assert run("pointwise_commutes_with_shift") == 1
    assert "DOES NOT FAIL, but must" in capsys.readouterr().out
