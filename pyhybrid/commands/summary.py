"""`pyhybrid summary MODEL`: output shape, parameters and multiply-adds of every layer, and the totals beside the published figures.

Counted are the multiply-adds of convolutions and linear maps ("weights") and those between computed arrays, such as the scores and
weighted sums of attention and the gates of gnConv ("products"), for the whole batch. Not counted are other products of two numbers per
element, as in SMT's modulation and DAS's gate, additions, normalisations, activations, softmax, pooling and Fourier transforms. Nothing is
computed and no weights are drawn, so the largest model takes no longer than the smallest.
"""

from __future__ import annotations

import argparse
import json

from pyhybrid.commands import console
from pyhybrid.commands._options import need_positive
from pyhybrid.errors import UsageError

HELP = "count a model's parameters and multiply-adds, layer by layer"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name that `pyhybrid models` lists")
    parser.add_argument("--image-size", type=int, metavar="N", help="pixels on a side (default: the paper's)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    from pyhybrid.nn.summary import summarize
    from pyhybrid.papers import build, variant

    need_positive(options, "image_size", "batch")
    data = variant(options.model)
    size = options.image_size or (data.published.image_size if data.published else 224)
    try:
        model = build(options.model, image_size=size, seed=None)
        found = summarize(model, (options.batch, 3, size, size))
    except ValueError as refused:
        raise UsageError(f"{options.model} cannot take images of {size} pixels: {refused}") from refused
    if options.json:
        print(json.dumps({
            "model": options.model, "image_size": size, "batch": options.batch, "params": found.params, "macs": found.macs.total,
            "macs_weights": found.macs.weights, "macs_products": found.macs.products, "output": list(found.shape),
            "published": data.published._asdict() if data.published else None, "difference": data.difference, "released": data.released,
            "layers": [row._asdict() | {"shape": list(row.shape), "macs": row.macs.total} for row in found.rows]}))
        return 0
    table = [[row.name or "(itself)", row.kind, " x ".join(map(str, row.shape)), f"{row.params:,}" if row.params else "",
              _millions(row.macs.weights), _millions(row.macs.products)] for row in found.rows]
    print(console.table(["layer", "kind", "output", "params", "weights, M", "products, M"], table))
    print(f"\n{options.model}, {options.batch} x 3 x {size} x {size}")
    print(f"  parameters      {found.params:,}")
    print(f"  multiply-adds   {found.macs.weights / 1e9:.3f} G with weights + {found.macs.products / 1e9:.3f} G between computed values "
          f"= {found.macs.total / 1e9:.3f} G")
    if data.published:
        paper = data.published
        print(f"  published       {paper.params:g} M parameters, {paper.macs:g} G multiply-adds at {paper.image_size} pixels, one image")
    print(f"  {data.difference}")
    return 0


def _millions(macs: int) -> str:
    return f"{macs / 1e6:.2f}" if macs else ""
