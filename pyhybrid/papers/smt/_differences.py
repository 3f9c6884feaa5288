"""Where SMT's paper, its official code and a widely copied listing of the operator differ, and what we do."""

from __future__ import annotations

from pyhybrid.papers._card import Difference

__all__ = ["DIFFERENCES"]

BLOCK = "pyhybrid.papers.smt.SMTBlock"
NETWORK = "pyhybrid.papers.smt.SMT"

# The listing is the operator alone, as blogs have it: it shows the projections and the aggregation, and nothing of the network. The
# paper's equations are known here as others quote them: only the number (1) and what the abstract says are certain, so its side is marked
# where it decides something.
DIFFERENCES = (
    Difference("projections of the operator", "V = W_v X and Mod = SAA(MHMC(W_s X)); Z = Mod * V is the end",
               "v, s, and a linear map proj with a bias after the product", "as the code", (("project_out", False),),
               listing="v and s, and it ends with Z: official weights lose proj"),
    Difference("biases of the operator", "none in the equations",
               "v and s have one if qkv_bias, which every model sets", "a bias", (("qkv_bias", False),),
               listing="reads qkv_bias without taking it, and fails"),
    Difference("order of the aggregation", "W_inter of W_intra of the groups",
               "proj0, batch norm, GELU, proj1", "as the code", listing="as the code"),
    Difference("what lies between W_intra and W_inter", "nothing: the equations, as others quote them, are linear",
               "batch norm and GELU", "as the code", (("norm_act", False),), listing="as the code"),
    Difference("narrowing after W_intra", "as others describe it, up and down within each group, then a 1x1 convolution across the groups",
               "up within each group; the way down is the dense convolution across the groups", "as the code",
               (("fusion", "grouped"),)),
    Difference("W_intra of different groups", "the equations, as others quote them, have no group index: one matrix for all",
               "one for each group", "as the code", (("shared", True),)),
    Difference("order of the channels", "group i holds map i of every head",
               "heads are contiguous channels; the groups come of stacking the heads behind the channel axis. proj1 returns to the "
               "ordinary order without an inverse permutation", "as the code, by the operator regroup"),
    Difference("kernel sizes", "3, 5, 7, 9 for four heads", "3, 5, 7, ... for any number; other ports begin with 1", "3, 5, 7, ...",
               (("kernel_sizes", (1, 3, 5, 7)),)),
    Difference("activations", "not discussed", "none on the value, the branch before the aggregation, or the modulator, which is neither "
               "bounded nor positive", "as the code"),
    Difference("batch norm within an attention-like operator", "not discussed",
               "training couples all pixels and images, evaluation none; the biases before it then have no gradient; a single value per "
               "channel is an error", "as the code"),
    Difference("convolution of attention's values", "not in the text read", "a depthwise 3x3 of v is added to what attention gathers",
               "as the code", (("local_conv", False),), BLOCK),
    Difference("convolution within the perceptron", "not in the text read",
               "GELU(h + DW3x3(h)): depthwise 3x3 with a skip inside the activation", "as the code", (("dwconv", False),), BLOCK),
    Difference("epsilon of the layer norms", "not stated", "1e-6 in blocks and after stages, 1e-5 in stem and patch embeddings",
               "as the code", (("norm_eps", 1e-5), ("embed_norm_eps", 1e-6)), NETWORK),
    Difference("layer scale", "not stated", "in the configuration files of L; its factory function leaves it off",
               "on in smt_l, off in the others", (("use_layerscale", True),), NETWORK),
    Difference("which blocks attend", "a modulation block and an attention block in turn",
               "fixed to stage 3 and to the parity of the block: even ones follow ca_attentions, odd ones attend",
               "the same as an explicit list of kinds; any other list is an option",
               (("mix", "half"), ("mix", "sam"), ("mix", "msa"), ("mix", ("SS", "SS", "SMMMSMMM", "M"))), NETWORK),
    Difference("depth of the last stage of L", "not stated", "3 before 15 July 2023, 4 since", "4", (("depths", (4, 6, 28, 3)),), NETWORK),
    Difference("padding of the stem", "not discussed", "3 for kernel 7 and 1 for every other, so that kernel 5 loses a row",
               "half the kernel, the same for the kernels in use", (("stem_padding", 3),), NETWORK),
    Difference("odd images", "not discussed", "the stem's second convolution drops the last row and column of an odd map: 33 x 45 pixels "
               "become 8 x 11; patch embeddings round up", "as the code"),
    Difference("stochastic depth", "not discussed", "two independent draws per block and sample, kept branches divided by the chance to "
               "stay; the rate grows linearly over all blocks", "as the code, or factors that the caller gives"),
    Difference("dropout", "not discussed",
               "after the weights of attention, after proj and twice in the perceptron; rate 0 in every configuration", "none"),
    Difference("qk_scale = 0", "not discussed", "means the default, d^(-1/2), like no value", "as the code"),
    Difference("FLOPs", "2.4, 4.7, 7.7, 17.6 and 51.6 G", "multiply-adds without those of attention's scores and sums",
               "both are counted, apart"),
    Difference("parameters of S", "21 M", "22.55 M, whatever the configuration in its history", "22,550,952"),
    Difference("name of attention's convolution", "-",
               "local_conv, for three days dw_conv, and still dw_conv in the detection and segmentation code",
               "local_conv; loading takes either"),
    Difference("loading", "-", "what does not fit is skipped with a line in the log",
               "all or nothing; what does not fit is listed. The official file has the parameters under the key model"),
    Difference("backbones of detection and segmentation", "-", "no layer scale, a stem of fixed width, the normed map of every stage",
               "SMT.intermediates gives the normed tokens of every stage; their files lack the head, and are refused"),
    Difference("input channels", "3", "in_chans is ignored", "any number", (("in_channels", 4),), NETWORK),
    Difference("number of stages", "4", "any other fails", "any number, with mix given as rows"),
    Difference("where the modulator is kept", "-", "on the module, with its graph: a trained model cannot be copied",
               "in the cache: `intermediates` of the layer reads it off; SMT.mixers gives every block's layer and cache"),
    Difference("other methods", "-", "reset_classifier fails, freeze_patch_emb freezes nothing, no_weight_decay names what does not exist",
               "none of them"),
    Difference("start of the weights", "not stated",
               "matrices from a truncated normal of 0.02, kernels from N(0, 2/fan_out), biases 0, layer scale 1e-4", "as the code"),
)
