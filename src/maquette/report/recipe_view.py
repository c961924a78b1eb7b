"""A recipe's YAML with its keys, values and comments told apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

_LINE = re.compile(r"^(?P<indent>\s*(?:- )?)(?P<key>[\w./-]+)(?P<colon>:)(?P<value>.*)$")


def highlight(yaml: str) -> Markup:
    """Every piece of it is escaped; only the <span> around it is ours."""
    from markupsafe import Markup

    lines = []
    for line in yaml.splitlines():
        match = _LINE.match(line)
        if line.lstrip().startswith("#"):
            lines.append(Markup('<span class="c">{}</span>').format(line))
        elif match:
            value = match["value"]
            kind = "n" if re.fullmatch(r"\s*(-?[\d.]+(e[+-]?\d+)?|true|false|null)\s*", value) else "s"
            lines.append(
                Markup('{}<span class="k">{}</span>:<span class="{}">{}</span>').format(
                    match["indent"], match["key"], kind, value
                )
            )
        else:
            lines.append(Markup('<span class="s">{}</span>').format(line))
    return Markup("\n").join(lines)
