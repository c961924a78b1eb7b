"""How the measures were tried: what each says of real items that were damaged in known ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maquette.core.section import Markup, Missing
from maquette.report.page import fragment
from maquette.report.view import RunView

TEMPLATE = """
<p class="intro">Before a measure may judge samples, it is tried on <em>real</em> {{ items }} that were damaged on
purpose, mildly and strongly. One that does not tell these from undamaged ones is set aside. Each cell: undamaged → mild →
strong; empty where a measure is not meant to see a damage. The undamaged {{ items }} are others than those behind
the floors, and mostly fewer, so that their numbers differ a little from the floors.{% if untried %} Not tried:
{{ untried|join("; ") }}.{% endif %}</p>
<div class="scroll"><table>
<thead><tr><th scope="col">Real {{ items }}</th>{% for damage in damages %}<th scope="col">{{ damage }}</th>{% endfor %}</tr></thead>
<tbody>
{% for title, cells in rows %}
<tr><th scope="row">{{ title }}</th>{% for cell in cells %}<td>{% if cell %}{% if cell.seen %}<b>✓</b> seen{% else %}<b>✗</b> not seen{% endif %}<br><span class="small">{{ cell.shown|join(" → ") }}</span>{% endif %}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
"""  # noqa: E501


@dataclass(frozen=True)
class Judge:
    """Section: a table of measures and damages."""

    id: str = "judge"
    title: str = "Can these measures see?"
    after: str = "metrics"

    def make(self, run: RunView) -> Markup | None:
        tried = run.details("damage")
        if isinstance(run.evaluation, Missing) or not tried:
            return None
        prefix = f"{run.column}: " if len(run.spec.target) > 1 else ""
        metrics = {metric.name: metric for metric in run.evaluation.metrics}
        damages = list(dict.fromkeys(row["damage"] for row in tried))
        by_measure: dict[str, dict[str, Any]] = {}
        for row in tried:
            metric = metrics.get(prefix + row["measure"])
            if metric is not None:
                values = [metric.show(row[key]) for key in ("undamaged", "mild", "strong")]
                by_measure.setdefault(metric.title, {})[row["damage"]] = {"seen": row["seen"], "shown": values}
        rows = [(title, [cells.get(damage) for damage in damages]) for title, cells in by_measure.items()]
        untried = [m.title for name, m in metrics.items() if name.startswith(prefix) and m.title not in by_measure]
        return Markup(fragment(TEMPLATE, items=run.nouns[1], damages=damages, rows=rows, untried=untried))


COLUMN_SECTIONS = (Judge(),)
