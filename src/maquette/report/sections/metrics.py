"""What was measured: each number with its interval, beside what real data scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maquette.core.section import Markup, Missing
from maquette.evaluation.results import Evaluation, Metric
from maquette.evaluation.verdict import SENSES, level, told_apart
from maquette.report.figures import metrics_floor
from maquette.report.metrics import View
from maquette.report.page import fragment
from maquette.report.view import RunView

# What the summary on top says: the first of these that was measured, and each of those, by name.
QUALITY = ("frechet", "kernel", "bleu", "bits_per_char", "elbo", "iwae")
ALSO = ("class_accuracy", "copies", "form", "repetition", "copied_30", "copied_10")

TEMPLATE = """
{% from "macros.html.j2" import why, whisker %}
<p class="intro">Each number is measured on {{ settings.samples|count }} samples, beside
<strong>{{ settings.judged_on }}</strong>{% if settings.own_data %}, which were never used in training{% endif %}. The
dot is the model, the line through it the range (95&nbsp;% interval) in which the number would fall if it were measured
again. The <span class="key-floor">blue mark is the floor</span>: what <em>real</em> {{ items }} score against other
real {{ items }}. No generator can be asked to do better.</p>
<p><strong>{{ evaluation.verdict.words }}</strong></p>
{% for words in evaluation.warnings %}<p class="warning"><strong>Careful.</strong> {{ words }}</p>
{% endfor %}
<div class="metrics" role="table" aria-label="Metrics">
<div class="metric head" role="row"><span role="columnheader">Measure</span><span role="columnheader">This model</span><span role="columnheader">Where it lies</span><span role="columnheader">Real against real</span></div>
{% for row in views %}
{% set metric = row.metric %}
<div class="metric{% if metric.missed %} aside{% endif %}" role="row">
<div role="rowheader" class="what"><strong>{{ metric.title }}</strong>
<span class="better">{{ senses[metric.better] }}{% if row.features %} · {{ row.features }} features{% endif %}</span></div>
<div role="cell" class="value"><b>{{ metric.show(metric.value) }}</b>{% if metric.unit_text %} {{ metric.unit_text }}{% endif %}{% if metric.interval_text %}<span>{{ metric.interval_text }}</span>{% endif %}</div>
<div role="cell" class="where">{{ whisker(row.scale) }}<span class="ends"><span>{{ row.ends[0] }}</span><span>{{ row.ends[1] }}</span></span></div>
<div role="cell" class="base">{% if metric.floor is not none %}<b>{{ metric.show(metric.floor) }}</b>{% if row.standing %}<span>{{ row.standing }}</span>{% endif %}{% else %}<span>none</span>{% endif %}</div>
<p class="reading" role="cell">{{ metric.reading or metric.asks }}{% if metric.p_value is not none and not metric.reading %} (p = {{ metric.p_value|number(2) }}){% endif %}</p>
{% if metric.asks and metric.reading %}{{ why("What is this?", metric.asks) }}{% endif %}
</div>
{% endfor %}
</div>
{% for title, rows in classes %}
<h3>{{ title }}</h3>
<div class="scroll"><table>
<thead><tr><th scope="col">Class</th><th scope="col" class="r">Of the data</th><th scope="col" class="r">Of the samples</th><th scope="col" class="r" title="asked for the class, a classifier recognised it">Recognised</th><th scope="col" class="r" title="samples that lie among real {{ items }} of the class">Precision</th><th scope="col" class="r" title="real {{ items }} of the class with a sample nearby">Coverage</th></tr></thead>
<tbody>
{% for part in rows %}
<tr><th scope="row" lang="{{ part.label|language }}">{{ part.label }}</th>{% for share in ("real_share", "fake_share", "accuracy", "precision", "coverage") %}<td class="r">{{ part.get(share)|percent }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
<details class="why"><summary>How this was measured</summary>
<dl class="pairs">{% for note in evaluation.notes %}<dt>note</dt><dd>{{ note }}</dd>{% endfor %}{% for key, value in asked %}<dt>{{ key|replace("_", " ") }}</dt><dd>{{ value }}</dd>{% endfor %}</dl></details>
"""  # noqa: E501


@dataclass(frozen=True)
class Metrics:
    """Section: the measures, with intervals and floors."""

    id: str = "metrics"
    title: str = "How good is it?"
    after: str = "classes"

    def make(self, run: RunView) -> Markup:
        found = run.evaluation
        if isinstance(found, Missing):
            missing = '{% from "macros.html.j2" import missing %}{{ missing(part) }}'
            point = ("note", f"{found.why} Judge by eye, or run: {found.command}")
            return Markup(fragment(missing, part=found), points=(point,))
        items = found.settings.nouns[1]
        html = fragment(
            TEMPLATE,
            evaluation=found,
            settings=found.settings,
            items=items,
            senses=SENSES,
            views=[View.of(metric, items, told_apart(found.metrics)) for metric in sorted(found.metrics, key=_aside)],
            classes=_classes(found),
            asked=[(key, value) for key, value in _asked(found) if value not in (None, "", ())],
        )
        points = [_verdict(found), *(_sentence(metric, found) for metric in featured(found))]
        points += [("note", words) for words in found.warnings[:1]]
        figures = {"metrics.png": lambda path: metrics_floor(found.metrics, path, run.about)} if found.metrics else {}
        return Markup(html, points=tuple(points), figures=figures)


def _classes(found: Evaluation) -> list[tuple[str, list[dict[str, Any]]]]:
    """Tables by class: one, or one for each column that was judged."""
    tables = [(name, rows) for name, rows in found.details.items() if name.rpartition(": ")[2] == "per_class" and rows]
    return [
        (f"Class by class{' of ' + name.rpartition(': ')[0] if ': ' in name else ''}", rows) for name, rows in tables
    ]


def _asked(found: Evaluation) -> list[tuple[str, Any]]:
    settings = found.settings.model_copy(update={"source": found.settings.judged_on})
    return [
        (key, value if key == "seed" else _plain(value)) for key, value in settings if key not in ("nouns", "source")
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if isinstance(value, float) else value


def featured(found: Evaluation) -> list[Metric]:
    """Metrics for the summary: how good it is in one number, and whether it does what it is asked, and its own work."""
    out: list[Metric] = []
    by_column: dict[str, dict[str, Metric]] = {}
    for metric in found.shown:
        column, _, name = metric.name.rpartition(": ")
        by_column.setdefault(column, {})[name] = metric
    for known in by_column.values():
        first = next((name for name in QUALITY if name in known), next(iter(known)))
        copied = "copied_10" if "copied_30" in known else ""
        out += [known[name] for name in dict.fromkeys((first, *ALSO)) if name in known and name != copied]
    return out


def _aside(metric: Metric) -> bool:
    return bool(metric.missed)


def _verdict(found: Evaluation) -> tuple[str, str]:
    said = found.verdict
    return "good" if said.good else "warn" if said.level == "worse" else "note", said.words


def _sentence(metric: Metric, found: Evaluation) -> tuple[str, str]:
    name = metric.name.rpartition(": ")[2]
    where = f", on {found.settings.judged_on}" if name in QUALITY else ""  # said once
    words = f"{metric.title}{where}: {metric.show(metric.value)}"
    if metric.unit_text:
        words += f" {metric.unit_text}"
    if metric.interval_text and metric.low != metric.high:
        words += f" (between {metric.interval_text.replace(' to ', ' and ')})"
    if metric.floor is not None:
        words += f"; real {found.settings.nouns[1]} score {metric.show(metric.floor)}"
    # One measure that finds nothing is no good news where another one does.
    fine = level(metric) == "alike" and not told_apart(found.metrics)
    return "good" if fine else "note", f"{words}."


SECTIONS = (Metrics(),)
