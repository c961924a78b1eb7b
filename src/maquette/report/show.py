"""How items of any kind are shown on a page: as their modality does it, or as plain characters.

A modality may have these functions, in its package or in its module `report`; without them a page still holds what
its `sheet` says:

    tiles(items, spec, captions, near) -> list[Html]   each item; near: wished width (CSS px) of what is small
    mosaic(items, spec, columns, says) -> Html         many items side by side as one thing; says: what it shows
    draw(axes, items, spec, columns)                   the same on Matplotlib axes, for the figures beside the report
    previewed(path, spec, says, captioned) -> Html     a preview file of the training, as `preview` wrote it
    excerpt(path, spec, captioned) -> str              the same as a few lines of characters, for the model card; both
                                                       take `bare=True`, without captions, if previews have captions
    uncaption(path)                                    takes the captions out of a preview file, which stays readable
    animate(files, path, about) -> Path | None         the previews of a training as one moving file
    moving(samples, stem) -> Html | None               that file within the folder of samples, on a page;
                                                       Unreadable where it is damaged
    shape_words(spec) -> str                           what one item is, e.g. "28 x 28 grey"
    facts(spec) -> list[(name, value, note)]           what else is to be said of the column
    AMOUNTS                                            how many items a page has room for
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup as Html
from torch import Tensor

from maquette.core.find import find_modality
from maquette.core.modality import noun, part
from maquette.core.spec import ColumnSpec

NEAR = 56  # CSS px


@dataclass(frozen=True)
class Amounts:
    """Items on a page: as they come; classes that have a row of their own, and items in it."""

    samples: int = 8
    classes: int = 12
    per_class: int = 3


def hook(kind: str, name: str) -> Any:
    """What a modality may have, by name; None where it has none."""
    return part(kind, name, "report")


def amounts(kind: str) -> Amounts:
    """How many items of a kind each part of a page shows."""
    return hook(kind, "AMOUNTS") or Amounts()


def tiles(items: Tensor, spec: ColumnSpec, captions: Sequence[str] = (), near: int = NEAR) -> list[Html]:
    """Canonical items [B, ...] as B pieces of a page, each under its caption, if there are captions."""
    made = hook(spec.kind, "tiles")
    if made is not None:
        return list(made(items, spec, captions, near))
    return [block(_in_characters(items[i : i + 1], spec), captions[i] if captions else "") for i in range(len(items))]


def _in_characters(item: Tensor, spec: ColumnSpec) -> str:
    sheet = getattr(find_modality(spec.kind), "sheet", None)
    shown = sheet(item, spec, ()) if sheet is not None else None
    return shown if isinstance(shown, str) else f"a {noun(spec.kind, 1)}, which has no form on a page"


def block(words: str, caption: str = "", layout: bool = False, language: str = "") -> Html:
    """Characters as one piece of a page. layout: lines and spaces are kept; language: as in the attribute `lang`."""
    head = Html("<figcaption>{}</figcaption>").format(caption) if caption else Html("")
    return Html('<figure class="block">{}<p class="{}" dir="auto" lang="{}">{}</p></figure>').format(
        head, "written layout" if layout else "written", language, words or "(empty)"
    )


def previewed(path: Path, spec: ColumnSpec, says: str, captioned: bool, bare: bool = False) -> Html | None:
    """A preview file as a piece of a page; None where there is no way to show it. OSError, ValueError: it is damaged.

    says: what it shows      captioned: whether its items were written under their captions
    bare: shows it without them
    """
    made = hook(spec.kind, "previewed")
    if made is not None:
        return Html(made(path, spec, says, captioned, **_bare(bare)))
    return block(excerpt(path, spec, captioned, bare)) if path.suffix == ".txt" else None


def _bare(bare: bool) -> dict[str, bool]:
    """The keyword of a modality whose previews have captions; others need not know of it."""
    return {"bare": True} if bare else {}


def excerpt(path: Path, spec: ColumnSpec, captioned: bool, bare: bool = False, longest: int = 1500) -> str:
    """The beginning of what a preview file of characters says. bare: without captions; ValueError: nobody can take them
    out."""
    made = hook(spec.kind, "excerpt")
    if made is not None:
        return str(made(path, spec, captioned, **_bare(bare)))
    if bare:
        raise ValueError(f"the captions of {noun(spec.kind)} cannot be told from what is below them")
    words = path.read_text(encoding="utf-8").strip("\n")
    return words if len(words) <= longest else words[:longest].rstrip() + " …"
