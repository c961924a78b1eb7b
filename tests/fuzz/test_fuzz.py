"""A few tries of everything, in a process of its own: `make fuzz` makes hundreds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from fuzz.mutations import VALUES, mutated

HEADER = b'{"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}'.ljust(72)
CONTENT = {
    "a.json": b'{"a": {"b": [1, 2, "c"]}, "d": null}',
    "a.yaml": b"a: {b: [1, 2]}\nd: null\n",
    "a.jsonl": b'{"step": 1}\n{"step": 2}\n',
    "a.safetensors": len(HEADER).to_bytes(8, "little") + HEADER + bytes(16),
    "a.txt": b"words",
}


@pytest.mark.parametrize("name", CONTENT)
def test_mutations_are_made_again_from_their_seed_and_differ(name: str) -> None:
    made = [mutated(CONTENT[name], name, Random(seed)) for seed in range(100)]
    assert made == [mutated(CONTENT[name], name, Random(seed)) for seed in range(100)]
    assert len(set(made)) > 50


def test_each_value_stands_in_a_file_as_it_is() -> None:
    made = b"\n".join(mutated(CONTENT["a.json"], "a.json", Random(seed)) for seed in range(1000))
    assert sum(value.encode() in made for value in VALUES) > 0.9 * len(VALUES)


def test_no_damage_to_a_run_ends_in_a_fault_of_ours(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fuzz", "--tries", "2", "--runs", "digits", "--work", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
