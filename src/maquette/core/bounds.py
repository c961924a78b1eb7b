"""How much a recipe, or the specification of a run, may ask for: far more than a small model needs, and little enough
that nothing takes long before memory is asked for. Types of fields, so that they are checked before anything is built.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

WIDEST, DEEPEST, LONGEST = 2**16, 256, 2**16
MOST, VALUES, SIDE, VOCABULARY, CLASSES = 10**9, 2**26, 2**22, 2**21, 2**17

Share = Annotated[float, Field(ge=0, lt=1)]
Width = Annotated[int, Field(gt=0, le=WIDEST)]  # numbers side by side in a network
Widths = Annotated[tuple[Width, ...], Field(max_length=DEEPEST)]  # of layers one after the other
Depth = Annotated[int, Field(gt=0, le=DEEPEST)]  # layers one after the other
AnyDepth = Annotated[int, Field(ge=0, le=DEEPEST)]
Length = Annotated[int, Field(gt=0, le=LONGEST)]  # tokens one after the other; cells along a side
Count = Annotated[int, Field(gt=0, le=MOST)]  # steps, items, rows
AnyCount = Annotated[int, Field(ge=0, le=MOST)]
Few = Annotated[int, Field(gt=0, le=4096)]  # what is done, or shown, once for each
Seed = Annotated[int, Field(ge=0, lt=2**63)]
