"""One self-contained page: template, style, script and plotly.js in one file that asks nothing of a network."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup as Html

from maquette.core.shown import cleaned
from maquette.evaluation.results import NONE, number

if TYPE_CHECKING:
    from jinja2 import Environment

TIMES = "\N{MULTIPLICATION SIGN}"
_KANA = re.compile(r"[\u3040-\u30ff]")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LETTER = re.compile(r"[^\W\d_]")


@cache
def plotly_js() -> str:
    """plotly.js, safe inside a <script> element: the whole bundle, for the plotly package ships no smaller one."""
    source = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    # Within its strings, where alone they stand, the numbers of controls are the same controls to JavaScript.
    return cleaned(source.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def asset(name: str) -> str:
    """What stands in a file beside this one."""
    return (files("maquette.report") / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=number, duration=duration, count=count, size=file_size, language=language, percent=percent
    )
    return environment


def fragment(template: str, **values: Any) -> Html:
    """The body of a section, of a Jinja template. Everything in `values` is escaped but what is `Html` already.

    What several sections use is in macros.html.j2: {% from "macros.html.j2" import missing, why %}
    """
    return Html(_environment().from_string(template).render(**values).strip())


def render(template: str, **values: Any) -> str:
    """The page. Everything in `values` is escaped; only our own style and scripts are not.

    template: a file beside this one
    A content security policy lists the digests of the page's own scripts: a browser runs no other,
    and fetches nothing, even if some characters slipped through.
    """
    scripts = {"plotly": plotly_js() if values.get("charts") else "", "page": asset("page.js")}
    policy = " ".join(
        (
            "default-src 'none'; img-src data: blob:; media-src data:; style-src 'unsafe-inline'; base-uri 'none';",
            "form-action 'none'; script-src",
            *(_digest(script) for script in scripts.values() if script),
        )
    )
    page = _environment().get_template(template)
    return cleaned(page.render(policy=policy, style=asset("style.css"), scripts=scripts, **values))


def language(words: str) -> str:
    """For the attribute `lang` of characters from the data: the language where the script tells it; "" is unknown."""
    if _KANA.search(words):
        return "ja"
    return "zh" if len(_HAN.findall(words)) > 0.3 * max(len(_LETTER.findall(words)), 1) else ""


def finite(value: Any) -> Any:
    """The same structure with non-finite numbers as None: JSON has no NaN, and a chart shows a gap."""
    if isinstance(value, dict):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# -- how counts, times and sizes are written; numbers that were measured: results.number -------------


def count(value: int | float | None) -> str:
    """A number with separators between thousands; a dash where there is none."""
    return NONE if value is None else f"{round(value):,}"


def percent(share: float | None, digits: int = 1) -> str:
    """0.1234 -> 12.3 %, with a space at which no line breaks."""
    return NONE if share is None else f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def duration(seconds: float | None) -> str:
    """42 s · 9 min 58 s · 1 h 30 min."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def file_size(size_bytes: int | None) -> str:
    """Bytes in B, KiB, MiB or GiB; a dash where there is none."""
    if size_bytes is None:
        return NONE
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
