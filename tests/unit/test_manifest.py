"""What was damaged, exchanged or edited in a run is named before anything is made from it; what was killed is not."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import maquette
from maquette.cli.main import cli
from maquette.core.errors import UserError
from maquette.core.files import write_json
from maquette.core.generator import Generator
from maquette.core.manifest import FORMAT, Manifest
from maquette.core.run import RunFolder
from maquette.core.tensors import MOST, read_tensors, write_tensors
from maquette.engine import checkpoint, train
from maquette.engine.state import State
from toy_job import toy_job

FIXTURES = Path(__file__).parents[1] / "fixtures/run-format-1"
FLIPS = 120


@pytest.fixture(params=["grid", "tokens"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    """A run of each form, as this version leaves it."""
    folder = RunFolder(Path(shutil.copytree(FIXTURES / request.param, tmp_path / "run")))
    folder.record()
    return folder


@pytest.fixture
def trained(tmp_path: Path) -> RunFolder:
    """A run with two checkpoints."""
    train(toy_job(tmp_path / "run", steps=20, checkpoint_seconds=1e-6))
    return RunFolder(tmp_path / "run")


def flips(file: Path, times: int = FLIPS) -> Iterator[str]:
    """The file with one bit flipped, at many places; as it was in the end."""
    good, draws = file.read_bytes(), random.Random(0)
    for _ in range(times):
        at, bit = draws.randrange(len(good)), draws.randrange(8)
        file.write_bytes(good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :])
        yield f"{file.name}: byte {at}, bit {bit}"
    file.write_bytes(good)


def with_tensors(file: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = {name: value.clone() for name, value in read_tensors(file).items()}
    change(tensors)
    write_tensors(file, tensors)


# -- what a run is made from ---------------------------------------------------------------------------


def test_one_flipped_bit_is_named_wherever_it_is(folder: RunFolder) -> None:
    for file in (folder.weights_file, folder.spec_file, *folder.assets.glob("*")):
        for where in flips(file):
            with pytest.raises(UserError, match=file.name):
                Generator.load(folder, "cpu")
                pytest.fail(where)
    for where in flips(folder.data_file):
        with pytest.raises(UserError, match=r"data\.json"):
            folder.data()
            pytest.fail(where)
    assert Generator.load(folder, "cpu").sample(1)


def test_one_flipped_bit_in_the_manifest_is_named_or_does_no_harm(folder: RunFolder) -> None:
    for where in flips(folder.manifest_file):
        try:
            assert folder.manifest.listed(), where
            Generator.load(folder, "cpu")
        except UserError as error:
            assert "manifest.json" in str(error), where


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_no_numbers_are_refused_without_a_manifest_too(folder: RunFolder, value: float) -> None:
    folder.manifest_file.unlink()
    with_tensors(folder.weights_file, lambda tensors: next(iter(tensors.values())).view(-1)[-1:].fill_(value))
    with pytest.raises(UserError, match=r"weights.safetensors.* NaN or infinity \("):
        Generator.load(folder, "cpu")


@pytest.mark.parametrize(("change", "says"), [
    (lambda found: found.pop(next(iter(found))), "it lacks "),
    (lambda found: found.update({f"{next(iter(found))}2": torch.zeros(1)}), "it has no place for "),
    (lambda found: found.update({next(iter(found)): torch.zeros(5, 7)}), " is 5x7 instead of "),
    (lambda found: found.update({next(iter(found)): next(iter(found.values())) * 1j}), " is complex64 instead of "),
])  # fmt: skip
def test_weights_of_another_network_are_told_in_one_line(
    folder: RunFolder, change: Callable[[dict[str, torch.Tensor]], object], says: str
) -> None:
    with_tensors(folder.weights_file, change)
    folder.manifest.record([folder.weights_file])
    with pytest.raises(UserError) as error:
        Generator.load(folder, "cpu")
    assert "does not fit the recipe beside it: " in error.value.problem
    assert says in error.value.problem and "\n" not in error.value.problem


def header(words: str, body: bytes = b"") -> bytes:
    return len(words).to_bytes(8, "little") + words.encode() + body


@pytest.mark.parametrize("content", [
    b"", b"\x00" * 7, b"\xff" * 8, (2**40).to_bytes(8, "little") + b"{}", (200 * 2**20).to_bytes(8, "little") + b"{}",
    header("{"), header("[]"), header('"x"'), header("[" * 100_000),
    header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'),
    header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', bytes(4)),
    header('{"a":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,4]}}', bytes(4)),
    header(json.dumps({f"a{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(MOST + 1)})),
    header('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', bytes(4)),
    header('{"a":{"dtype":"Q77","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    header('{"a":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[0,4]}}', bytes(4)),
    header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}',
           bytes(6)),
    header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(9)),
])  # fmt: skip
def test_what_only_looks_like_tensors_is_refused_by_name(folder: RunFolder, content: bytes) -> None:
    folder.weights_file.write_bytes(content)
    folder.manifest_file.unlink()
    with pytest.raises(UserError, match=r"weights.safetensors' (is refused|does not fit)") as error:
        Generator.load(folder, "cpu")
    assert "\n" not in error.value.problem and len(error.value.problem) < 400


def test_a_file_that_is_not_listed_is_not_of_this_run(folder: RunFolder) -> None:
    listed = dict(folder.manifest.listed() or {})
    del listed["weights.safetensors"]
    write_json(folder.manifest_file, {"format": FORMAT, "files": listed})
    with pytest.raises(UserError, match=r"weights.safetensors' is not listed in manifest.json"):
        Generator.load(folder, "cpu")


@pytest.mark.parametrize("content", [
    "", "{", "[]", "7", '"x"', "null", "[" * 10_000, '{"format": 1}', '{"format": 1, "files": []}',
    '{"format": true, "files": {"spec.json": 7}}', '{"format": 1, "files": {"spec.json": "abc"}}',
    '{"format": 1, "files": {"../../etc/passwd": ["x"]}}', '{"format": 1, "files": {"/dev/zero": ["x"]}}',
    '{"format": 1, "files": {"C:\\\\x": ["x"]}}', '{"format": 1, "files": {"": ["x"]}}',
    '{"format": "1", "files": {}}', '{"format": 1, "files": {}, "files": {}}',
    '{"format": 1, "files": {}}' + " " * 2**20,
])  # fmt: skip
def test_a_damaged_manifest_is_named(folder: RunFolder, content: str) -> None:
    folder.manifest_file.write_text(content)
    with pytest.raises(UserError, match=r"manifest.json' is (damaged|not to be read)"):
        folder.spec()


def test_a_manifest_of_a_later_format_is_refused_by_its_number(folder: RunFolder) -> None:
    folder.manifest_file.write_text('{"format": 2, "files": {}}')
    with pytest.raises(UserError, match="format 2"):
        folder.spec()


def test_an_edited_recipe_is_told_of_and_used_and_listed_by_who_goes_on(folder: RunFolder) -> None:
    said: list[str] = []
    Generator.load(folder, "cpu", said.append)
    assert said == []
    folder.recipe_file.write_text(folder.recipe_file.read_text() + "# mine\n")
    Generator.load(folder, "cpu", said.append)
    assert len(said) == 1 and "recipe.yaml' was changed" in said[0]
    folder.record()
    assert folder.remarks() == [] and folder.recipe_file.read_text().endswith("# mine\n")


def test_a_run_without_a_manifest_is_told_of_and_gets_one_when_it_is_written_to(folder: RunFolder) -> None:
    folder.manifest_file.unlink()
    said: list[str] = []
    Generator.load(folder, "cpu", said.append)
    assert len(said) == 1 and "no manifest.json" in said[0]
    folder.write_metrics({"metrics": []})
    assert folder.remarks() == [] and set(folder.manifest.listed() or {}) >= {"metrics.json", "weights.safetensors"}
    assert Generator.load(folder, "cpu").sample(1)


def test_line_ends_of_a_copy_do_not_matter(folder: RunFolder) -> None:
    before = folder.spec()
    for file in (*folder.path.glob("*.json"), folder.recipe_file, *folder.assets.glob("*")):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert folder.remarks() == [] and folder.spec() == before and folder.data()
    assert Generator.load(folder, "cpu").sample(1)


def test_a_run_that_was_received_can_be_checked(folder: RunFolder) -> None:
    def checked() -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["runs", "check", str(folder.path)], env={"COLUMNS": "200"})
        return getattr(done.exception, "exit_code", done.exit_code), done.output

    code, said = checked()
    assert code == 0 and "is as it was written" in said and "checkpoints/step-00000006" in said
    (folder.path / "setup.py").write_text("")
    (folder.assets / "more.json").parent.mkdir(exist_ok=True)
    (folder.assets / "more.json").write_text("{}")
    assert checked()[0] == 0 and "setup.py" in checked()[1] and "assets/more.json" in checked()[1]
    folder.data_file.unlink()
    folder.recipe_file.write_text(folder.recipe_file.read_text() + "# mine\n")
    with_tensors(folder.weights_file, lambda tensors: next(iter(tensors.values())).view(-1)[:1].fill_(torch.nan))
    folder.manifest.record([folder.weights_file])
    (folder.checkpoints / "step-00000006/state.json").write_text("{}")
    code, said = checked()
    rows = [[cell.strip() for cell in line.split("│")] for line in said.splitlines() if "│" in line]
    states = {row[1]: row[2].partition(":")[0] for row in rows}
    assert code == 2 and states["data.json"] == "missing" and states["recipe.yaml"] == "changed"
    assert states["weights.safetensors"] == "refused" and states["checkpoints/step-00000006"] == "damaged"
    folder.manifest_file.unlink()
    assert checked()[0] == 2


# -- writing, killed and beside others ------------------------------------------------------------------


class Killed(BaseException):
    """Stands for kill -9: nothing that comes after it happens."""


def test_whenever_it_is_killed_what_lies_there_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws, replace = random.Random(0), Path.replace
    renames, before = 0, False  # it is killed at so many of them, before or after the last is done

    def killing(path: Path, to: Path) -> Path:
        nonlocal renames
        renames -= 1
        if renames == 0 and before:
            raise Killed
        found = replace(path, to)
        if renames == 0:
            raise Killed
        return found

    monkeypatch.setattr(Path, "replace", killing)
    manifest, names, wrote = Manifest(tmp_path), ("weights.safetensors", "recipe.yaml"), dict[str, set[bytes]]()
    for _ in range(150):
        name, content = draws.choice(names), str(draws.randrange(9)).encode()
        renames, before = draws.choice((1, 2, 3, 99)), draws.random() < 0.5
        wrote.setdefault(name, set()).add(content)
        with contextlib.suppress(Killed):
            manifest.write(tmp_path / name, content)
        for one in filter(Path.exists, (tmp_path / name for name in names)):
            assert manifest.standing(one) == "whole" and one.read_bytes() in wrote[one.name]
    assert all(len(digests) < 12 for digests in (manifest.listed() or {}).values())


@pytest.mark.parametrize("name", ["a.json", "weights.safetensors"])
def test_a_file_that_is_replaced_twice_while_it_is_looked_at_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    manifest, file, late, listed = Manifest(tmp_path), tmp_path / name, [b"2", b"3"], Manifest.listed
    manifest.write(file, b"1")

    def after_others(self: Manifest) -> Mapping[str, list[str]] | None:
        now = late.copy()
        late.clear()
        for content in now:
            manifest.write(file, content)
        return listed(self)

    monkeypatch.setattr(Manifest, "listed", after_others)
    assert manifest.standing(file) == "whole" and file.read_bytes() == b"3"


def test_who_writes_at_once_loses_nothing_and_who_reads_meanwhile_is_not_misled(tmp_path: Path) -> None:
    manifest, names = Manifest(tmp_path), [f"{i}.json" for i in range(4)]
    stop, faults = threading.Event(), list[str]()

    def write(name: str) -> None:
        for i in range(40):
            manifest.write(tmp_path / name, f"{name} {i}".encode() * 1000)

    def read() -> None:
        while not stop.is_set():
            faults.extend(name for name in names if manifest.standing(tmp_path / name) in ("changed", "not listed"))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert faults == []
    assert set(manifest.listed() or {}) == {*names}
    assert all(manifest.standing(tmp_path / name) == "whole" for name in names)


def test_a_removed_run_leaves_nothing(trained: RunFolder) -> None:
    trained.write_metrics({})
    maquette.load(trained.path).remove()
    assert not trained.path.exists()


# -- checkpoints ---------------------------------------------------------------------------------------


def state_of(folder: RunFolder) -> State:
    return State(toy_job(folder.path).model, 0.999)


def loaded(folder: RunFolder) -> tuple[int, list[str]]:
    """The step that is gone on from, and what is said."""
    said: list[str] = []
    state = state_of(folder)
    assert checkpoint.load_latest(folder.checkpoints, state, said.append)
    return state.step, said


def newest(folder: RunFolder) -> Path:
    return sorted(folder.checkpoints.iterdir())[-1]


def test_one_flipped_bit_of_a_checkpoint_has_it_passed_over(trained: RunFolder) -> None:
    last = newest(trained)
    for name in ("state.json", "state.safetensors"):
        for where in flips(last / name):
            step, said = loaded(trained)
            assert step == 19 and len(said) == 1 and last.name in said[0], where
    for where in flips(last / "manifest.json"):
        step, said = loaded(trained)
        assert (step, len(said)) in ((19, 1), (20, 0)), where  # of some bits nothing depends
    assert loaded(trained) == (20, [])


FACTS = {"step": 20, "items": 160, "seconds": 1.0}


@pytest.mark.parametrize("facts", [
    {}, [], 7, "abc", None, {**FACTS, "step": "abc"}, {**FACTS, "step": "20"}, {**FACTS, "step": 20.0},
    {**FACTS, "step": -20}, {**FACTS, "step": 10}, {**FACTS, "step": True}, {**FACTS, "step": None},
    {**FACTS, "step": 10**30}, {**FACTS, "items": -1}, {**FACTS, "items": "many"}, {**FACTS, "seconds": float("nan")},
    {**FACTS, "seconds": float("inf")}, {**FACTS, "seconds": -1.0}, {"step": 20}, {**FACTS, "step": [20]},
])  # fmt: skip
@pytest.mark.parametrize("listed", [True, False])
def test_facts_that_cannot_be_are_passed_over_with_whatever_digest(
    trained: RunFolder, facts: object, listed: bool
) -> None:
    last = newest(trained)
    (last / "state.json").write_text(json.dumps(facts))
    if listed:
        Manifest(last).record([last / "state.json"])
    step, said = loaded(trained)
    assert step == 19 and len(said) == 1 and "\n" not in said[0]
    found = checkpoint.newest(trained.checkpoints)
    assert found is not None and found.step == 19


@pytest.mark.parametrize("kind", [torch.int8, torch.bool, torch.float16, torch.float64, torch.uint16])
def test_a_checkpoint_in_other_types_of_numbers_can_be_gone_on_from(trained: RunFolder, kind: torch.dtype) -> None:
    last = newest(trained)
    with_tensors(last / "state.safetensors", lambda found: found.update({n: t.to(kind) for n, t in found.items()}))
    Manifest(last).record([last / "state.safetensors"])
    state = state_of(trained)
    assert checkpoint.load_latest(trained.checkpoints, state, lambda line: None)
    assert {tensor.dtype for tensor in state.tensors().values()} == {torch.float}


@pytest.mark.parametrize("change", [
    lambda found: found.clear(),
    lambda found: found.pop("model.G.weight"),
    lambda found: found.pop("ema.G.bias"),
    lambda found: found.pop("optim.0.0.exp_avg"),
    lambda found: found.update({"optim.0.0.exp_avg": torch.zeros(3)}),
    lambda found: found.update({"optim.0.0.more": torch.zeros(3)}),
    lambda found: found.update({"optim.9.0.step": torch.zeros(())}),
    lambda found: found.update({"more": torch.zeros(3)}),
    lambda found: found.update({"model.G.weight": torch.zeros(3)}),
    lambda found: found.update({"optim.0.0.step": found["optim.0.0.step"] * 1j}),
    lambda found: found.update({"model.G.weight": found["model.G.weight"] * 1j}),
    lambda found: found["model.G.weight"].view(-1)[:1].fill_(torch.nan),
    lambda found: found["optim.0.0.exp_avg_sq"].view(-1)[:1].fill_(torch.inf),
])  # fmt: skip
def test_tensors_that_do_not_fit_are_passed_over_and_none_of_them_is_loaded(
    trained: RunFolder, change: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    last = newest(trained)
    with_tensors(last / "state.safetensors", change)
    Manifest(last).record([last / "state.safetensors"])
    assert loaded(trained)[0] == 19
    shutil.rmtree(last.with_name("step-00000019"))
    state = state_of(trained)
    before = {name: value.clone() for name, value in state.tensors().items()}
    with pytest.raises(UserError, match="Every checkpoint"):
        checkpoint.load_latest(trained.checkpoints, state, lambda line: None)
    after = state.tensors()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert state.step == 0


def test_a_checkpoint_without_a_manifest_is_of_an_earlier_version_or_damaged(trained: RunFolder) -> None:
    (newest(trained) / "manifest.json").unlink()
    assert loaded(trained)[0] == 19


def test_a_finished_run_writes_damaged_weights_again(trained: RunFolder) -> None:
    good = trained.weights_file.read_bytes()
    trained.weights_file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(UserError, match="maquette resume"):
        trained.weights()
    train(toy_job(trained.path))
    assert trained.weights_file.read_bytes() == good and trained.weights()


@pytest.mark.parametrize("name", ["step-99999999", "step-zzz", "step-", "step-0000000x", "step-100000000"])
def test_folders_that_only_look_like_checkpoints_are_passed_over(trained: RunFolder, name: str) -> None:
    shutil.copytree(newest(trained), trained.checkpoints / name)
    assert loaded(trained)[0] == 20


def test_what_was_passed_over_does_not_push_out_what_is_saved_next(trained: RunFolder) -> None:
    last = newest(trained)
    for step in (30, 40):
        shutil.copytree(last, trained.checkpoints / f"step-{step:08d}")
    state = state_of(trained)
    assert checkpoint.load_latest(trained.checkpoints, state, lambda line: None)
    state.step = 21
    checkpoint.save(trained.checkpoints, state, keep=2)
    assert [path.name for path in sorted(trained.checkpoints.iterdir())] == ["step-00000020", "step-00000021"]
