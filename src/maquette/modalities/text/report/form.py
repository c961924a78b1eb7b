"""Whether texts keep the form of their class, as the evaluation found."""

from __future__ import annotations

from dataclasses import dataclass

from maquette.core.section import Markup
from maquette.report.page import fragment
from maquette.report.view import RunView

TEMPLATE = """
<p class="intro">In this data a class has a layout: so many lines of so many characters.</p>
<div class="scroll"><table class="short"><thead><tr><th scope="col">Class</th><th scope="col">Form in the data</th><th scope="col" class="r">Samples</th><th scope="col" class="r">That keep it</th><th scope="col" class="r">Of real text</th></tr></thead><tbody>
{% for part in forms %}<tr><th scope="row" lang="{{ part.label|language }}">{{ part.label or "all" }}</th><td>{{ part.form }}</td><td class="r">{{ part.n_fake|count }}</td><td class="r">{{ part.kept|percent }}</td><td class="r">{{ part.real|percent }}</td></tr>
{% endfor %}
</tbody></table></div>
"""  # noqa: E501


@dataclass(frozen=True)
class Form:
    """Section: how samples of each class keep its form."""

    id: str = "form"
    title: str = "Form, class by class"
    after: str = "judge"

    def make(self, run: RunView) -> Markup | None:
        forms = run.details("forms")
        return Markup(fragment(TEMPLATE, forms=forms)) if forms else None
