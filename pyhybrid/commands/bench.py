"""`pyhybrid bench`: NumPy, the compiled kernels and, where installed, PyTorch on the same work in interleaved runs.

Printed are medians in milliseconds, behind a stroke the fastest run; how many times faster than each peer the compiled kernels are, by
medians and by fastest runs; and the share of the machine's limit that their fastest run reaches: the time that the arithmetic at the
measured multiply-add rate, or one pass over inputs and outputs at the measured memory rate, takes at the least, over the time that was
needed, which is over 100 % where arrays come from the cache. Where other programs share the machine's cores and caches, the fastest runs
are those that they disturbed least.

Peers that allocate large temporaries run faster with memory retained (MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_ set to 2**30
or so): the last line says whether this run had it.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from pyhybrid import backend
from pyhybrid.bench import measure, peers
from pyhybrid.bench.catalogue import WORKS, works
from pyhybrid.bench.work import STAGES, Work
from pyhybrid.commands import console
from pyhybrid.errors import UsageError

HELP = "measure NumPy, Rust and PyTorch against each other"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure (default: all): {', '.join(WORKS)}")
    parser.add_argument("--size", action="append", choices=list(STAGES), help="channels@height (default: all four); may be repeated")
    parser.add_argument("--batch", type=int, default=8, help="images in a batch (default 8)")
    parser.add_argument("--threads", type=int, nargs="+", help="numbers of threads (default: 1 and 2)")
    parser.add_argument("--seconds", type=float, default=0.3, help="least time per contender and row, or training steps (default 0.3)")
    parser.add_argument("--without-numpy", action="store_true", help="leave out the NumPy bodies, which take seconds at the largest size")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--training-step", metavar="MODEL", help="instead: seconds and peak memory of a training step of this network")
    parser.add_argument("--image-size", type=int, default=224, help="with --training-step: pixels on a side (default 224)")
    parser.add_argument("--memory", type=float, metavar="GB", help="with --training-step: address space that each process may use")


def contenders(work: Work, backward: bool, with_numpy: bool) -> dict[str, Any]:
    """Functions of no argument that do the work once: forward, or forward and backward."""
    dy = work.cotangent()

    def on(name: str) -> Any:
        def run() -> object:
            with backend.use(name):
                y, cache = work.forward()
                return work.backward(dy, cache) if backward else y

        return run

    ours = {"rust": on("rust")} | ({"numpy": on("numpy")} if with_numpy else {})
    return ours | peers.torch_contenders(work, backward)


def rows(options: argparse.Namespace) -> tuple[dict[int, tuple[float, float]], list[dict[str, Any]]]:
    """The machine's limits and one record per operator, size, pass and number of threads."""
    counts = options.threads or [1, 2][: os.cpu_count() or 1]
    chosen = works(options.names, options.size or list(STAGES), options.batch)
    if not options.json:
        print("rust: median|least ms, share of the machine's limit; peers: median|least ms (times slower than rust, by medians|by"
              f" fastest runs); float32, batch {options.batch}")
    limits = measure.machine_limits(counts)
    records = []
    for work in chosen:
        for backward in (False, True):
            for count in counts:
                with measure.threads(count):
                    times = measure.interleaved(contenders(work, backward, not options.without_numpy), options.seconds)
                floor = work.floor(*limits[count], backward)
                records.append({"name": work.name, "size": work.size, "pass": "fwd+bwd" if backward else "fwd", "threads": count,
                                "ms": {who: 1e3 * t.median for who, t in times.items()},
                                "least_ms": {who: 1e3 * t.least for who, t in times.items()},
                                "ratio": {who: t.median / times["rust"].median for who, t in times.items() if who != "rust"},
                                "ratio_of_least": {who: t.least / times["rust"].least for who, t in times.items() if who != "rust"},
                                "share_of_limit": floor / times["rust"].least})
                if not options.json:
                    print(line(records[-1]), flush=True)
    return limits, records


def training_step(options: argparse.Namespace) -> int:
    """Every contender in a process of its own; the exit status says whether the compiled kernels could do it."""
    from pyhybrid.bench import training_step as steps

    contenders = [name for name in steps.contenders(options.training_step) if not (options.without_numpy and name == "numpy")]
    limit = None if options.memory is None else int(options.memory * 1e9)
    threads = (options.threads or [min(2, os.cpu_count() or 1)])[-1]
    found = []
    for contender in contenders:
        step = steps.measure(options.training_step, options.batch, options.image_size, contender, limit, threads, options.seconds)
        found.append(step)
        if not options.json:
            numbers = step.problem or f"{step.seconds:8.2f} s   least {step.least:6.2f} s   peak {step.peak / 1e9:6.2f} GB"
            print(f"{options.training_step}  batch {options.batch}  {threads} thr  {contender:<20} {numbers}", flush=True)
    if options.json:
        print(json.dumps([step._asdict() for step in found]))
    return 1 if found[0].problem else 0


def line(record: dict[str, Any]) -> str:
    """One record as a line of text."""
    median, least = record["ms"], record["least_ms"]
    others = "  ".join(f"{who} {median[who]:.2f}|{least[who]:.2f} ({ratio:.1f}x|{record['ratio_of_least'][who]:.1f}x)"
                       for who, ratio in record["ratio"].items())
    return (f"{record['name']:<24}{record['size']:<8}{record['pass']:<9}{record['threads']} thr  "
            f"rust {median['rust']:9.3f}|{least['rust']:.3f} ms {record['share_of_limit']:5.0%}  {others}")


def run(options: argparse.Namespace) -> int:
    backend.core()
    if options.batch < 1 or options.seconds <= 0 or any(count < 1 for count in options.threads or []):
        raise UsageError("--batch, --seconds and --threads must be positive")
    if options.training_step:
        return training_step(options)
    limits, records = rows(options)
    if options.json:
        machine = {str(count): {"flops": flops, "bytes_per_second": rate} for count, (flops, rate) in limits.items()}
        print(json.dumps({"limits": machine, "simd": backend.core().get_simd(), "rows": records}))
    else:
        retained = "yes" if os.environ.get("MALLOC_TRIM_THRESHOLD_") and os.environ.get("MALLOC_MMAP_THRESHOLD_") else "no"
        print(console.paint(f"memory retained between allocations: {retained}", "dim"))
        for count, (flops, rate) in limits.items():
            print(console.paint(f"limits at {count} threads: {flops / 1e9:.0f} GFLOP/s, {rate / 1e9:.1f} GB/s", "dim"))
    return 0
