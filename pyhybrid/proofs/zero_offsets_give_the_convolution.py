"""With offset 0 and mask 1 a deformable convolution is the ordinary convolution; without a mask it is the one with mask 1."""

from __future__ import annotations

from pyhybrid.proofs._deformable import SOURCE, Deform, by_pixels, by_samples, deformed, world
from pyhybrid.proofs._draw import World
from pyhybrid.proofs._notation import Array, Conv
from pyhybrid.proofs._proof import Counterexample, Proof, Step

SIZES = (dict(N=2, C=2, O=3, H=4, W=5, kernel=(3, 3), padding=(1, 1)),
         dict(N=1, C=4, O=2, H=6, W=5, kernel=(2, 3), stride=(2, 1), padding=(2, 0), dilation=(1, 2), groups=2),
         dict(N=1, C=1, O=2, H=1, W=2, kernel=(3, 3), padding=(2, 1)))
SMALL = (dict(N=1, C=2, O=2, H=2, W=3, kernel=(2, 2), padding=(1, 0)),
         dict(N=1, C=2, O=2, H=2, W=2, kernel=(1, 2), padding=(0, 1), groups=2))
OUTSIDE = dict(N=1, C=2, O=2, H=4, W=4, kernel=(3, 3), padding=(1, 1))


def still(w: World, m: Array | None, b: Array | None = None) -> Array:
    return Deform(w.x, w.none, w.K, m, b, **w.config)


def convolution(w: World, b: Array | None = None) -> Array:
    return Conv(w.x, w.K, b, **{name: value for name, value in w.config.items() if name != "offset_groups"})


STILL = Step("deform_conv2d(x, 0, K, 1, b)", lambda w: still(w, w.one, w.b))
ORDINARY = Step("conv2d(x, K, b)", lambda w: convolution(w, w.b))
ZERO = Proof(
    name="zero_offsets_give_the_convolution",
    title="With offset 0 and mask 1, a deformable convolution is the ordinary convolution",
    statement="deform_conv2d(x, 0, K, 1, b, …) = conv2d(x, K, b, …), same stride, padding, dilation and groups, the border included",
    hypotheses=("all offsets are 0", "all masks are 1", "both continue x with zeros"),
    domain="any sizes, kernel, stride, padding, dilation, groups; on computers up to the order of summation, exact on integers",
    source=SOURCE,
    world=world,
    sizes=SIZES,
    small=SMALL,
    degree=2,
    steps=(
        STILL,
        Step("Σ_ck K[o, c, k]·S(x[c]; i·s-p+k·d, j·s-p+k·d) + b[o]", lambda w: by_samples(w, w.none, w.one) + w.b[:, None, None],
             "deform_conv2d (F1)-(F4) with the offset 0 and the mask 1"),
        Step("Σ_ck K[o, c, k]·Z[c, i·s-p+k·d, j·s-p+k·d] + b[o]", lambda w: by_pixels(w, w.none, w.one) + w.b[:, None, None],
             "at a whole position a = b = 0: in bilinear_sample (F3) only Z_00 has a factor, 1; Z is x, and 0 outside"),
        Step("conv2d(x, K, b)", ORDINARY.value, "conv2d (F1)-(F3): the zero padding is what Z is outside the map")),
    counterexamples=(
        Counterexample("the mask 1/2, which is where a branch of zeros with a sigmoid starts", world, OUTSIDE,
                       Step("deform_conv2d(x, 0, K, 1/2, b)", lambda w: still(w, w.one / 2, w.b)), ORDINARY,
                       agrees=(("half of the convolution; the bias is not halved", lambda w: still(w, w.one / 2, w.b),
                                lambda w: convolution(w) / 2 + w.b[:, None, None]),)),
        Counterexample("offsets of a quarter of a pixel", world, OUTSIDE,
                       Step("deform_conv2d(x, 1/4, K, 1, b)", lambda w: Deform(w.x, w.none + 0.25, w.K, w.one, w.b, **w.config)), ORDINARY),
    ),
)

MASKED = Proof(
    name="zero_offsets_give_the_convolution.version_1",
    title="Version 1 is version 2 with the mask 1",
    statement="deform_conv2d(x, D, K) = deform_conv2d(x, D, K, 1) for every offset D",
    hypotheses=("all masks are 1",),
    domain="any sizes and settings, any offsets (checked at quarters of a pixel, up to two pixels)",
    source=SOURCE,
    world=world,
    sizes=SIZES,
    small=SMALL,
    degree=2,
    steps=(
        Step("deform_conv2d(x, D, K)", lambda w: Deform(w.x, w.D, w.K, **w.config)),
        Step("Σ_ck K[o, c, k]·1·S(x[c]; y_k, x_k)", lambda w: by_samples(w, w.D, w.one), "deform_conv2d (F1)-(F4) without a mask"),
        Step("deform_conv2d(x, D, K, 1)", lambda w: Deform(w.x, w.D, w.K, w.one, **w.config), "deform_conv2d (F3) with the mask 1")),
    counterexamples=(
        Counterexample("the mask 0: logits of 0 that should have gone through a sigmoid; the operator has none", world, OUTSIDE,
                       Step("deform_conv2d(x, D, K)", lambda w: Deform(w.x, w.D, w.K, **w.config)),
                       Step("deform_conv2d(x, D, K, 0)", lambda w: Deform(w.x, w.D, w.K, w.one * 0, **w.config)),
                       agrees=(("with the sigmoid of 0, which is 1/2, it is half of version 1",
                                lambda w: Deform(w.x, w.D, w.K, w.one / 2, **w.config),
                                lambda w: Deform(w.x, w.D, w.K, **w.config) / 2),)),
        Counterexample("a mask that differs from tap to tap", world, OUTSIDE,
                       Step("deform_conv2d(x, D, K)", lambda w: Deform(w.x, w.D, w.K, **w.config)),
                       Step("deform_conv2d(x, D, K, m)", deformed)),
    ),
)

PROOFS = (ZERO, MASKED)
