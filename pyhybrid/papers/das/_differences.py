"""What the DAS paper leaves open, what others do, and what we do."""

from __future__ import annotations

from pyhybrid.papers._card import Difference

__all__ = ["DIFFERENCES"]

RESNET, MOBILENET = "pyhybrid.papers.das.ResNet", "pyhybrid.papers.das.MobileNetV2"
SFD = "pyhybrid.papers.das.salience.sfd"

# "Count" stands for the published parameters of ResNet-18, -50 and -101 with DAS, which single out one reading of the text.
DIFFERENCES = (
    Difference("official code", "announced",
               "none was found; re-implementations in public differ from eqs. (1)-(4) in activation, channels or what is gated",
               "the equations, and where they leave something open the reading that the published counts fit"),
    Difference("published parameters and FLOPs",
               "11.82 M, 26.90 M, 45.89 M for ResNet-18, -50, -101: quoted at second hand, and consistent with 1.39 M less than GSoP-Net "
               "in the text",
               "the parameters are reproduced to the last digit without the weights of the deformable kernels, as profilers count 0 for an "
               "unknown layer; the FLOPs by a profiler that adds the operations of norms and pool, whose parameters are 0.01 M lower",
               "both are counted: papers.das.costs; the true cost on ResNet-50 is 44 % more parameters and 42 % more multiply-adds"),
    Difference("modulation, w_p of eq. (2)", "a factor per tap in (0, 1); that it is learnt as in deformable convolution v2 is not said",
               "count: 27 channels of offsets and masks fit, 18 do not", "a mask per tap through a sigmoid (v2)", (("modulated", False),)),
    Difference("convolution that makes the offsets", "offsets depend on the features under the kernel",
               "count: 3x3 on the bottleneck fits, 1x1 does not", "3x3, with bias, starting at zero", (("offset_kernel", 1),)),
    Difference("deformable kernel", "3x3, back to c channels", "count: no other kernel from m to c channels fits either way",
               "dense, without bias", (("deform_bias", True), ("kernel_size", 5))),
    Difference("layer norm of a map", "LayerNorm", "in other code over channels per pixel, or over the whole sample as in group norm",
               "over the channels of a pixel, one weight and bias per channel", (("ln", "global"),)),
    Difference("parameters of instance norm", "not mentioned", "none by default in frameworks", "none", (("inst_affine", True),)),
    Difference("biases before instance norm", "not mentioned", "they have no effect and no gradient: the mean is taken out", "none",
               (("dw_bias", True), ("pw_bias", True))),
    Difference("alpha", "0.01 to 1 tried, 0.2 chosen for its cost", "none", "0.2", (("alpha", 0.1),)),
    Difference("rounding of alpha·c", "not mentioned", "int() cuts off the fraction", "cut off, at least 1: 12, 25, 51, 102 on ResNet-18"),
    Difference("GELU", "GELU", "by erf, or its approximation by tanh", "by erf", (("gelu", "tanh"),)),
    Difference("norms of table 5", "instance norm before, layer norm after, chosen among others", "none", "as the paper chose",
               (("norm1", "layer"), ("norm1", "batch"), ("norm1", "none"), ("norm2", "instance"), ("norm2", "batch"), ("norm2", "none"))),
    Difference("ablations of figure 2", "a drawing and a sentence each", "none", "(c), DAS; for the others a construction of ours",
               tuple(("variant", letter) for letter in "abdefgh")),
    Difference("place of a gate", "after the skip connection at the end of each stage; after every one costs much more",
               "none", "after the last relu of the stage", (("gates", "blocks"), ("pre_relu", True), ("gates", "none")), RESNET),
    Difference("places in MobileNetV2", "four, not named", "no choice of four stage ends gives 3.57 M and 0.35 G",
               "after feature layers 3, 6, 13 and 17", (("after", (1, 3, 13, 16, 17)), ("after", ())), MOBILENET),
    Difference("stem for 32x32 images", "not described", "one 3x3 convolution and no pool in most code for CIFAR",
               "the stem for large images", (("cifar", True),), RESNET),
    Difference("derivative where a coordinate is whole", "not discussed; at the start all coordinates are whole",
               "torchvision: to the right everywhere; mmcv: 0 at and beyond -1", "to the right",
               (("kink", "zero_outside"),)),
    Difference("border of the sampling", "zero outside, eq. (3) of deformable convolution",
               "zeros around the map; the first release (2017) and a default of OpenVINO cut off at 0 and hold the edge beyond H-1",
               "zeros around the map: one formula, continuous; the rule of 2017 stands only as a counterexample, in "
               "proofs.fractional_offset_interpolates_the_kernel"),
    Difference("order of the offsets", "not discussed", "(dy, dx) interleaved by tap; grid sampling has (x, y)", "as the operators"),
    Difference("coordinates that are not finite", "not discussed", "a NaN crashes or spreads, by axis; infinity gives NaN gradients",
               "NaN gives NaN and touches no pixel; infinity gives 0"),
    Difference("maps of one pixel", "not discussed", "instance norm refuses them", "normalised to 0: the gate is sigmoid(bias)"),
    Difference("Grad-CAM", "shown for blocks 3 and 4", "of logit or probability, resized before or after scaling",
               "of the logit, resized, then scaled to [0, 1] per image; explain.grad_cam"),
    Difference("salient feature detection score", "in words: R over B, through an antilogarithm, between 0 and 1", "none",
               "Σ 10^w over the object by Σ 10^w over object and salient pixels, those above 1/2",
               (("scale", "exp"), ("scale", "identity"), ("scale", "neglog"), ("reduce", "mean"), ("threshold", 0.3)), SFD),
)
