"""How the samples came to be: previews of the training, from the first to the last."""

from __future__ import annotations

from dataclasses import dataclass

from maquette.core.modality import Unreadable
from maquette.core.section import Markup, Missing
from maquette.core.spec import TokenSpec
from maquette.report.page import fragment
from maquette.report.previews import animation_name, previews, stages
from maquette.report.show import hook
from maquette.report.view import RunView

TEMPLATE = """
<p class="intro">The same draws, again and again, while the model learns. {{ kept }} previews were kept.
{%- if drawn %} They are drawn token by token at temperature 1, so they read worse than what a search finds.{% endif %}
{%- if broken %} Left out, since {{ 'its file' if broken|length == 1 else 'their files' }} cannot be read: {{ broken|join(', ') }}.{% endif %}</p>
<div class="film{{ ' with-movie' if moving else '' }}">
{% if moving %}<figure class="movie">{{ moving }}</figure>{% endif %}
{% if stages %}
<ol class="stages">
{% for stage in stages %}<li><figure>{{ stage.html }}<figcaption>step {{ stage.step|count }}</figcaption></figure></li>
{% endfor %}
</ol>
{% endif %}
</div>
"""  # noqa: E501


@dataclass(frozen=True)
class Previews:
    """Section: what the model made while it learned."""

    id: str = "previews"
    title: str = "While it learned"
    after: str = "walks"

    def make(self, run: RunView) -> Markup | Missing:
        kept = previews(run.folder, run.spec, run.column)
        found = stages(run.folder, run.spec, run.column)
        broken = [f"the preview of step {stage.step:,}" for stage in found if stage.html is None]
        moving, film = hook(run.target.kind, "moving"), None
        try:
            film = moving(run.folder.samples, animation_name(run.spec, run.column)) if moving else None
        except Unreadable as error:
            broken.append(f"the animation ({error})")
        if not found and film is None:
            return Missing("No previews were kept.")
        found = [stage for stage in found if stage.html is not None]
        drawn = isinstance(run.target, TokenSpec) and bool(run.sources)
        html = fragment(TEMPLATE, kept=len(kept), stages=found, moving=film, drawn=drawn, broken=broken)
        return Markup(html, training_items=bool(run.sources))  # what each was made from stands above it


COLUMN_SECTIONS = (Previews(),)
