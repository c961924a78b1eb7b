"""Texts on a page: as they were written, and as the previews of the training say them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from markupsafe import Markup as Html
from torch import Tensor

from maquette.core.files import write_text
from maquette.core.spec import ColumnSpec
from maquette.modalities.text.config import Spec
from maquette.modalities.text.tokens import RULE, apart, decode
from maquette.report.page import language
from maquette.report.show import NEAR, block

LONGEST = 1500  # characters of one text on the page
LEFT_OUT = "left out"  # in the place of a caption
PREVIEWED, FEW = 900, 4  # characters of a preview, and texts; one text at least
UNITS = {"char": "characters", "bpe": "byte-pair pieces", "unigram": "unigram pieces"}


def shape_words(spec: ColumnSpec) -> str:
    """E.g. `text up to 64 tokens, in characters`."""
    column = cast(Spec, spec)
    long = f"up to {column.shape[0]:,} tokens" if column.framed else "of any length"
    return f"text {long}, in {UNITS.get(column.unit, 'tokens')}"


def facts(spec: ColumnSpec) -> list[tuple[str, str, str]]:
    """(name, value, note): what the tokens are."""
    column = cast(Spec, spec)
    size = f"{column.vocab:,} {UNITS.get(column.unit, 'tokens')}"
    longest = column.shape[0] if column.framed else column.shape[0] - 1
    shape = f"up to {longest:,} tokens per text" if column.framed else f"windows of {longest:,} tokens"
    note = f"{column.chars_per_token:.2f} characters per token" if column.unit != "char" else ""
    return [("Tokens", f"{size}, {shape}", note)]


def tiles(items: Tensor, spec: ColumnSpec, captions: Sequence[str] = (), near: int = NEAR) -> list[Html]:
    """Each text under its caption. Letters are of one width where lines begin with spaces, as in code and tables."""
    texts = first_words(items, spec)
    layout = has_layout(texts)
    return [
        block(text, captions[i] if i < len(captions) else "", layout, language(text)) for i, text in enumerate(texts)
    ]


def first_words(items: Tensor, spec: ColumnSpec) -> list[str]:
    """Texts of i64[B, T], no longer than the page wants them."""
    return [cut(decode(item, spec)) for item in items]


def cut(text: str, longest: int = LONGEST) -> str:
    """A text no longer than the page wants it, without the line breaks around it."""
    text = text.strip("\n")
    return text if len(text) <= longest else text[:longest].rstrip() + " …"


def has_layout(texts: Sequence[str]) -> bool:
    """Whether lines begin with spaces as in code and tables, so that letters should be of one width."""
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return bool(lines) and sum(line[0] in " \t|+" for line in lines) > 0.2 * len(lines)


# -- previews ----------------------------------------------------------------------------------------


def previewed(path: Path, spec: ColumnSpec, says: str, captioned: bool = False, bare: bool = False) -> Html:
    """The first few texts of a preview. bare: without their captions."""
    blocks = [
        block(text, "" if bare else caption, False, language(text)) for caption, text in preview_texts(path, captioned)
    ]
    return Html('<div class="previewed">{}</div>').format(Html("").join(blocks))


def excerpt(path: Path, spec: ColumnSpec, captioned: bool = False, bare: bool = False) -> str:
    """The same as plain text, with a rule between them that no page is too narrow for."""
    texts = (
        f"[{caption}]\n{text}" if caption and not bare else text for caption, text in preview_texts(path, captioned)
    )
    return f"\n{'─' * 20}\n".join(texts)


def uncaption(path: Path) -> None:
    """Puts a mark in the place of each caption of a preview file: captions may be texts of the data."""
    texts = (text for _, text in apart(path.read_text(encoding="utf-8").removesuffix("\n"), True))
    write_text(path, f"\n{RULE}\n".join(f"[{LEFT_OUT}]\n{text}" for text in texts) + "\n")


def preview_texts(path: Path, captioned: bool) -> list[tuple[str, str]]:
    """(caption, text) of as many texts of a preview as the page has room for."""
    shown, size = list[tuple[str, str]](), 0
    for caption, text in apart(path.read_text(encoding="utf-8").removesuffix("\n"), captioned)[:FEW]:
        size += len(caption) + len(text)
        if shown and size > PREVIEWED:
            break
        shown.append((cut(caption, PREVIEWED), cut(text, PREVIEWED)))
    return shown
