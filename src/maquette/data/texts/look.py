"""What there is to say of columns among which nobody has chosen: nothing is tokenized."""

from __future__ import annotations

import numpy as np

from maquette.core.errors import UserError
from maquette.core.find import find_modality
from maquette.core.recipe import DataConfig
from maquette.core.table import Column, Dataset, Table
from maquette.data.columns import Stored
from maquette.data.prepare import shares
from maquette.data.text import shown
from maquette.data.texts import choose
from maquette.data.texts.choose import Columns
from maquette.data.texts.items import HANDFUL, Items, content_of, digests_of, leave_out, sided
from maquette.data.texts.material import Fault, Material
from maquette.data.texts.split import Sides
from maquette.data.texts.summary import survey
from maquette.data.texts.windows import Places


def facts_alone(material: Material, config: DataConfig, name: str) -> Dataset:
    """A data set of label columns, whose summary describes every column of text."""
    columns = _columns(material)
    if material.pairs:
        faults = choose.unusable(columns, config, framed=False)
    else:
        texts = list(columns.texts.values())
        faults = {i: Fault("empty") for i in range(len(material)) if not any(values[i].strip() for values in texts)}
    leave_out(material, columns, faults, config.strict)
    if len(material) < HANDFUL or not columns.texts:
        listed = ", ".join(map(shown, [*material.columns, *material.labels])) or "none"
        raise UserError(
            f"There is no text to learn from in '{shown(name)}': {len(material):,} usable rows; columns: {listed}.",
            "Name a table with a column of text, or parallel files (train.en, train.de).",
        )
    items = sided(Items(material, columns, Sides.none(), False), config)
    sides = items.sides
    facts = survey(material, columns, digests_of(items, config), sides)
    facts |= {"source": shown(name), "from_cache": False, "seconds": {}}
    file, line = np.array(material.file, np.int32), np.array(material.line, np.int64)
    labels = {label: choose.classes(values) for label, values in columns.labels.items()}

    def table(rows: np.ndarray) -> Table:
        made: dict[str, Column] = {}
        for label, (names, codes) in labels.items():
            counts = np.bincount(codes[sides.train], minlength=len(names))
            made[label] = Stored(find_modality("label").Spec(classes=names, shares=shares(counts)), codes, rows)
        return Table(made, Places([shown(f) for f in material.files], file, line, rows))

    named = {stem: table(rows) for stem, rows in sides.named.items()}
    return Dataset(shown(name), content_of(items, ()), table(sides.train), table(sides.test), facts, named)


def _columns(material: Material) -> Columns:
    """Every column: few values that come again and again are classes, numbers are left aside."""
    texts = [name for name in material.text_columns if not choose.is_label(material.columns[name], name == "label")]
    return choose.choose(material, texts, (), None)
