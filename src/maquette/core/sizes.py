"""Numbers of bytes as people write them: 20GB, 512MiB, 1.5G."""

from __future__ import annotations

import re

from maquette.core.errors import UserError

_UNITS = ("", "k", "m", "g", "t")


def as_bytes(said: str, what: str) -> int:
    """20GB -> 20,000,000,000; 4GiB -> 4 * 2**30; a number alone is bytes. what: names the setting in the UserError"""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?)(i?)b?", said.strip(), re.IGNORECASE | re.ASCII)
    if not found or (found[3] and not found[2]):
        raise UserError(f"{what} = '{said}' is no size.", "Write it like 20GB, 512MiB or a number of bytes.")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _UNITS.index(found[2].lower()))
