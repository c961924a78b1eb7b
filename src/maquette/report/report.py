"""The report of one run: gathers the sections, writes the page and the figures."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from maquette.core.files import write_text
from maquette.core.generator import Generator
from maquette.core.model import Decodes, Encodes
from maquette.core.recipe import Recipe
from maquette.core.run import RunFolder
from maquette.core.table import Dataset
from maquette.evaluation.results import Evaluation
from maquette.modalities.text.measures.read import Write
from maquette.report import facts
from maquette.report.animation import read_animation
from maquette.report.charts import chart_id, curve_charts, scatter_chart
from maquette.report.figures import write_figures
from maquette.report.latents import LatentPlane, latent_plane, reconstruct, walk
from maquette.report.log import read_log
from maquette.report.metrics import SENSES, View, read_evaluation
from maquette.report.missing import Missing, attempt
from maquette.report.neighbours import evaluated_copies, find_neighbours
from maquette.report.page import finite, render
from maquette.report.pictures import picture_column
from maquette.report.recipe_view import highlight
from maquette.report.samples import Samples, make_samples
from maquette.report.summary import summarise
from maquette.report.text_parts import text_parts
from maquette.report.texts import text_column


def write_report(
    folder: RunFolder, generator: Generator, dataset: Dataset | None, *, seed: int = 0, write: Write | None = None
) -> Path:
    """One self-contained report.html, and the figures as PNG beside it.

    dataset: the data of the run where it can be read; None leaves out what needs it, and says so
    seed:    of every picture or text sampled for the report
    write:   of text with a source: given tensors -> target tokens, as of `evaluation.evaluate`
    """
    recipe = folder.recipe()
    column = picture_column(generator.spec)
    log, evaluation = read_log(folder), read_evaluation(folder)
    measured = evaluation if isinstance(evaluation, Evaluation) else None
    data = facts.data_of(folder, dataset)
    about_data = facts.data_facts(data, dataset, generator.spec)
    again = f"maquette report {folder.path}"
    source = recipe.data.source or (about_data.source if about_data else "")
    no_data = Missing(f"This needs the data ({source or 'unknown source'}), which was not at hand.", again)

    words = text_column(generator.spec)
    text = text_parts(folder, generator, words, dataset, seed, no_data, write) if words else None
    samples: Any
    if text is not None:
        samples = text.samples
    else:
        samples = attempt(lambda: make_samples(generator, column, seed)) if column else _no_pictures(generator)
    near: Any
    if text is not None:
        near = text.near
    elif column is None or not isinstance(samples, Samples):
        near = samples
    elif dataset is None:
        near = no_data
    else:
        near = attempt(lambda: find_neighbours(samples.items, dataset, column, seed))
    copies: Any = ()
    if column and dataset is not None and measured and measured.settings.fingerprint == dataset.fingerprint:
        copies = attempt(lambda: evaluated_copies(generator, measured, dataset, column))
    rebuilt, walks, plane = _latent_sections(generator, dataset, column, seed, no_data)

    things = "texts" if text else "pictures"
    charts = curve_charts(log)
    if isinstance(plane, LatentPlane) and plane.scatter:
        charts["latent-scatter"] = scatter_chart(plane.scatter, plane.reach)
    write_figures(folder, samples, log, measured, rebuilt, plane)
    page = render(
        "report.html.j2",
        title=folder.path.resolve().name,
        recipe=recipe,
        spec=generator.spec,
        shape=facts.shape_text(generator.spec, column or generator.spec.target[0]),
        trained=facts.date_text(facts.trained_at(folder, log)),
        now=facts.date_text(datetime.now()),
        nets=facts.networks(generator),
        weights_bytes=folder.weights_file.stat().st_size if folder.weights_file.is_file() else None,
        source=source,
        summary=summarise(evaluation, log, near, about_data.left_out_words if about_data else "", things),
        samples=samples,
        text=text,
        things=things,
        items=facts.items_name(generator.spec),
        animation=read_animation(folder),
        log=log,
        curve_ids={curve.key: chart_id("curve", curve.key, i) for i, curve in enumerate(log.curves)},
        neighbours=near,
        copies=copies,
        rebuilt=rebuilt,
        walks=walks,
        plane=plane,
        evaluation=evaluation,
        senses=SENSES,
        views=[View.of(metric, things) for metric in measured.metrics] if measured else [],
        data=about_data,
        recipe_text=highlight(_recipe_text(folder, recipe)),
        commands=facts.reproduce(folder, recipe, generator.spec, source),
        versions=facts.versions(),
        charts=finite(charts),
    )
    return write_text(folder.report_file, page)


def _no_pictures(generator: Generator) -> Missing:
    kinds = ", ".join(generator.spec.columns[name].kind for name in generator.spec.target)
    return Missing(f"This run makes {kinds}; the report can show pictures and texts only, so far.")


def _latent_sections(
    generator: Generator, dataset: Dataset | None, column: str | None, seed: int, no_data: Missing
) -> tuple[Any, Any, Any]:
    """Reconstructions, walks, plane; None for what the model has no ability for, so the page leaves it out."""
    model = generator.model
    if column is None or not isinstance(model, Decodes):
        return None, None, None
    rebuilt: Any = None
    if isinstance(model, Encodes):
        rebuilt = no_data if dataset is None else attempt(lambda: reconstruct(generator, model, dataset, column))
    walks = attempt(lambda: walk(generator, model, column, seed))
    plane = None
    if model.latent_dim == 2:
        plane = attempt(lambda: latent_plane(generator, model, dataset, column))
    return rebuilt, walks, plane


def _recipe_text(folder: RunFolder, recipe: Recipe) -> str:
    try:
        return folder.recipe_file.read_text(encoding="utf-8")
    except OSError:
        return recipe.dump()
