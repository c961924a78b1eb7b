"""What is watched in previews of chords: that they are not silent."""

from __future__ import annotations

from typing import Any

import chord

from maquette.core.model import Watch

SILENCE = Watch(
    name="silence", key="preview/silent", above=0.9, after=0.5, saw="nearly all chords are empty", advice="more steps"
)
WATCHES = (SILENCE,)


def inspector(dataset: Any, spec: Any, column: str) -> Any:
    def inspect(model: Any, samples: dict[str, Any]) -> dict[str, float]:
        empty = [not chord.pitches(item) for item in samples[column]]
        return {SILENCE.key: sum(empty) / len(empty)}

    return inspect
