"""How the run was made, and how to make it again."""

from __future__ import annotations

from dataclasses import dataclass

from maquette.core.section import Markup
from maquette.report.facts import networks, quoted, recipe_words, source_name, versions
from maquette.report.page import fragment
from maquette.report.recipe_view import highlight
from maquette.report.usage import usage
from maquette.report.view import RunView

RECIPE = """
<p class="intro">Every setting of this run, defaults and the plan's choices written out. This is <code>recipe.yaml</code>.</p>
<pre class="yaml" tabindex="0">{{ recipe }}</pre>
<h3>Networks</h3>
<table class="short"><thead><tr><th scope="col">Network</th><th scope="col" class="r">Parameters</th><th scope="col">Kept for sampling</th></tr></thead><tbody>
{% for net in nets %}<tr><th scope="row">{{ net.name }}</th><td class="r">{{ net.parameters|count }}</td><td>{{ "yes" if net.kept else "no" }}</td></tr>
{% endfor %}
</tbody></table>
"""  # noqa: E501

AGAIN = """
<pre class="shell" tabindex="0"># in this run's folder: train it again, from the recipe with every choice written out
maquette train recipe.yaml --data {{ data }} -o again
# sample from this run
{{ sample }}
# measure it, and write this page anew
maquette evaluate . &amp;&amp; maquette report .</pre>
<p class="small">On the same machine with the same number of threads the run repeats exactly; elsewhere, the same up to rounding.</p>
<details class="why"><summary>Software</summary><dl class="pairs">{% for fact in versions %}<dt>{{ fact.name }}</dt><dd>{{ fact.value }}</dd>{% endfor %}</dl></details>
"""  # noqa: E501


@dataclass(frozen=True)
class RecipeSection:
    """Section: every setting of the run."""

    id: str = "recipe"
    title: str = "Recipe"
    after: str = "data"

    def make(self, run: RunView) -> Markup:
        words = highlight(recipe_words(run.folder, run.recipe))
        return Markup(fragment(RECIPE, recipe=words, nets=networks(run.generator)))


@dataclass(frozen=True)
class Again:
    """Section: the commands that make the run again."""

    id: str = "again"
    title: str = "Do it again"
    after: str = "recipe"

    def make(self, run: RunView) -> Markup:
        data = quoted(source_name(run.recipe.data.source or "") or "PATH")
        return Markup(fragment(AGAIN, data=data, sample=usage(run.spec).command, versions=versions()))


SECTIONS = (RecipeSection(), Again())
