"""What a person should know when there are few items."""

from __future__ import annotations


def size_warnings(
    nouns: tuple[str, str], n_fake: int, n_real: int, n_floor: int, reserved: int, dim: int, learned: bool
) -> list[str]:
    """n_fake, n_real, n_floor: generated, held-out and training items compared; dim: of the features.

    nouns: what one item, and several, are called
    reserved, learned: training items that the feature network has not seen, where it learned from them
    """
    items = nouns[1]
    found = []
    if n_real < 500:
        found.append(f"Only {n_real} held-out {items}: intervals are wide; read each number beside its floor.")
    if min(n_fake, n_real) <= dim:
        found.append(
            f"Fewer {items} ({min(n_fake, n_real)}) than features ({dim}): the Fréchet distance is mostly its "
            "own bias, which its floor shares. The kernel distance has none."
        )
    if n_floor < n_fake:
        found.append(
            f"The floors are measured on {n_floor:,} training {items} against {n_fake:,} generated ones, "
            "for want of more; a Fréchet floor is somewhat too high for it."
        )
    if learned and n_floor > reserved * 1.25:
        found.append(
            f"{n_floor - reserved:,} of the {n_floor:,} {items} behind the floors also trained the feature network."
        )
    return found
