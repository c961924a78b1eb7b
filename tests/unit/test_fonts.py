"""Names of classes in any script, as they are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.core.about import About
from maquette.modalities import image
from maquette.report import fonts
from maquette.report.figures import figure

chinese = pytest.mark.skipif(bool(fonts.missing(["猫狗"])), reason="no font here has Chinese: maquette[fonts]")


def drawn(caption: str) -> np.ndarray:
    """What stands below a picture."""
    sheet = image.sheet(torch.zeros(1, 1, 64, 64), captions=[caption])
    return np.asarray(sheet)[67:]


@chinese
def test_captions_in_any_script_are_no_boxes(tmp_path: Path) -> None:
    cat, dog, box = drawn("猫"), drawn("狗"), drawn("𒀀")  # cuneiform, which hardly a font has
    assert not np.array_equal(cat, dog) and not np.array_equal(cat, box) and not np.array_equal(dog, box)
    assert not np.array_equal(drawn("cat 猫"), drawn("猫"))
    assert [piece for _, piece in fonts.pieces("ab猫狗 кот", fonts.fonts(["猫狗"]))] == ["ab", "猫狗", " кот"]


@chinese
def test_titles_of_figures_are_no_boxes(tmp_path: Path) -> None:
    made = []
    for name in ("猫", "狗", "𒀀"):
        with figure(tmp_path / "a.png", 1, 1, About()) as page:
            page.text(0.1, 0.5, f"a{name}")
        made.append(np.asarray(Image.open(tmp_path / "a.png")).tobytes())
    assert len(set(made)) == 3


def test_plain_names_look_for_no_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_others", lambda: pytest.fail("looked for fonts"))
    assert len(fonts.fonts(["cat", "Über", "кот", "قطة"])) == 1
    assert fonts.missing(["cat\n"]) == ""


def test_where_no_font_has_the_letters_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_others", lambda: iter(()))
    said = fonts.missing(["cat", "猫"])
    assert "such as 猫" in said and "maquette[fonts]" in said
    assert drawn("猫").any()


def test_a_font_that_draws_boxes_for_everything_is_none() -> None:
    from matplotlib import font_manager

    last: list[Any] = [font.fname for font in font_manager.fontManager.ttflist if "Last Resort" in font.name]
    assert all(not fonts._has(path) for path in last)
