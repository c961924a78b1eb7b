"""What a person should know when there are few pictures."""

from __future__ import annotations


def size_warnings(n_fake: int, n_real: int, n_floor: int, reserved: int, dim: int, own: bool) -> list[str]:
    """n_fake, n_real, n_floor: generated, held-out and training pictures compared; dim: of the features.

    reserved: training pictures that the feature network has not seen (see own_features.py)
    """
    found = []
    if n_real < 500:
        found.append(f"Only {n_real} held-out pictures: intervals are wide; read each number beside its floor.")
    if min(n_fake, n_real) <= dim:
        found.append(
            f"Fewer pictures ({min(n_fake, n_real)}) than features ({dim}): the Fréchet distance is mostly its "
            "own bias, which its floor shares. The kernel distance has none."
        )
    if n_floor < n_fake:
        found.append(
            f"The floors are measured on {n_floor} training pictures against {n_fake} generated ones, "
            "for want of more; a Fréchet floor is somewhat too high for it."
        )
    if own and n_floor > reserved * 1.25:
        found.append(
            f"{n_floor - reserved} of the {n_floor} pictures behind the floors also trained the feature network."
        )
    return found
