"""A paper card names only things that exist: functions, arguments, parameters, options."""

from __future__ import annotations

import inspect

import pytest

from pyhybrid.papers import Card, acmix, coatnet, das, find, hornet, smt
from pyhybrid.papers.acmix import ACmix

CARDS = [acmix.CARD, coatnet.CARD, das.CARD, hornet.CARD, smt.CARD]


@pytest.fixture(params=CARDS, ids=lambda card: card.identifier)
def card(request) -> Card:
    return request.param


def test_every_function_exists(card):
    for equation in card.equations:
        assert equation.label and equation.statement and equation.functions
        assert all(callable(find(name)) for name in equation.functions)


def test_every_forward_of_a_card_has_a_backward(card):
    for name in (name for equation in card.equations for name in equation.functions if name.endswith(".forward")):
        assert callable(find(name.removesuffix("forward") + "backward"))


def test_every_option_is_an_argument_of_the_layer_and_not_its_default(card):
    for difference in card.differences:
        arguments = inspect.signature(find(difference.layer or card.layer)).parameters
        assert difference.topic and difference.paper and difference.code and difference.default
        for name, value in difference.options:
            assert arguments[name].default != value


def test_acmix_names_are_the_parameters_of_the_layer_and_the_arguments_of_the_operator():
    names = {official: argument for official, argument, _ in acmix.CARD.names}
    assert list(names) == list(ACmix(4, 4, dep_conv_bias=True).params)
    arguments = inspect.signature(find("pyhybrid.ops.acmix.forward")).parameters
    assert [argument for argument in names.values() if argument not in arguments] == []


def test_acmix_options_change_what_is_built_or_computed():
    import numpy as np

    x = np.random.default_rng(0).normal(size=(1, 4, 4, 5))
    plain = ACmix(4, 4, 3, 2)
    for name, value in (option for difference in acmix.CARD.differences if not difference.layer for option in difference.options):
        other = ACmix(4, 4, 3, 2, **{name: value})
        same = list(other.params) == list(plain.params) and np.array_equal(other.forward(x)[0], plain.forward(x)[0])
        assert not same, name


def test_das_names_are_the_parameters_of_the_gate():
    full = das.DASGate(4, dw_bias=True, pw_bias=True, inst_affine=True, deform_bias=True)
    assert sorted(name for name, _, _ in das.CARD.names) == sorted(full.named_params())


def test_das_options_change_what_is_built_or_computed():
    import numpy as np

    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 1, 10, 4, 5))
    heat, region = rng.uniform(size=(6, 7)), rng.uniform(size=(6, 7)) > 0.7

    def made(name, **options):
        if name.endswith(".sfd"):
            return [("score", das.sfd(heat, region, **options).score)]
        if name.endswith("ResNet"):
            net = das.ResNet((2,), (6,), 6, num_classes=2, **{"cifar": "cifar" in options, **options})
            return [*net.named_params(), *net.order, net.children["conv1"].params["weight"].shape]
        if name.endswith("MobileNetV2"):
            return list(das.MobileNetV2(num_classes=2, seed=None, **options).named_params())
        gate = das.DASGate(10, **options)
        y, cache = gate.forward(x)
        grads = gate.backward(dy, cache)[1]
        return [(key, value.shape) for key, value in gate.named_params().items()] + [y.tolist(), [grad.tolist() for grad in grads.values()]]

    for difference in das.CARD.differences:
        layer = difference.layer or das.CARD.layer
        for name, value in difference.options:
            assert made(layer, **{name: value}) != made(layer), (name, value)
