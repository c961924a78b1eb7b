"""The report of one run: finds the sections, has each made, and writes the page and the figures."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from maquette.core.files import explained, make_folder, write_text
from maquette.core.generator import Generator
from maquette.core.modality import part
from maquette.core.needs import undertrained
from maquette.core.progress import stage, track
from maquette.core.run import RunFolder
from maquette.core.section import Markup, Missing, Section
from maquette.core.spec import ClassSpec
from maquette.core.table import Dataset
from maquette.evaluation.results import NONE
from maquette.report import facts, sections
from maquette.report.facts import Fact
from maquette.report.log import read_log
from maquette.report.metrics import read_evaluation
from maquette.report.missing import attempt
from maquette.report.page import count, duration, file_size, finite, fragment, render
from maquette.report.view import Best, RunView

MISSING = '{% from "macros.html.j2" import missing %}{{ missing(part) }}'


@dataclass(frozen=True)
class Part:
    """A section as it stands on the page."""

    id: str
    title: str
    made: Markup = field(repr=False)

    @property
    def html(self) -> str:
        return self.made.html


def write_report(
    folder: RunFolder, generator: Generator, dataset: Dataset | None, *, seed: int = 0, best: Best | None = None,
    for_sharing: bool = False,
) -> Path:  # fmt: skip
    """One self-contained report.html, and the figures as PNG beside it.

    dataset: the data of the run where it can be read; None leaves out what needs it, and says so
    seed:    of all that is sampled for the report
    best:    of runs with a source: given tensors -> target tokens, as of `evaluation.evaluate`
    for_sharing: leaves out what shows items of the data (training or held out) and names of its files, and says so.
    """
    run = RunView(
        folder, folder.recipe(), generator, dataset, read_log(folder), read_evaluation(folder), seed, best, for_sharing
    )
    parts = make_parts(run)
    private = [part.title for part in parts if part.made.training_items]
    short = undertrained(folder)
    # Nothing that is measured of a run that has not learned yet is good news.
    points = [("note" if short else kind, words) if kind == "good" else (kind, words)
              for part in parts for kind, words in part.made.points]  # fmt: skip
    if for_sharing:
        parts = [part for part in parts if not part.made.training_items]
    page = render(
        "page.html.j2",
        title=folder.path.resolve().name,
        undertrained=short,
        recipe=run.recipe,
        facts=head(run),
        parts=parts,
        points=points,
        shows=private,
        for_sharing=for_sharing,
        charts=finite({id: chart for part in parts for id, chart in part.made.charts.items()}),
    )
    write_figures(folder, {name: draw for part in parts for name, draw in part.made.figures.items()})
    return write_text(folder.report_file, page)


def write_figures(folder: RunFolder, figures: dict[str, Callable[[Path], Any]]) -> None:
    """Each figure as a file of its name; what earlier reports drew and this one does not is taken away."""
    for old in make_folder(folder.figures).glob("*.png"):
        if old.name not in figures:
            with explained(old):
                old.unlink()
    for name, draw in track(figures.items(), "drawing figures"):
        draw(folder.figures / name)


# -- sections ----------------------------------------------------------------------------------------


def make_parts(run: RunView) -> list[Part]:
    """Every section that applies to the run, in the order of the page; one that cannot be made says why."""
    found, several = [], len(run.spec.target) > 1
    for section, column in track(in_order(find_sections(run)), "making the report", even=False):
        view = run.of(column)

        def make(section: Section = section, view: RunView = view) -> Any:
            return section.make(view)

        with stage(section.title):
            made = attempt(make)
        if isinstance(made, Missing):
            made = Markup(fragment(MISSING, part=Missing(facts.names_only(made.why), made.command)))
        if made is not None:
            title = f"{section.title} ({column})" if several and column else section.title
            found.append(Part(view.anchor(section.id), title, made))
    return found


def find_sections(run: RunView) -> list[tuple[Section, str]]:
    """(section, the target column that it is about, or ""): those of the targets' modalities, then the general ones."""
    found: list[tuple[Section, str]] = []
    for name in run.spec.target:
        found += [(section, name) for section in part(run.spec.columns[name].kind, "SECTIONS", "report") or ()]
    for module in sorted(m.name for m in pkgutil.iter_modules(sections.__path__)):
        general = importlib.import_module(f"{sections.__name__}.{module}")
        found += [(section, "") for section in getattr(general, "SECTIONS", ())]
        columns = getattr(general, "COLUMN_SECTIONS", ())
        found += [(section, name) for section in columns for name in run.spec.target]
    return found


def in_order(found: Sequence[tuple[Section, str]]) -> list[tuple[Section, str]]:
    """Each section after the one that it names; of several that name the same one, the first comes first.

    A section that names one that there is not comes last.
    """
    waiting, out = list(found), list[tuple[Section, str]]()

    def place(after: str) -> None:
        here = [entry for entry in waiting if entry[0].after == after]
        for entry in here:
            waiting.remove(entry)
        for name in dict.fromkeys(section.id for section, _ in here):
            out.extend(entry for entry in here if entry[0].id == name)
            place(name)

    place("")
    while waiting:
        place(waiting[0][0].after)
    return out


# -- the head ----------------------------------------------------------------------------------------


def head(run: RunView) -> Iterable[Fact]:
    """What the run is, in a few facts."""
    spec, log, data = run.spec, run.log, facts.data_facts(run.folder, run.spec, run.dataset)
    nets, weights = facts.networks(run.generator), run.folder.weights_file
    made = "; ".join(facts.shape_words(spec, name) for name in spec.target)
    classes = ", ".join(f"{n}, {c.num_classes} classes" for n, c in spec.givens(ClassSpec).items())
    others = ", ".join(name for name in spec.given if name not in spec.givens(ClassSpec))
    given = "; ".join(filter(None, (f"by {classes}" if classes else "", f"from {others}" if others else "")))
    kept = f", {file_size(weights.stat().st_size)} to sample" if weights.is_file() else ""
    rate = f", {count(log.rate)} {facts.items_words(spec)}/s" if log.rate else ""
    learned = [f"{fact.name.lower()}: {fact.value}" for fact in data.facts if fact.name.startswith("Training ")]
    return (
        Fact("Makes", made, given or "unconditional"),
        Fact("Data", data.source or NONE, ", ".join(learned) or "not described"),
        Fact("Model", run.recipe.family, f"{count(sum(net.parameters for net in nets))} parameters{kept}"),
        Fact("Training", duration(log.seconds), f"{facts.steps_words(run.recipe, log.steps)}{rate}"),
        Fact("Trained", facts.date_words(facts.trained_at(run.folder, log)),
             f"reported {facts.date_words(datetime.now())}"),
    )  # fmt: skip
