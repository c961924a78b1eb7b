"""What each scale of a recipe comes to, by items shown: the evidence for recipes/scales.yaml, and its curves.

    MAQUETTE_DATA=... python benchmarks/scales.py run image/flow --data mnist --scale S --shown 153600
    MAQUETTE_DATA=... python benchmarks/scales.py run text/lm --data tinyshakespeare/input.txt --scale M --shown 9000
    python benchmarks/scales.py fit            # benchmarks/scales.jsonl -> src/maquette/recipes/scales.yaml
    python benchmarks/scales.py show           # the runs, and what the curves say of each

A point is a run of its own, since schedules depend on how long a run is. Scores: MNIST by benchmarks/judge.py, other
pictures by the distance in own features, texts by nats per held-out character. `cpu_seconds` is of the whole run, so
the work of an item is told by the longest ones.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import _run
import _smoke
import judge
import maquette
from maquette.core import scales
from maquette.core.modality import part
from maquette.core.recipe import load_recipe
from maquette.core.scales import Curve, channels_of
from needs import measured

Array = np.ndarray[Any, np.dtype[np.float64]]

POINTS = Path(__file__).with_suffix(".jsonl")
CURVES = Path(scales.__file__).parents[1] / "recipes" / "scales.yaml"
WORDS = {  # what scores are, in a sentence
    "frechet_judge": "a Fréchet distance of {}",
    "frechet_own": "a Fréchet distance in own features of {}",
    "nats_per_character": "{} nats per character",
}
SLOPES = np.geomspace(0.2, 3.0, 60)
FLOORS = 1 - np.geomspace(1.0, 0.01, 60)  # of the best score that was measured


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Trains one point and measures it."""
    place = Path(os.environ["MAQUETTE_DATA"]) / args.data
    source = str(place) if args.data != "mnist" and place.exists() else args.data
    settings = [*args.settings, f"scale={args.scale}", "train.preview_every=1000000", "train.trackers=[]"]
    with tempfile.TemporaryDirectory() as folder:
        began, asked = time.process_time(), {"size": args.size} if args.size else {}
        steps = args.shown // (args.batch or load_recipe(args.recipe, [f"scale={args.scale}"]).train.batch_size)
        made = maquette.train(args.recipe, source, out=Path(folder) / "run", steps=steps, settings=settings, **asked)
        seconds = time.process_time() - began
        column = made.spec.only()
        if args.data == "mnist":
            score, measure = judge.frechet_to_test(made.sample(judge.SAMPLES, seed=0).only), "frechet_judge"
        else:
            score, measure = measured(made)[0], "nats_per_character" if column.kind == "text" else "frechet_own"
        return {
            "recipe": args.recipe, "scale": args.scale, "data": args.data, "extent": _extent(column),
            "channels": channels_of(column), "items": made.dataset().train.items,
            "shown": made.folder.last_line("items")["items"], "score": round(score, 4), "measure": measure,
            "cpu_seconds": round(seconds, 1), "machine": args.machine or _run.machine(),
        }  # fmt: skip


def _extent(column: Any) -> float:
    extent: float = part(column.kind, "extent", "options")(column)[0]
    return round(extent, 1)


def fitted(shown: Array, score: Array, b: float) -> tuple[float, float, float]:
    """(how wrong, floor, a) of what fits best with this slope, by squares of logarithms. One point tells no floor."""
    tries = []
    for floor in FLOORS * score.min() if len(shown) > 1 else [0.0]:
        logs = np.log(score - floor) + b * np.log(shown)
        wrong = np.log(floor + np.exp(logs.mean()) * shown**-b) - np.log(score)
        tries.append((float((wrong**2).sum()), float(floor), float(np.exp(logs.mean()))))
    return min(tries)


def fit(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Curves by recipe. Scales of a recipe on one data set share the slope: few points tell each of them its own."""
    by_recipe = defaultdict[str, list[dict[str, Any]]](list)
    groups = defaultdict[tuple[str, str, float], list[dict[str, Any]]](list)
    for point in points:
        groups[point["recipe"], point["data"], point["extent"]].append(point)
    for (recipe, data, extent), group in sorted(groups.items()):
        names = sorted({point["scale"] for point in group}, key=[*load_recipe(recipe).scales].index)
        mine = {name: sorted((p for p in group if p["scale"] == name), key=lambda p: p["shown"]) for name in names}
        of = {name: (_column(mine[name], "shown"), _column(mine[name], "score")) for name in names}
        # Where the points leave it open, near 1.
        b = min(SLOPES, key=lambda b: sum(fitted(*each, b)[0] for each in of.values()) + 1e-3 * math.log(b) ** 2)
        works = {name: work(mine[name]) for name in names}
        fits = {name: fitted(*of[name], b)[1:] for name in names}
        known = max(names, key=lambda name: len(mine[name]))
        for name in names:
            floor, a = fits[name]
            if len(mine[name]) == 1:  # as far from its floor as another scale is by then
                shown, score = (float(each[0]) for each in of[name])
                by = score / (fits[known][0] + fits[known][1] * shown**-b)
                floor, a = (by * number for number in fits[known])
            by_recipe[recipe].append({
                "scale": name, "data": data, "extent": extent, "channels": group[0]["channels"] or 1,
                "items": group[0]["items"], "least": int(of[name][0].min()), "most": int(of[name][0].max()),
                "floor": _digits(floor), "a": _digits(a), "b": _digits(b), "work": _digits(works[name]),
            })  # fmt: skip
    measure = {point["recipe"]: WORDS[point["measure"]] for point in points}
    return {recipe: {"measure": measure[recipe], "curves": rows} for recipe, rows in by_recipe.items()}


def work(points: Sequence[dict[str, Any]]) -> float:
    """Seconds of one core an item: of the longest run, which its beginning and end matter least to."""
    longest = max(points, key=lambda point: point["shown"])
    return float(longest["cpu_seconds"] / longest["shown"])


def _column(points: Sequence[dict[str, Any]], key: str) -> Array:
    return np.array([point[key] for point in points], dtype=float)


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def main() -> None:
    parser = _run.Parser(__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("run", help="train and measure one point")
    one.add_argument("recipe")
    one.add_argument("--data", required=True, help="mnist, or a path within MAQUETTE_DATA")
    one.add_argument("--scale", required=True)
    one.add_argument("--shown", type=int, required=True, help="items")
    one.add_argument("--size", type=int, help="pixels a side")
    one.add_argument("--batch", type=int, help="items a step, where the recipe counts tokens")
    one.add_argument("--machine", help="how to call this one")
    one.add_argument("settings", nargs="*", help="further settings of the recipe")
    verbs.add_parser("fit", help="write the curves")
    verbs.add_parser("show", help="print the runs beside the curves")
    args = parser.parse_args()
    if args.smoke and args.verb == "run":
        args.shown, args.batch, args.settings = 8, 4, [*args.settings, *_smoke.few(args.recipe)]
    if args.verb == "run":
        line = json.dumps(run(args))
        print(line)
        if args.smoke:
            return
        with POINTS.open("a") as file:
            file.write(line + "\n")
        return
    points = [json.loads(line) for line in POINTS.read_text().splitlines()]
    if args.verb == "fit":
        head = "".join(line for line in CURVES.read_text().splitlines(True) if line.startswith("#"))
        style: dict[str, Any] = {"sort_keys": False, "default_flow_style": None, "width": 1000, "allow_unicode": True}
        CURVES.write_text(head + yaml.safe_dump(fit(points), **style), encoding="utf-8")
        return
    curves = {(name, *_of(row)): Curve(**row) for name, entry in fit(points).items() for row in entry["curves"]}
    for p in sorted(points, key=lambda p: (p["recipe"], *_of(p), p["shown"])):
        curve = curves[p["recipe"], *_of(p)].score(p["shown"])
        print("{recipe:12} {data:14} {scale:3} {shown:9,} items {score:9.3f}".format(**p), f"(curve {curve:9.3f})",
              "{cpu_seconds:7.0f} s  {machine}".format(**p))  # fmt: skip


def _of(line: dict[str, Any]) -> tuple[str, float, str]:
    return line["data"], line["extent"], line["scale"]


if __name__ == "__main__":
    _run.command(main)
