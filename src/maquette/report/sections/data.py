"""The data: what it is, its classes, and what of it could not be used."""

from __future__ import annotations

from dataclasses import dataclass

from maquette.core.section import Markup, Missing
from maquette.evaluation.results import NONE
from maquette.report.facts import data_facts, source_name
from maquette.report.page import fragment
from maquette.report.view import RunView

TEMPLATE = """
<dl class="pairs"><dt>Source</dt><dd>{{ source }}</dd>
{% for fact in data.facts %}<dt>{{ fact.name }}</dt><dd>{{ fact.value }}{% if fact.note %} <span class="small">{{ fact.note }}</span>{% endif %}</dd>{% endfor %}
{% if data.fingerprint %}<dt>Fingerprint</dt><dd><code>{{ data.fingerprint }}</code></dd>{% endif %}</dl>
{% for note in data.notes %}<p class="small">{{ note }}</p>
{% endfor %}
{% for column, classes in data.classes.items() %}
{% set most = [classes|map(attribute=1)|max, 1]|max %}
<h3>{{ items|capitalize }} of each class{% if data.classes|length > 1 %} of {{ column }}{% endif %}</h3>
<table class="bars"><tbody>
{% for name, n in classes %}<tr><th scope="row" lang="{{ name|language }}">{{ name }}</th><td class="bar"><span style="width:{{ (100 * n / most)|round(1) }}%"></span></td><td class="r">{{ n|count }}</td></tr>
{% endfor %}
</tbody></table>
{% endfor %}
{% if data.left_out_count %}
<h3>Left out</h3>
<p class="small">{{ data.left_out_words }} could not be used{% if data.left_out and data.left_out_count > data.left_out|length %}; the first {{ data.left_out|length }}{% endif %}.</p>
{% if data.left_out %}
<details class="why"{{ " open" if data.left_out|length <= 8 else "" }}><summary>Which, and why</summary>
<div class="scroll"><table><thead><tr><th scope="col">Item</th><th scope="col">Reason</th></tr></thead><tbody>
{% for name, reason in data.left_out %}<tr><td><code>{{ name }}</code></td><td>{{ reason }}</td></tr>
{% endfor %}
</tbody></table></div></details>
{% endif %}
{% endif %}
"""  # noqa: E501


@dataclass(frozen=True)
class Data:
    """Section: what was learned from."""

    id: str = "data"
    title: str = "Data"
    after: str = "alarms"

    def make(self, run: RunView) -> Markup | Missing:
        data = data_facts(run.folder, run.spec, run.dataset, run.for_sharing)
        source = data.source or source_name(run.recipe.data.source or "") or NONE
        if not data.facts:
            why = "The run says nothing about its data, and the data was not at hand."
            return Missing(why, "maquette data inspect PATH")
        points: tuple[tuple[str, str], ...] = ()
        if data.left_out_count:
            where = "" if run.for_sharing else ", as listed below"
            points = (("note", f"{data.left_out_words} of the data could not be used{where}."),)
        return Markup(fragment(TEMPLATE, data=data, source=source, items=run.nouns[1]), points=points)


SECTIONS = (Data(),)
