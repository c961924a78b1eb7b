"""What is said of texts: facts for people and for the report. JSON-able, every name safe to print."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from maquette.data.prepare import KEPT
from maquette.data.text import shown
from maquette.data.texts import choose, vocabulary
from maquette.data.texts.choose import Columns
from maquette.data.texts.material import Material
from maquette.data.texts.split import Sides
from maquette.data.texts.store import PreparedTexts
from maquette.data.texts.vocabulary import Tokenizer
from maquette.data.texts.windows import overlap_of

LITTLE = 100_000  # characters to learn from, below which a model mostly repeats them
FEW_HELD_OUT = 100  # rows, below which what is measured on them says little
LITTLE_HELD_OUT = 5_000  # characters, likewise
UNKNOWN_SHARE = 1e-3  # of the held-out characters
TWINS_SHARE = 0.05
EXAMPLES = 3
EXAMPLE_CHARACTERS = 300


def survey(material: Material, columns: Columns, digests: np.ndarray, sides: Sides) -> dict[str, Any]:
    """Facts that need no tokens."""
    texts = {}
    train = sides.train.tolist()
    for name, values in columns.texts.items():
        sizes = [len(value) for value in values]
        texts[shown(name)] = {
            "kind": "text",
            "characters": sum(sizes),
            "train_characters": sum(sizes[i] for i in train),
            "distinct_characters": len(set().union(*(values[i] for i in train))),
            "lengths": _quantiles(sizes),
            "examples": [values[i][:EXAMPLE_CHARACTERS] for i in train[:EXAMPLES]],
        }
    counts, held = dict[str, dict[str, int]](), dict[str, dict[str, int]]()
    for name, labels in columns.labels.items():
        names, codes = choose.classes(labels)
        for made, items in ((counts, sides.train), (held, sides.test)):
            found = np.bincount(codes[items], minlength=len(names)).tolist()
            made[shown(name)] = dict(zip(names, found, strict=True))
    _, sizes_of_groups = np.unique(digests, return_counts=True)
    copies = int((sizes_of_groups - 1).sum())
    left_out = [{"name": shown(name), "reason": shown(reason)} for name, reason in material.left_out]
    documents = len(material) // (2 if sides.halves else 1)
    warnings = []
    if copies > TWINS_SHARE * len(digests) and len(digests) > 1:
        warnings.append(f"{copies:,} of {len(digests):,} texts are exact copies of others.")
    return {
        "kind": "text",
        "what": material.kind,
        "files": [shown(name) for name in (material.read or material.files)[:20]],
        "file_count": len(material.read or material.files),
        "encodings": dict(material.encodings),
        "found": documents + len(material.left_out),
        "used": documents,
        "left_out_count": len(left_out),
        "left_out": left_out[:KEPT],
        "left_out_reasons": dict(Counter(_kind(reason) for _, reason in material.left_out).most_common(10)),
        "ignored_count": len(material.ignored),
        "ignored": [shown(name) for name in material.ignored[:20]],
        "columns": texts,
        "unused": [shown(name) for name in columns.unused],
        "train": len(sides.train),
        "test": len(sides.test),
        "splits": {name: len(items) for name, items in sides.named.items()},
        "own_split": sides.own,
        "cut": sides.halves,
        "classes": counts,
        "test_classes": held,
        "duplicates": {
            "exact_groups": int((sizes_of_groups > 1).sum()), "exact_copies": copies,
            "dropped_from_train": len(sides.train_twins),
        },
        "warnings": warnings,
        "notes": [*material.notes, *choose.notes(columns, material), *sides.notes],
    }  # fmt: skip


def summarise(
    made: dict[str, Any], prepared: PreparedTexts, columns: Columns, sides: Sides, tokenizers: dict[str, Tokenizer],
    bare: dict[str, list[np.ndarray]],
) -> dict[str, Any]:  # fmt: skip
    """Adds what tokens tell to the facts of `survey`."""
    target = next(iter(columns.texts))
    warnings: list[str] = made["warnings"]
    if not prepared.context:
        made["used"] = sum(len(tokens) > 0 for tokens in bare[target])
        made["found"] = made["used"] + made["left_out_count"]
    for name, items in bare.items():
        spec, texts = prepared.specs[name], columns.texts[name]
        kept = [i for i in range(len(items)) if len(items[i])]
        held = [texts[i] for i in sides.test.tolist()]
        strange = vocabulary.unknown(held, tokenizers[name])
        total, number = sum(map(len, held)), sum(strange.values())
        facts = made["columns"][shown(name)]
        facts |= {
            "tokens": sum(len(items[i]) for i in kept),
            "unit": spec.unit,
            "vocab": spec.vocab,
            "chars_per_token": round(spec.chars_per_token, 3),
            "lengths": _quantiles([len(items[i]) for i in kept]),
            "test_characters": total,
            "unknown": {"characters": number, "distinct": len(strange), "examples": [shown(c) for c in strange][:10]},
        }
        if number:
            some = ", ".join(f"'{shown(c)}'" for c in list(strange)[:5]) + (" and others" if len(strange) > 5 else "")
            which = "character" if number == 1 else "characters"
            said = f"{number:,} held-out {which} of '{shown(name)}' unknown from training: {some}"
            many = number > UNKNOWN_SHARE * total
            (warnings if many else made["notes"]).append(
                said + ("; data.text.tokenizer=bpe knows all." if many else ".")
            )
    characters = made["columns"][shown(target)]["train_characters"]
    if characters < LITTLE:
        warnings.append(
            f"There are {characters:,} characters to learn from: with fewer than {LITTLE:,}, a model mostly repeats "
            "what it read."
        )
    held_out = made["columns"][shown(target)]["test_characters"]
    if prepared.context:
        if held_out < LITTLE_HELD_OUT:
            warnings.append(f"Only {held_out:,} characters are held out: what is measured on them is uncertain.")
    elif len(sides.test) < FEW_HELD_OUT:
        warnings.append(f"Only {len(sides.test):,} texts are held out: what is measured on them is uncertain.")
    long = made["left_out_reasons"].get(_kind("1 tokens, more than"), 0)
    if long > 0.1 * made["found"]:
        warnings.append(
            f"{long:,} of {made['found']:,} rows are too long and left out: data.text.longest can be raised."
        )
    form = "windows of one long text" if prepared.context else "each text for itself"
    made |= {
        "target": target,
        "source_column": columns.source,
        "form": form,
        "context": prepared.context,
        "overlap": overlap_of(prepared.context) if prepared.context else 1,
        "test_characters": held_out,
        "train_characters": characters,
    }
    return made


def _quantiles(sizes: list[int]) -> dict[str, float]:
    """Median, 95 % and longest."""
    if not sizes:
        return {"median": 0, "p95": 0, "longest": 0}
    return {
        "median": float(np.median(sizes)), "p95": float(np.quantile(sizes, 0.95)), "longest": int(max(sizes)),
    }  # fmt: skip


def _kind(reason: str) -> str:
    """A reason without its numbers and names, by which reasons are counted."""
    if "more than data.text.longest" in reason or "tokens, more than" in reason:
        return "longer than data.text.longest"
    words = reason.partition(":")[0].split("'")
    return "".join(words[::2]).strip() if len(words) > 1 else words[0]
