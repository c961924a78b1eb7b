"""Whether tunes can be read and their bars add up, how near they are to real ones, and how long the runs of notes are
that they repeat (music/lm).

    MAQUETTE_DATA=... python benchmarks/tunes.py               # trains first, on nottingham-sample
    MAQUETTE_DATA=... python benchmarks/tunes.py --run runs/m  # judges that run

First as `maquette evaluate` has it: tunes as the model writes them, beside held-out ones. Then as `maquette sample`
writes them, kept to what can be read: files that are read back, and bars that add up.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import _run
import maquette
from maquette.modalities.music.data import tune_of
from maquette.modalities.music.measures import traits


def main() -> None:
    parser = _run.parser(__doc__, "music/lm", "10m")
    parser.add_argument("-n", type=int, default=200, help="tunes that are made")
    args = parser.parse_args()
    source, n = _run.data("nottingham-sample"), 4 if args.smoke else args.n
    if args.run and not args.smoke:
        return judge(maquette.load(args.run), source, n)
    with tempfile.TemporaryDirectory() as folder:
        options = {"budget": args.budget, "settings": args.settings, "out": args.out or Path(folder) / "run"}
        judge(_run.train(args, args.recipe, source, **options), source, n)


def judge(run: maquette.Run, source: Path, n: int) -> None:
    """Prints the figures."""
    print(f"{_run.machine()}; trained for {_run.ended(run)['step']:,} steps, {_run.ended(run)['seconds']:.0f} s")
    for metric in run.evaluate(source, samples=n, quiet=True).metrics:
        floor = f", real {metric.show(metric.floor)}" if metric.floor is not None else ""
        print(f"{metric.title}: {metric.show(metric.value)}{floor}. {metric.reading}")
    samples, spec = run.sample(n, seed=1, quiet=True), run.spec.only()
    with tempfile.TemporaryDirectory() as folder:
        files = samples.save(folder, ".mid") + samples.save(folder, ".abc")
        read = sum(len(tune_of(path.read_bytes(), path.name).notes) > 0 for path in files) / len(files)
    found = traits([samples.only], spec.grid, spec.relative)
    print(f"as sampled: {found.valid.mean():.1%} readable, {read:.1%} of the files read back, "
          f"{found.sums.sum() / found.bars.sum():.1%} of the bars add up")  # fmt: skip


if __name__ == "__main__":
    _run.command(main)
