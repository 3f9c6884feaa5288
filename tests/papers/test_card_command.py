"""`pyhybrid card`: everything on the card is printed."""

import json

import pytest

from pyhybrid import cli
from pyhybrid.papers.acmix import CARD


def test_the_page_holds_the_whole_card(capsys):
    assert cli.main(["card", "acmix", "--plain"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for equation in CARD.equations:
        assert equation.statement in printed and all(name in printed for name in equation.functions)
    for difference in CARD.differences:
        for text in (difference.topic, difference.paper, difference.code, difference.default):
            assert text in printed
    assert "ACmix(..., conv_channel_order='head_major')" in printed and "ResNet(..., init='shift')" in printed


def test_json(capsys):
    assert cli.main(["card", "acmix", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["identifier"] == CARD.identifier and len(found["differences"]) == len(CARD.differences)
    assert found["equations"][0]["functions"]


def test_an_unknown_paper_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["card", "nothing"])
    assert "acmix" in capsys.readouterr().err
