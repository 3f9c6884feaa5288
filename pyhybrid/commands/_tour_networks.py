"""The tour's stop at whole networks: what the two stages cost, what the models count, and a gradient through all of one."""

from __future__ import annotations

import numpy as np

from pyhybrid.commands import console

__all__ = ["networks"]

Array = np.ndarray


def networks(photo: Array) -> bool:
    """Table 1, the released models beside the paper's figures, and the hand-derived gradient through a small ResNet-ACmix."""
    from pyhybrid.nn import summarize
    from pyhybrid.papers import VARIANTS, build
    from pyhybrid.papers.acmix import costs

    print("  table 1 of the paper by counting, multiply-adds per pixel in stage I and II:")
    print("\n".join(f"    {line}" for line in costs.table_text((64, 512)).splitlines()))
    rows = []
    for name in ("acmix_resnet26", "acmix_resnet50", "acmix_swin_t", "coatnet_0", "das_resnet50"):
        found, paper = summarize(build(name, seed=None), (1, 3, 224, 224)), VARIANTS[name].published
        assert paper is not None
        rows.append([name, f"{found.params:,}", f"{paper.params:g} M", f"{found.macs.total / 1e9:.3f} G", f"{paper.macs:g} G"])
    print(console.table(["model", "counted", "in the paper", "multiply-adds", "in the paper"], rows))
    print("  das_resnet50: the paper's figures leave out its deformable kernels (`pyhybrid summary das_resnet50`)")
    return _gradient_through_a_network(photo)


def _gradient_through_a_network(photo: Array) -> bool:
    from pyhybrid.papers.acmix import ResNet

    net = ResNet((1, 1), (4, 8), stem=8, k_att=3, head=2, num_classes=5, seed=0).train()
    x = photo[..., :48, :48] - photo.mean()
    x = np.concatenate([x, x[..., ::-1]])                       # batch statistics need more than one image
    rng = np.random.default_rng(0)
    dy, direction, h = rng.standard_normal((2, 5)), rng.standard_normal(x.shape), 2.0**-20
    _, cache = net.forward(x)
    dx, grads = net.backward(dy, cache)
    by_hand = float((dx * direction).sum())
    differed = float(((net.forward(x + h * direction)[0] - net.forward(x - h * direction)[0]) * dy).sum()) / (2 * h)
    error = abs(by_hand - differed) / abs(differed)
    print(f"  a ResNet-ACmix of two blocks on batch statistics, {len(grads)} parameter gradients by hand, no autograd;")
    print(f"  along a random change of the photograph: by hand {by_hand:+.8f}, central difference {differed:+.8f}, relative {error:.0e}")
    return error < 1e-6
