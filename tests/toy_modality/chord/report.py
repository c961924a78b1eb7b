"""A section of the report about chords: how often each pitch class sounds."""

from __future__ import annotations

from dataclasses import dataclass

import chord

from maquette.core.section import Markup, Missing
from maquette.report.page import fragment
from maquette.report.view import RunView

NAMES = ("C", "C sharp", "D", "D sharp", "E", "F", "F sharp", "G", "G sharp", "A", "A sharp", "B")
TEMPLATE = """<p>Of {{ total }} pitches:</p>
<table>{% for name, n in rows %}<tr><th>{{ name }}</th><td>{{ n }}</td></tr>{% endfor %}</table>
"""


@dataclass(frozen=True)
class Keyboard:
    id: str = "keyboard"
    title: str = "Pitch classes"
    after: str = "samples"

    def make(self, run: RunView) -> Markup | Missing:
        sampled = run.sampled
        if isinstance(sampled, Missing):
            return sampled
        sounds = [pitch % 12 for item in sampled.target[run.column] for pitch in chord.pitches(item)]
        rows = [(name, sounds.count(i)) for i, name in enumerate(NAMES) if i in sounds]
        return Markup(fragment(TEMPLATE, rows=rows, total=len(sounds)))


SECTIONS = (Keyboard(),)
