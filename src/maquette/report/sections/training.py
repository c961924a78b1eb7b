"""How training went: what was logged, and the alarms that it raised."""

from __future__ import annotations

from dataclasses import dataclass

from maquette.core.modality import part
from maquette.core.section import Markup
from maquette.core.watches import WATCHES, too_short_for
from maquette.report.charts import chart_id, curve_charts
from maquette.report.figures import curves
from maquette.report.page import fragment
from maquette.report.view import RunView

CURVES = """
{% from "macros.html.j2" import chart %}
{% for words in log.notes %}<p class="warning">{{ words }}</p>
{% endfor %}
{% if log.phases %}
<p class="intro">What was logged, by phase. The line is the average over a stretch of training, the band its lowest and
highest value.{% if adversarial %} The losses of a GAN do not fall as it gets better: they show a balance.{% endif %}
{%- if log.alarms %} A dotted line marks an alarm.{% endif %}</p>
<noscript><p class="missing">These curves need JavaScript; the same are in <code>figures/curves.png</code>.</p></noscript>
<div class="phases">
{% for phase in log.phases %}
<div class="phase n{{ [phase.curves|length, 3]|min }}"><h3>{{ phase.title }}</h3>
{% for curve in phase.curves %}{{ chart(ids[curve.key], curve.key, curve.note) }}{% endfor %}
</div>
{% endfor %}
</div>
{% else %}
<p class="missing">The log is empty: there are no curves to draw.</p>
{% endif %}
"""  # noqa: E501

ALARMS = """
{% if alarms %}
<ul class="alarms">
{% for alarm in alarms %}
<li><h3>{{ alarm.name }}</h3>{% if alarm.step is not none %}<span class="small">at step {{ alarm.step|count }}</span>{% endif %}
{% if alarm.saw %}<p><b>Seen</b> {{ alarm.saw }}</p>{% endif %}{% if alarm.advice %}<p><b>Try</b> {{ alarm.advice }}</p>{% endif %}</li>
{% endfor %}
</ul>
{% else %}
<p>None. Maquette watches for non-finite losses, for jumps of the loss, for samples that become all alike (mode
collapse){% if watched %}, for {{ watched|join(", ") }}{% endif %}, and for what each family of models asks to be
watched.{% if silent %} This training was too short for {{ silent|join(", ") }}: it could not have raised them.{% endif %}</p>
{% endif %}
"""  # noqa: E501


@dataclass(frozen=True)
class Training:
    """Section: losses, rates and other values over the steps."""

    id: str = "training"
    title: str = "Training"
    after: str = "previews"

    def make(self, run: RunView) -> Markup:
        log = run.log
        ids = {curve.key: chart_id("curve", curve.key, i) for i, curve in enumerate(log.curves)}
        html = fragment(CURVES, log=log, ids=ids, adversarial=any(phase.name == "g" for phase in log.phases))
        figures = {"curves.png": lambda path: curves(log, path, run.about)} if log.curves else {}
        return Markup(html, charts=curve_charts(log), figures=figures)


@dataclass(frozen=True)
class Alarms:
    """Section: what was warned of while it learned."""

    id: str = "alarms"
    title: str = "Alarms"
    after: str = "training"

    def make(self, run: RunView) -> Markup:
        alarms = run.log.alarms
        kinds = dict.fromkeys(run.spec.columns[name].kind for name in run.spec.target)
        own = [watch for kind in kinds for watch in part(kind, "WATCHES", "watches") or ()]
        watches = (*run.generator.model.watches, *own, *WATCHES)
        lines, steps = run.folder.log(thinned=True), run.recipe.train.steps or 0
        silent = [watch.name for watch in too_short_for(watches, lines, steps)]
        points: tuple[tuple[str, str], ...] = ()
        if alarms:
            some = f"{len(alarms):,} alarm{'' if len(alarms) == 1 else 's'}"
            points = (("warn", f"Training raised {some}: {', '.join(alarm.name for alarm in alarms)}."),)
        elif silent:
            points = (("note", f"No alarm was raised, but the training was too short for: {', '.join(silent)}."),)
        elif run.log.steps:
            points = (("good", "Training raised no alarm."),)
        made = fragment(ALARMS, alarms=alarms, watched=[watch.name for watch in own], silent=silent)
        return Markup(made, points=points)


SECTIONS = (Training(), Alarms())
