"""The laws reject deliberately wrong operators, each by the laws that should see it, and accept the right ones."""

from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import naive
import numpy as np
import pytest

from pyhybrid import backend, check
from pyhybrid.check import Case, cases
from pyhybrid.check.subject import Subject
from pyhybrid.ops import conv2d, shift, softmax

RANDOM = np.random.default_rng(11)
CASE = Case(
    {
        "x": RANDOM.standard_normal((3, 2, 4, 5)),
        "weight": RANDOM.standard_normal((2, 2, 3, 3)),
        "bias": RANDOM.standard_normal(2),
    },
    {"padding": 1},
    seed=5,
    batched=("x",),
    linear=("x", "weight", "bias"),
)
TINY = Case(
    {
        "x": RANDOM.standard_normal((2, 1, 2, 2)),
        "weight": RANDOM.standard_normal((1, 1, 3, 3)),
        "bias": RANDOM.standard_normal(1),
    },
    {"padding": 1},
    seed=6,
    batched=("x",),
    linear=("x", "weight", "bias"),
)
ORACLE = {"oracle": naive.conv2d, "oracle_backward": naive.conv2d_backward}


def like(operator, **changed):
    """The NumPy bodies of an operator, some of them replaced."""
    parts = {
        "forward": operator.forward.reference,
        "backward": operator.backward.reference,
        "output_shape": operator.output_shape,
        "Cache": operator.Cache,
        "Grads": operator.Grads,
        "__name__": "wrong",
    }
    return SimpleNamespace(**{**parts, **changed})


def broken(operator, case, **options):
    return {result.law for result in check.laws(operator, case, **options) if not result.passed}


forward, backward = conv2d.forward.reference, conv2d.backward.reference


# Wrong gradients.


def sign(dy, cache):
    grads = backward(dy, cache)
    return grads._replace(weight=-grads.weight)


def transposed(dy, cache):
    return backward(dy, cache._replace(weight=cache.weight.swapaxes(2, 3)))


def without_border(dy, cache):
    """Adds up only what lies inside, as if no pixel near the border had been read beyond it."""
    inside = np.zeros_like(dy)
    inside[..., 1:-1, 1:-1] = dy[..., 1:-1, 1:-1]
    return backward(dy, cache)._replace(x=backward(inside, cache).x)


def first_image(dy, cache):
    return backward(dy, cache)._replace(weight=backward(dy[:1], cache._replace(x=cache.x[:1])).weight)


def averaged(dy, cache):
    grads = backward(dy, cache)
    return grads._replace(bias=grads.bias / len(dy))


GRADIENT_LAWS = {"oracle gradient", "derivative", "adjoint"}


@pytest.mark.parametrize(
    ("wrong", "laws"),
    [
        (sign, GRADIENT_LAWS),
        (transposed, GRADIENT_LAWS),
        (without_border, GRADIENT_LAWS),
        (first_image, GRADIENT_LAWS | {"batch"}),
        (averaged, GRADIENT_LAWS | {"batch"}),
    ],
)
def test_a_wrong_gradient_breaks_the_gradient_laws_and_no_other(wrong, laws):
    assert broken(like(conv2d, backward=wrong), CASE, **ORACLE) == laws


@pytest.mark.parametrize("wrong", [sign, transposed, first_image])
def test_on_tiny_sizes_the_jacobian_shows_it_too(wrong):
    assert "jacobian" in broken(like(conv2d, backward=wrong), TINY)
    assert "jacobian" not in broken(like(conv2d), TINY)


def test_the_derivative_law_needs_no_oracle_and_says_where(capsys):
    with pytest.raises(
        AssertionError, match=r"(?s)wrong breaks derivative, adjoint on Case\(x=.*dweight along a random direction"
    ):
        check.operator(like(conv2d, backward=sign), CASE, only=["derivative", "adjoint"])


# Wrong values.


def edge_padding(x, weight, bias=None, *, padding):
    """Pads with the outermost pixels instead of zeros, consistently forward and backward."""
    y = forward(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge"), weight, bias)[0]
    return y, conv2d.Cache(x, weight, bias, 1, padding, 1, 1)


def edge_padding_backward(dy, cache):
    padded = np.pad(cache.x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    grads = backward(dy, cache._replace(x=padded, padding=0))
    dx = grads.x.copy()
    for axis in (2, 3):
        low, high, n = ([slice(None)] * 4 for _ in range(3))
        low[axis], high[axis], n[axis] = slice(0, 1), slice(-1, None), slice(1, -1)
        first, last, dx = dx[tuple(low)], dx[tuple(high)], dx[tuple(n)].copy()
        low[axis], high[axis] = slice(0, 1), slice(-1, None)
        dx[tuple(low)] += first
        dx[tuple(high)] += last
    return grads._replace(x=dx)


def transposed_weight(x, weight, bias=None, **config):
    y, cache = forward(x, weight.swapaxes(2, 3), bias, **config)
    return y, cache._replace(weight=weight)


def transposed_weight_backward(dy, cache):
    grads = backward(dy, cache._replace(weight=cache.weight.swapaxes(2, 3)))
    return grads._replace(weight=grads.weight.swapaxes(2, 3))


def interior_only(x, weight, bias=None, **config):
    y, cache = forward(x, weight, bias, **config)
    y[..., 0, :] = 0  # the first row is forgotten
    return y, cache


def test_a_consistent_but_wrong_pair_is_found_by_the_oracle_alone():
    """Its gradient is right for what it computes; only the definition can tell."""
    edge = like(conv2d, forward=edge_padding, backward=edge_padding_backward)
    assert broken(edge, CASE, **ORACLE) == {"value", "oracle gradient"}
    transposed = like(conv2d, forward=transposed_weight, backward=transposed_weight_backward)
    assert broken(transposed, CASE, **ORACLE) == {"value", "oracle gradient"}


def test_a_missing_border_is_a_wrong_value_and_does_not_fit_its_gradient():
    assert broken(like(conv2d, forward=interior_only), CASE, **ORACLE) == {"value", "derivative", "adjoint"}


def test_on_whole_numbers_the_smallest_error_counts():
    """== leaves no tolerance in which a wrong last bit could hide."""
    exact = cases.corners("conv2d")[-1]
    assert exact.exact

    def nearly(x, weight, bias=None, **config):
        y, cache = forward(x, weight, bias, **config)
        return y * (1 + 1e-15), cache

    assert "value" in broken(like(conv2d, forward=nearly), exact, **ORACLE)
    assert "value" not in broken(like(conv2d, forward=nearly), CASE, **ORACLE)


# Wrong manners.


def test_a_gradient_that_accumulates_is_found_by_repeating():
    total = {}

    def accumulating(dy, cache):
        grads = backward(dy, cache)
        key = grads.weight.shape
        total[key] = total.get(key, 0) + grads.weight
        return grads._replace(weight=total[key].copy())

    assert "repeat" in broken(
        like(conv2d, backward=accumulating), CASE, only=["repeat", "unchanged", "memory", "strides"]
    )


def test_an_output_buffer_used_twice_is_found_by_repeating():
    buffer = np.zeros((3, 2, 4, 5))

    def reusing(x, weight, bias=None, **config):
        y, cache = forward(x, weight, bias, **config)
        buffer[...] = y
        return buffer, cache

    assert broken(like(conv2d, forward=reusing), CASE, only=["repeat", "unchanged", "memory"]) == {"repeat"}


def test_chance_is_found_by_repeating():
    random = np.random.default_rng(0)

    def noisy(dy, cache):
        grads = backward(dy, cache)
        return grads._replace(x=grads.x * (1 + 1e-7 * random.standard_normal(grads.x.shape)).astype(dy.dtype))

    assert "repeat" in broken(like(conv2d, backward=noisy), CASE, only=["form", "repeat", "memory", "unchanged"])


def writes_to_the_cache(dy, cache):
    grads = backward(dy, cache)
    cache.x[...] = 0
    return grads


def writes_to_dy(dy, cache):
    dy *= 1
    return backward(dy, cache)


def writes_to_x(x, weight, bias=None, **config):
    x *= 1
    return forward(x, weight, bias, **config)


def unprotects_x(x, weight, bias=None, **config):
    """What compiled code can do: it does not ask whether an array is read-only."""
    if not x.flags.writeable:
        x.flags.writeable = True
        x[...] = -x
    return forward(x, weight, bias, **config)


@pytest.mark.parametrize(
    "changed",
    [
        {"backward": writes_to_the_cache},
        {"backward": writes_to_dy},
        {"forward": writes_to_x},
        {"forward": unprotects_x},
    ],
    ids=lambda c: next(iter(c.values())).__name__,
)
def test_a_changed_argument_is_found(changed):
    assert "unchanged" in broken(like(conv2d, **changed), CASE, only=["unchanged", "value", "memory"], **ORACLE)


def test_an_output_that_is_the_input_is_found():
    def lazy(x, *, offset):
        return (x, shift.Cache(x, offset)) if offset == 0 else shift.forward.reference(x, offset=offset)

    def lazy_backward(dy, cache):
        return shift.Grads(dy) if cache.offset == 0 else shift.backward.reference(dy, cache)

    still = Case({"x": RANDOM.standard_normal((2, 3, 4))}, {"offset": 0}, batched=("x",), linear=("x",))
    oracle = {"oracle": naive.shift, "oracle_backward": naive.shift_backward}
    assert broken(like(shift, forward=lazy), still, **oracle) == {"memory"}
    assert broken(like(shift, backward=lazy_backward), still, **oracle) == {"memory"}


def test_an_output_that_is_a_saved_value_is_found():
    """Whoever changes y in place would change the gradient."""

    def sharing(x, *, axis=-1):
        cache = softmax.forward.reference(x, axis=axis)[1]
        return cache.a, cache

    case = Case({"x": RANDOM.standard_normal((2, 3))}, batched=("x",))
    assert broken(like(softmax, forward=sharing), case, oracle=naive.softmax) == {"memory"}


def test_gradients_that_share_memory_are_found():
    def sharing(dy, cache):
        grads = backward(dy, cache)
        return grads._replace(bias=grads.weight.reshape(-1)[: grads.bias.size])

    assert "memory" in broken(like(conv2d, backward=sharing), CASE, only=["memory"])


def test_images_that_see_each_other_are_found():
    def centred(x, weight, bias=None, **config):
        y, cache = forward(x, weight, bias, **config)
        return y - y.mean(0), cache

    assert "batch" in broken(like(conv2d, forward=centred), CASE, only=["batch"])


def test_reading_memory_instead_of_indices_is_found():
    def in_memory_order(x, *, offset):
        return shift.forward.reference(x.ravel(order="K").reshape(x.shape), offset=offset)[0], shift.Cache(x, offset)

    case = Case({"x": RANDOM.standard_normal((3, 4, 5))}, {"offset": 1})
    assert broken(like(shift, forward=in_memory_order), case, only=["strides", "form", "repeat"]) == {"strides"}


@pytest.mark.parametrize(
    "changed",
    [
        {"output_shape": lambda x, weight, bias=None, **c: x.shape[:1]},
        {"forward": lambda *a, **c: (forward(*a, **c)[0].astype(np.float64), forward(*a, **c)[1])},
        {"backward": lambda dy, cache: backward(dy, cache)._replace(bias=None)},
        {"backward": lambda dy, cache: backward(dy, cache)._replace(bias=np.zeros((2, 1)))},
        {"backward": lambda dy, cache: tuple(backward(dy, cache))},
        {"forward": lambda *a, **c: (forward(*a, **c)[0], forward(*a, **c)[1]._replace(bias=np.zeros(2, a[0].dtype)))},
    ],
    ids=["output_shape", "dtype", "gradient left out", "gradient's shape", "no Grads", "cache holds something else"],
)
def test_a_wrong_form_is_found(changed):
    assert "form" in broken(like(conv2d, **changed), CASE, only=["form"])
    assert not broken(like(conv2d), CASE, only=["form"])


def test_an_operator_that_raises_breaks_the_law_and_not_the_judge():
    def failing(dy, cache):
        raise ZeroDivisionError("no gradient today")

    results = check.laws(like(conv2d, backward=failing), CASE)
    assert any(not r.passed and "raised ZeroDivisionError: no gradient today (in failing" in r.detail for r in results)


# The two backends, with a compiled core made up for the purpose.


def disguised(operator, rust_forward=None, rust_backward=None):
    """An operator whose rust bodies are given in Python, at the seam of `operator`."""

    def pair(reference, other):
        def call(*args, **config):
            return (other if backend.active() == "rust" and other else reference)(*args, **config)

        call.reference = reference
        return call

    wrong = like(
        operator,
        forward=pair(operator.forward.reference, rust_forward),
        backward=pair(operator.backward.reference, rust_backward),
    )
    wrong.__name__ = operator.__name__
    return wrong


@pytest.fixture
def made_up_core(monkeypatch):
    names = [f"{name}_{body}" for name in ("conv2d", "softmax") for body in ("forward", "backward")]
    monkeypatch.setattr(backend, "_core", SimpleNamespace(**dict.fromkeys(names)))


def narrow(x, weight, bias=None, **config):
    """Computes in half precision and returns what was asked for."""
    half = [None if a is None else a.astype(np.float16).astype(a.dtype) for a in (x, weight, bias)]
    return forward(*half, **config)[0], forward(x, weight, bias, **config)[1]


def float32_inside(x, weight, bias=None, **config):
    """Loses the digits of a float64 argument."""
    single = [None if a is None else a.astype(np.float32) for a in (x, weight, bias)]
    return forward(*single, **config)[0].astype(x.dtype), forward(x, weight, bias, **config)[1]


@pytest.mark.parametrize("wrong", [narrow, float32_inside, interior_only])
def test_parity_finds_a_kernel_that_computes_something_else(made_up_core, wrong):
    assert "parity" in broken(disguised(conv2d, wrong), CASE, only=["parity"])


def test_parity_accepts_a_kernel_that_adds_in_another_order(made_up_core):
    def backwards(x, weight, bias=None, **config):
        flipped, _ = forward(x[:, ::-1], weight[:, ::-1], bias, **config)
        return flipped, forward(x, weight, bias, **config)[1]

    assert not broken(disguised(conv2d, backwards), CASE, only=["parity"])


def test_parity_accepts_zero_for_what_float32_cannot_hold(made_up_core):
    arrays = {name: 1e-30 * CASE.arrays[name] for name in ("x", "weight")}  # y of size 1e-60
    assert not broken(disguised(conv2d), Case(arrays, {"padding": 1}, batched=("x",)), only=["parity"])


def test_the_noise_of_a_gradient_is_the_largest_of_several_draws():
    subject = Subject(like(softmax), Case({"x": np.zeros((1, 4))}))  # equal weights: what moves the gradient is rounding inside
    draws = [float(np.abs(subject.run_stochastic(turn).outputs["dx"] - subject.base.outputs["dx"]).max()) for turn in range(3)]
    assert len(set(draws)) == 3 and subject.noise["dx"] * 2.0**-30 >= 0.99 * max(draws) > 0


class Spread(NamedTuple):
    """A cache with a variance, which for nearly equal numbers is what large terms leave of each other."""

    x: np.ndarray
    variance: np.ndarray


def spread(x, order=1, times=1.0):
    terms = x[::order]
    return 2 * x, Spread(x, np.array([times * ((terms * terms).mean() - terms.mean() ** 2)]))


def saving_spread(body):
    """An operator of twice x whose forward saves a `Spread`."""
    doubled = SimpleNamespace(reference=lambda dy, cache: softmax.Grads(2 * dy))
    parts = {"forward": SimpleNamespace(reference=body), "backward": doubled, "Cache": Spread, "__name__": "softmax"}
    return like(softmax, **parts, output_shape=lambda x, *_, **__: x.shape)


def with_other_terms(body, law, case):
    """The broken laws where a kernel adds in another order, and where it is off by one part in ten thousand."""
    kernels = partial(body, order=-1), partial(body, times=1 + 1e-4)
    return [broken(disguised(saving_spread(body), kernel), case, only=[law]) for kernel in kernels]


def test_parity_accepts_a_saved_value_that_cancels_in_another_order(made_up_core):
    case = Case({"x": 1e4 + RANDOM.standard_normal(7)})
    assert with_other_terms(spread, "parity", case) == [set(), {"parity"}]


def test_parity_looks_at_saved_values_and_at_the_settings(made_up_core):
    case = Case({"x": RANDOM.standard_normal((2, 3))})

    def other_saved(x, *, axis=-1):
        a, cache = softmax.forward.reference(x, axis=axis)
        return a, cache._replace(a=a * (1 + 1e-6))

    def other_setting(x, *, axis=-1):
        a, cache = softmax.forward.reference(x, axis=axis)
        return a, cache._replace(axis=np.int64(axis))

    for wrong, said in ((other_saved, "cache.a"), (other_setting, "cache.axis is np.int64(-1), expected -1")):
        results = [r for r in check.laws(disguised(softmax, wrong), case, only=["parity"]) if not r.passed]
        assert any(said in r.detail for r in results)


def test_on_the_rust_backend_images_and_strides_are_compared_bit_for_bit(made_up_core):
    def one_ulp_off_in_a_batch(x, weight, bias=None, **config):
        y, cache = forward(x, weight, bias, **config)
        return (np.nextafter(y, np.inf) if len(x) > 1 else y), cache

    found = [
        r for r in check.laws(disguised(conv2d, one_ulp_off_in_a_batch), CASE, only=["batch", "parity"]) if not r.passed
    ]
    assert found and {r.law for r in found} == {"batch"} and all("rust" in r.detail for r in found)


def test_special_values_finds_a_kernel_that_swallows_nan(made_up_core):
    def deaf(x, weight, bias=None, **config):
        return forward(np.nan_to_num(x), weight, bias, **config)[0], forward(x, weight, bias, **config)[1]

    assert broken(disguised(conv2d, deaf), CASE, only=["special values"]) == {"special values"}
    assert not broken(disguised(conv2d), CASE, only=["special values"])


def test_special_values_are_judged_by_their_own_noise_where_that_is_larger(made_up_core):
    def shifted(x, gate, **changed):
        """Numbers that only an infinite gate makes nearly equal."""
        return 2 * x, spread(x + 1e4 * np.isinf(gate), **changed)[1]

    case = Case({"x": RANDOM.standard_normal(7), "gate": np.ones(1)})
    assert with_other_terms(shifted, "special values", case) == [set(), {"special values"}]


# What is right is accepted, and the door works as described.


@pytest.mark.parametrize("operator", [conv2d, shift, softmax], ids=lambda o: o.__name__)
def test_right_operators_pass(operator):
    name = operator.__name__.rpartition(".")[2]
    results = [r for case in cases.seeded(name, 6) for r in check.operator(like(operator), case, getattr(naive, name))]
    assert {"value", "form", "derivative", "unchanged", "memory", "repeat", "strides"} <= {r.law for r in results}


def test_an_operator_without_backward_is_judged_by_its_forward():
    results = check.laws(like(conv2d, backward=None), CASE, **ORACLE)
    assert all(r.passed for r in results)
    assert not {r.law for r in results} & {"derivative", "adjoint", "jacobian", "oracle gradient"}


def test_an_operator_that_is_not_analytic_gets_central_differences():
    """|x| + x²: complex step would see 2x alone."""
    parts = {
        "forward": lambda x: (np.abs(x) + x * x, softmax.Cache(0, x)),
        "backward": lambda dy, cache: softmax.Grads(dy * (np.sign(cache.a) + 2 * cache.a)),
        "output_shape": lambda x: x.shape,
    }
    operator = SimpleNamespace(__name__="kinked", Cache=softmax.Cache, Grads=softmax.Grads, **parts)
    case = Case({"x": np.array([[0.5, -1.5, 2.0]])}, batched=("x",))
    results = check.operator(operator, case)
    assert any("central step" in r.detail for r in results if r.law == "derivative")
    with pytest.raises(AssertionError, match="derivative"):
        check.operator(operator, case, step="complex")
    parts["backward"] = lambda dy, cache: softmax.Grads(dy * 2 * cache.a)
    assert "derivative" in broken(SimpleNamespace(**{**vars(operator), **parts}), case)


def test_results_are_lines_for_a_report():
    results = check.laws(like(conv2d, backward=sign), CASE, only=["derivative"])
    assert [r.what for r in results] == ["dx", "dweight", "dbias"]
    assert [r.passed for r in results] == [True, False, True]
    assert str(results[0]).startswith("ok   derivative: dx along a random direction (complex step): difference")
    assert str(results[1]).startswith("FAIL derivative: dweight") and results[1].measure > results[1].bound


def test_laws_are_chosen_by_name():
    assert {r.law for r in check.laws(like(conv2d), CASE, only=["form"])} == {"form"}
    assert "form" not in {r.law for r in check.laws(like(conv2d), CASE, skip=["form"])}
    with pytest.raises(ValueError, match="no law is called"):
        check.laws(like(conv2d), CASE, only=["beauty"])
    assert set(check.STANDARD) == set(check.LAWS) - {"special values"}
