"""Replay of the recorded cases of DAS: sampling, deformable convolution, norms, the gate and its ablations, networks, heat maps."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from pyhybrid.conformance.case import Case, Config, NotUnderstood, Replayed
from pyhybrid.conformance.layers import replay_layer
from pyhybrid.explain import grad_cam
from pyhybrid.nn import DeformConv2d, GroupNorm, InstanceNorm2d, LayerNorm
from pyhybrid.ops import bilinear_sample, depthwise_separable_conv, gelu, grid_sample, sigmoid
from pyhybrid.papers.das.gate import VARIANTS, DASGate
from pyhybrid.papers.das.mobilenet import MobileNetV2
from pyhybrid.papers.das.resnet import ResNet
from pyhybrid.papers.das.salience import SCALES, sfd

__all__ = ["OPERATORS"]

Array = np.ndarray
Options = dict[str, Any]
FLAGS = ("modulated", "dw_bias", "pw_bias", "deform_bias", "inst_affine")
NORM_AXES = {"channel": "C per pixel", "global": "C,H,W per sample"}


def replay_bilinear_sample(case: Case) -> Replayed:
    config = case.config
    config.choice("coordinates", "absolute pixels", default="")
    config.choice("derivative", "right-sided at integers", default="")
    config.choice("padding", "zeros", default="")
    x = _maps(case)
    points = config.sizes("input_y") if "input_y" in config.values else None
    s, cache = bilinear_sample.forward(x, case.input("ys", points), case.input("xs", points))

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        return _inputs(bilinear_sample.backward(d["s"], cache)._asdict())

    return Replayed({"s": s}, backward, exact=True)


def replay_grid_sample(case: Case) -> Replayed:
    config = case.config
    for key, value in (("padding_mode", "zeros"), ("mode", "bilinear"), ("grid_last_axis", "(x,y)")):
        config.choice(key, value, default="")
    grid = case.input("grid", (config.whole("N"), config.whole("Ho"), config.whole("Wo"), 2))
    out, cache = grid_sample.forward(_maps(case), grid, align_corners=config.flag("align_corners"))
    return Replayed({"out": out}, lambda d: _inputs(grid_sample.backward(d["out"], cache)._asdict()), exact=True)


def _replay_deform(modulated: bool) -> Callable[[Case], Replayed]:
    """Version 2 has a mask, version 1 has none."""

    def replay(case: Case) -> Replayed:
        config = case.config
        config.choice("modulated", modulated, default=modulated)
        config.choice("offset_kind", "normal", "dyadic", "integer", "zero", default="")
        config.choice("kink", "right", default="")
        C = config.whole("in_channels")
        layer = DeformConv2d(
            C, config.whole("out_channels"), config.size("kernel_size"), config.size("stride"), _pair(config, "padding"),
            config.size("dilation"), config.whole("groups"), config.whole("offset_groups"), config.flag("bias"), dtype=case.dtype)
        x, offset = _maps(case, C), case.input("offset")
        mask = case.input("mask") if modulated else None
        layer.load_state_dict(case.params())
        out, cache = layer.forward(x, offset, mask)

        def backward(d: dict[str, Array]) -> dict[str, Array]:
            (dx, doffset, dmask), grads = layer.backward(d["out"], cache)
            return _inputs({"x": dx, "offset": doffset, "mask": dmask}) | {f"param.{name}": grad for name, grad in grads.items()}

        return Replayed({"out": out}, backward)

    return replay


def replay_separable(case: Case) -> Replayed:
    config = case.config
    C, O, k = config.whole("in_channels"), config.whole("out_channels"), config.whole("kernel_size")
    names = ["depthwise.weight", "pointwise.weight", "depthwise.bias", "pointwise.bias"]
    shapes: list[tuple[int, ...]] = [(C, 1, k, k), (O, C, 1, 1), (C,), (O,)]
    used = names if config.flag("bias") else names[:2]
    arrays = [case.param(name, shape) for name, shape in zip(used, shapes, strict=False)]
    out, cache = depthwise_separable_conv.forward(_maps(case, C), *arrays, padding=_pair(config, "padding"))

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        dx, *grads = depthwise_separable_conv.backward(d["out"], cache)
        return {"input.x": dx} | {f"param.{name}": grad for name, grad in zip(used, grads, strict=False)}

    return Replayed({"out": out}, backward, exact=True)


def replay_instance_norm(case: Case) -> Replayed:
    case.config.choice("track_running_stats", False, default=False)
    x = _maps(case)
    layer = InstanceNorm2d(x.shape[1], case.config.number("eps"), case.config.flag("affine"), dtype=case.dtype)
    return replay_layer(case, layer, x, output="out")


def replay_layer_norm(case: Case) -> Replayed:
    config = case.config
    kind = config.choice("kind", *NORM_AXES)
    config.choice("axes", NORM_AXES[kind], default="")
    x, eps = _maps(case), config.number("eps")
    layer = LayerNorm(x.shape[1], eps, 1, dtype=case.dtype) if kind == "channel" else GroupNorm(1, x.shape[1], eps, dtype=case.dtype)
    return replay_layer(case, layer, x, output="out")


def replay_activations(case: Case) -> Replayed:
    """Three functions of one x, whose gradients add up."""
    x = case.input("x", case.config.sizes())
    kinds: dict[str, tuple[ModuleType, Options]] = {
        "gelu": (gelu, {}), "gelu_tanh": (gelu, {"approximate": "tanh"}), "sigmoid": (sigmoid, {})}
    results = {name: operator.forward(x, **options) for name, (operator, options) in kinds.items()}

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        return {"input.x": sum(kinds[name][0].backward(dy, results[name][1]).x for name, dy in d.items())}

    return Replayed({name: y for name, (y, _) in results.items()}, backward)


def replay_gate(case: Case) -> Replayed:
    """The gate; the sizes of its kernels are those of its parameters, and the configuration must agree."""
    config = case.config
    C, k = config.whole("channels"), config.whole("kernel_size")
    options: Options = {key: config.flag(key) for key in FLAGS if key in config.values}
    options["ln"] = config.choice("ln", "channel", "global", default="channel")
    sizes = [case.arrays[f"param.{name}.weight"].shape[-1] if f"param.{name}.weight" in case.arrays else k
             for name in ("depthwise", "offset", "deform")]
    if k not in (sizes[0], sizes[2]):
        raise NotUnderstood(f"config kernel_size = {k} with kernels of {sizes[0]} and {sizes[2]} pixels")
    gate = DASGate(C, config.number("alpha"), sizes[2], dw_kernel=sizes[0], offset_kernel=sizes[1], **options, dtype=case.dtype)
    if "mid" in config.values and config.whole("mid") != gate.mid:
        raise NotUnderstood(f"config mid = {config.values['mid']}; int(alpha·channels) is {gate.mid}")
    return replay_layer(case, gate, _maps(case, C), output="out")


def replay_ablation(case: Case) -> Replayed:
    config = case.config
    variant, C = config.choice("variant", *VARIANTS), config.whole("channels")
    return replay_layer(case, DASGate(C, config.number("alpha"), variant=variant, dtype=case.dtype), _maps(case, C), output="out")


def _replay_resnet(block: str) -> Callable[[Case], Replayed]:
    def replay(case: Case) -> Replayed:
        return replay_layer(case, _resnet(case, block), _image(case), output="logits")

    return replay


def replay_mobilenet(case: Case) -> Replayed:
    config = case.config
    setting = config.items("setting")
    if not all(isinstance(row, list) and len(row) == 4 for row in setting):
        raise NotUnderstood("config setting must hold rows of four whole numbers")
    after, gate = config.sizes("after"), _gate_options(config)
    net = MobileNetV2(setting, config.whole("stem"), config.whole("last"), config.whole("num_classes"), after=after,
                      gate=gate if after else {}, in_channels=_image(case).shape[1], dtype=case.dtype)
    return replay_layer(case, net, _image(case), output="logits")


def replay_grad_cam(case: Case) -> Replayed:
    """Every step from the logits to the heat map, at the gates of the stages that are named."""
    config = case.config
    net = _resnet(case, {"resnet_basic": "basic", "resnet_bottleneck": "bottleneck"}[
        config.choice("model", "resnet_basic", "resnet_bottleneck")])
    config.choice("score", "logit before softmax", default="")
    config.choice("target", "output of gate das.L", default="")
    config.text("upsample")         # in words: bilinear, half-pixel centres
    config.text("normalise")        # min-max per image after upsampling, a constant map gives zeros
    x, classes = _image(case), config.sizes("classes")
    replayed = replay_layer(case, net, x, output="logits")
    outputs = dict(replayed.outputs)
    for stage in config.sizes("cam_stages"):
        found = grad_cam(net, x, f"das.{stage}", classes)._asdict() | {"map": None}
        found["map"] = found["heat"]
        for name in ("activation", "gradient", "weight", "linear", "cam", "upsampled", "map"):
            outputs[f"das{stage}.{name}"] = found[name]
    return replayed._replace(outputs=outputs, backward=None)


def replay_sfd(case: Case) -> Replayed:
    config = case.config
    config.choice("neglog", "-ln(max(1-w,1e-6))", default="")
    size, threshold = (config.whole("H"), config.whole("W")), config.number("threshold")
    heat, region = case.input("map", size), case.input("region", size)
    outputs: dict[str, Any] = {}
    for scale in SCALES:
        total, mean = (sfd(heat, region, threshold=threshold, scale=scale, reduce=reduce) for reduce in ("sum", "mean"))
        outputs |= {f"sfd_sum_{scale}": total.score, f"R_sum_{scale}": total.region, f"B_sum_{scale}": total.union,
                    f"sfd_mean_{scale}": mean.score}
    return Replayed({name: np.asarray(value) for name, value in outputs.items()} | {"salient": total.salient.astype(np.uint8)})


def _resnet(case: Case, block: str) -> ResNet:
    config = case.config
    cifar = config.flag("cifar") if "cifar" in config.values else False
    return ResNet(config.sizes("layers"), config.sizes("widths"), config.whole("stem"), block, config.whole("num_classes"), cifar=cifar,
                  gate=_gate_options(config), in_channels=_image(case).shape[1], dtype=case.dtype)


def _gate_options(config: Config) -> Options:
    """alpha, and what else of the gate the configuration of a network states."""
    options: Options = {key: config.flag(key) for key in FLAGS if key in config.values}
    if "ln" in config.values:
        options["ln"] = config.choice("ln", "channel", "global")
    return {"alpha": config.number("alpha"), **options}


def _image(case: Case) -> Array:
    """x (N, channels, H, W), the number of channels taken from the array."""
    given = case.arrays.get("input.x", np.empty((0, 0)))
    return _maps(case, given.shape[1] if given.ndim > 1 else 0)


def _maps(case: Case, channels: int | None = None) -> Array:
    """x (N, C, H, W) as the configuration says."""
    whole = case.config.whole
    return case.input("x", (whole("N"), whole("C") if channels is None else channels, whole("H"), whole("W")))


def _pair(config: Config, key: str) -> tuple[int, int]:
    """A whole number or a pair of them, 0 allowed."""
    if not isinstance(config.values.get(key), list):
        return (config.whole(key, 0),) * 2
    (pair,) = Config({key: [config.values[key]]}).pairs(key)
    config.sizes(key)
    return pair


def _inputs(grads: dict[str, Array | None]) -> dict[str, Array]:
    return {f"input.{name}": grad for name, grad in grads.items() if grad is not None}


OPERATORS = {
    "bilinear_sample": replay_bilinear_sample,
    "das_ablation": replay_ablation,
    "das_gate": replay_gate,
    "deform_conv2d_v1": _replay_deform(False),
    "deform_conv2d_v2": _replay_deform(True),
    "depthwise_separable_conv": replay_separable,
    "gelu_sigmoid": replay_activations,
    "grad_cam": replay_grad_cam,
    "grid_sample": replay_grid_sample,
    "instance_norm": replay_instance_norm,
    "layer_norm": replay_layer_norm,
    "mobilenet_v2_das": replay_mobilenet,
    "resnet_basic": _replay_resnet("basic"),
    "resnet_bottleneck": _replay_resnet("bottleneck"),
    "sfd": replay_sfd,
}
