"""Where HorNet's paper and the official code differ, or the code fails, and what we do."""

from __future__ import annotations

from pyhybrid.papers._card import Difference

__all__ = ["DIFFERENCES"]

GNCONV = "pyhybrid.papers.hornet.GnConv"
MODULE = "pyhybrid.papers.hornet.GNConvModule"
PYRAMID = "pyhybrid.papers.hornet.GNFPN"

DIFFERENCES = (
    Difference("scale 1/alpha", "divides every step", "s multiplies the filtered maps once, their bias included: the same; 3 stands in the "
               "code alone, the default of its class is s = 1, and HorFPN has none", "s = 1/3 in the models, 1 in GnConv and in HorFPN",
               (("s", 1.0),)),
    Difference("global filter", "half 3x3 convolution, half global filter", "with a layer norm before and after, and the channels of the "
               "halves in turn", "as the code", (("kind", "half"), ("kind", "global")), GNCONV),
    Difference("a filter per order", "f_k reads q_k", "one filter reads all q: the same for a convolution, but the norms and the order of "
               "the channels of the global filter mix them", "as the code", (("kind", "global"),), GNCONV),
    Difference("spectrum of another size", "not discussed", "resized bilinearly with aligned corners, in the forward and when weights are "
               "loaded; GFNet bicubically, when they are loaded only", "bilinearly in the forward; GFNetFilter refuses another size"),
    Difference("odd and even width", "not discussed", "maps of 2(w-1) and 2(w-1) + 1 columns have spectra of the same size, so the weights "
               "of one are used for the other as they are, where they mean another kernel", "as the code"),
    Difference("precision of the global filter", "not discussed", "its half is cast to float32, whatever the type of the network",
               "no cast: the type of x throughout"),
    Difference("columns of the spectrum that are their own mirror images", "not discussed", "left to the library's inverse transform, "
               "which is undefined for spectra that are not Hermitian there, and learnt ones are not",
               "the part that is not Hermitian drops out, as in NumPy"),
    Difference("layer scale", "not discussed", "gamma1 and gamma2 start at 1e-6; none if that start is 0 or less", "as the code",
               (("layer_scale_init_value", 0.0),)),
    Difference("figure 2, pseudo-code", "a name that does not exist, acknowledged by the authors", "right", "as the code"),
    Difference("width and order", "C_k = C/2^(n-1-k)", "rounds down where 2^(n-1) does not divide C, and fails in the forward",
               "an error that names the rule"),
    Difference("odd number of filtered channels", "not discussed", "fails in the forward of the global-local filter",
               "an error that names the rule", (("kind", "global"),), GNCONV),
    Difference("unknown arguments", "-", "HorNet swallows them; pretrained, in_22k, mask and dummy do nothing", "an error"),
    Difference("backbone without trained weights", "-", "the one for detection fails when it is built without a file of weights",
               "HorNetFeatures starts as HorNet does"),
    Difference("kernel of the local half", "3x3", "an argument in the segmentation code, but any other value fails", "3x3, no argument"),
    Difference("kernel of HorFPN", "not discussed", "the segmentation module's default is 3, its configurations say 7", "7x7",
               (("kernel_size", 3),), MODULE),
    Difference("last projection of HorFPN", "not discussed", "off by default, on in every configuration", "on",
               (("project_out", False),), MODULE),
    Difference("further levels of the pyramid", "not discussed", "every second pixel of the last level; the other way, convolutions, fails "
               "when it is built", "every second pixel; the convolutions work", (("extra", "on_input"), ("extra", "on_lateral"),
               ("extra", "on_output")), PYRAMID),
    Difference("ReLU before further levels", "not discussed", "an option, off", "off", (("relu_before_extra", True),), PYRAMID),
    Difference("smallest image", "not discussed", "less than 32 pixels fail in a convolution", "an error that says so"),
    Difference("defaults of the network", "depths 2, 3, 18, 2, orders 2 to 5", "the class has others, which no published model uses",
               "those of HorNet-T"),
    Difference("cost of a transform", "not discussed", "the counting tool takes channels for rows: log2 of C'·H, not of H·W; up to 0.15 % "
               "of the total", "transforms count as nothing; costs.count gives both"),
    Difference("parameters of the large models", "209, 211 and 216 M", "with heads of about 10,450 classes",
               "1000 classes: 195, 196 and 202 M", (("num_classes", 10_450),)),
    Difference("crop of UPerNet with HorNet-B GF", "-", "640 in the table, 512 in the configuration", "no crop is part of a model"),
    Difference("weight decay", "-", "for complex_weight, which has four axes, but not for gamma1, gamma2, norms and biases",
               "no optimiser is part of a model"),
)
