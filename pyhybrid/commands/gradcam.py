"""`pyhybrid gradcam MODEL [IMAGE]`: where in the picture a layer speaks for a class, as a heat map over the picture (Grad-CAM).

The gradient of the class's logit runs backward, by hand-derived passes, down to the layer that is named; its mean over the pixels weighs
the maps of that layer, and what is positive of their sum is drawn. Without IMAGE it is the photograph of the tour, without --weights the
network is untrained. With --region, a picture that is not black on the object, the salient feature detection score of DAS is given.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from pyhybrid.commands import console
from pyhybrid.commands._options import make_folder, need_positive
from pyhybrid.errors import UsageError

HELP = "heat map of what speaks for a class, over a picture"
Array = np.ndarray
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)       # of ImageNet's pixels: what trained weights expect


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name that `pyhybrid models` lists")
    parser.add_argument("image", metavar="IMAGE", nargs="?", type=Path, help="a picture (default: the photograph of the tour)")
    parser.add_argument("--layer", action="append", metavar="NAME", help="dotted name, may be repeated (default: the last map)")
    parser.add_argument("--class", dest="target", type=int, metavar="N", help="class to explain (default: that of the largest logit)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="safetensors file (default: untrained weights)")
    parser.add_argument("--classes", type=int, default=1000, metavar="N", help="number of classes of the model (default 1000)")
    parser.add_argument("--image-size", type=int, default=224, metavar="N", help="pixels on a side (default 224)")
    parser.add_argument("--region", type=Path, metavar="MASK", help="picture of the object's mask, for the salient feature detection score")
    parser.add_argument("--out", type=Path, default=Path("gradcam-pictures"), help="folder for the pictures (default: gradcam-pictures)")
    parser.add_argument("--seed", type=int, default=0, help="of the untrained weights (default 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    from pyhybrid.explain import grad_cam, map_layers
    from pyhybrid.papers import build
    from pyhybrid.papers.das.salience import sfd
    from pyhybrid.pictures import heat, picture

    need_positive(options, "image_size", "classes")
    size = options.image_size
    try:
        model = build(options.model, image_size=size, num_classes=options.classes, seed=options.seed)
        layers = options.layer or map_layers(model, (1, 3, size, size))[-1:]
    except ValueError as refused:
        raise UsageError(f"{options.model} cannot take images of {size} pixels: {refused}") from refused
    if not layers:
        raise UsageError(f"no layer of {options.model} gives a map; name one with --layer")
    if options.target is not None and not 0 <= options.target < options.classes:
        raise UsageError(f"--class must be from 0 to {options.classes - 1}; got {options.target}")
    _load(model, options.weights)
    photo = picture(options.image, size)
    region = None if options.region is None else picture(options.region, size).max(1)[0] > 0
    x = ((photo - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))).astype(np.float32)
    make_folder(options.out)

    rows = []
    for layer in layers:
        found = grad_cam(model, x, layer, options.target)
        target = int(found.classes[0])
        path = options.out / f"{options.model}-{layer}-class{target}.png"
        title = f"{options.model}, layer {layer}, class {target}" + ("" if options.weights else "   (untrained weights)")
        heat(path, photo[0], found.heat[0], title=title, mask=region)
        row: dict[str, Any] = {"layer": layer, "class": target, "logit": float(found.logits[0, target]),
                               "map": list(found.cam.shape[1:]), "positive": float((found.linear[0] > 0).mean()), "picture": str(path)}
        if region is not None:
            row["sfd"] = sfd(found.heat[0].astype(np.float64).clip(0, 1), region).score
        rows.append(row)
    if options.json:
        print(json.dumps({"model": options.model, "weights": str(options.weights or "untrained"), "maps": rows}))
        return 0
    header = ["layer", "class", "logit", "map", "positive", *(["sfd"] if region is not None else []), "picture"]
    table = [[row["layer"], row["class"], f"{row['logit']:+.4g}", " x ".join(map(str, row["map"])), f"{row['positive']:.0%}",
              *([f"{row['sfd']:.3f}"] if region is not None else []), row["picture"]] for row in rows]
    print(console.table(header, table))
    print("\npositive: the part of the layer's map that speaks for the class; where nothing does, the picture stays without heat")
    if options.weights is None:
        print("untrained weights: the picture shows how the map is made, not what a trained network looks at")
    return 0


def _load(model: Any, weights: Path | None) -> None:
    from pyhybrid.interop import safetensors
    from pyhybrid.nn import StateDictError

    if weights is None:
        return
    try:
        safetensors.load(model, weights)
    except FileNotFoundError:
        raise UsageError(f"--weights: no such file: {weights}") from None
    except StateDictError as wrong:
        listed = str(wrong)
        raise UsageError(f"--weights {weights} does not fit: {listed if len(listed) < 500 else listed[:500] + ' …'}") from wrong
