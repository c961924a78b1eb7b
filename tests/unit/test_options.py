"""What can be asked of a run, on the command line and in Python: its options, its given columns, its targets, a device;
and what its folder keeps to itself."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torch import Tensor

import maquette
from maquette import api, training
from maquette.cli.main import cli, verbs
from maquette.core.about import About
from maquette.core.asking import Ungiven
from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.find import find_family
from maquette.core.generator import Generator, build_model
from maquette.core.location import shared_name
from maquette.core.model import Model
from maquette.core.option import Option, checked
from maquette.core.recipe import Recipe
from maquette.core.rng import Rng
from maquette.core.run import RunFolder
from maquette.core.samples import Samples
from maquette.core.spec import BOS, EOS, PAD, SPECIALS, ClassSpec, ColumnSpec, DataSpec, TokenSpec
from maquette.core.spec import NumberSpec as NumberForm
from maquette.core.table import Dataset, Table
from maquette.modalities.image import Spec as ImageSpec
from maquette.modalities.label import Spec as LabelSpec
from maquette.modalities.number import Spec as NumberSpec
from maquette.modalities.text import Spec as TextSpec
from maquette.modalities.text import tokenize
from toy_text_family import tokenizer

SETTINGS = {
    "image/flow": {"model.width": 32, "model.deep": 32, "model.deep_blocks": 1, "model.condition": 16},
    "image/gan": {"model.width": 8, "model.deep": 8, "model.features": 8},
    "text/lm": {"model.width": 16, "model.heads": 1, "model.layers": 1, "data.text.tokenizer": "char",
                "data.text.context": 16},
}  # fmt: skip
SECRET = "a-private-house"
LINES = [f"{word} {n} is what only the training data says, in full" for n in range(60) for word in ("this", "that")]


def prepared(recipe: str, data: str | Path, out: Path, **settings: Any) -> Path:
    """A run as training leaves it, its weights as they began."""
    resolved = api.resolve_recipe(recipe, data, settings={**SETTINGS[recipe], **settings})
    folder, _ = training.prepare(resolved, out, lambda note: None)
    folder.write_weights(build_model(folder.recipe(), folder.spec()).state_dict(), step=0)
    return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    (root / "story.txt").write_text("\n".join(LINES))
    data = {"image/flow": "digits", "image/gan": "digits", "text/lm": root / "story.txt"}
    return {recipe: prepared(recipe, source, root / recipe.replace("/", "-")) for recipe, source in data.items()}


def asked(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args])


# -- which options there are ---------------------------------------------------------------------------


OWN = {
    "image/flow": {"--label", "--steps", "--sampler", "--guidance", "--grid"},
    "image/gan": {"--label", "--grid"},
    "text/lm": {"--prompt", "--temperature", "--top-k", "--top-p", "--min-p", "--repetition-penalty", "--max-tokens",
                "--stop", "--pattern", "--stream"},
}  # fmt: skip
GENERAL = {"--seed", "--unconditional", "--out", "--format", "--device", "--quiet", "--help"}


@pytest.mark.parametrize("recipe", OWN)
def test_help_shows_the_options_of_the_run_and_no_others(runs: Mapping[str, Path], recipe: str) -> None:
    shown = asked("sample", runs[recipe], "--help").output
    flags = {word.strip(",") for line in shown.splitlines() if line.startswith("  -") for word in line.split()}
    assert {flag for flag in flags if flag.startswith("--")} == OWN[recipe] | GENERAL
    assert "maquette sample RUN --help" in shown
    first = sorted(OWN[recipe])[0]
    assert first in asked("sample", "--seed", "2", "-n", "1", runs[recipe], "--help").output


def test_without_a_run_the_general_ones_are_shown() -> None:
    shown = asked("sample", "--help").output
    assert all(flag in shown for flag in GENERAL) and "--steps" not in shown and "RUN adds options" in shown


@pytest.mark.parametrize(
    ("recipe", "flag", "keyword"),
    [("image/gan", "--steps", "steps"), ("image/flow", "--prompt", "prompt"), ("text/lm", "--grid", "guidance")],
)
def test_what_a_run_has_no_option_for_is_refused(
    runs: Mapping[str, Path], recipe: str, flag: str, keyword: str
) -> None:  # fmt: skip
    done = asked("sample", runs[recipe], flag, "3")
    assert done.exit_code == 2 and f"has no option {flag}" in done.output
    with pytest.raises(UserError, match=f"takes no {keyword}"):
        maquette.load(runs[recipe]).sample(1, **{keyword: 3})


def test_an_option_is_checked_alike_on_both_ways(runs: Mapping[str, Path]) -> None:
    for recipe, name, wrong in (("image/flow", "steps", 0), ("image/flow", "sampler", "huen"), ("text/lm", "top_p", 2)):
        with pytest.raises(UserError) as error:
            maquette.load(runs[recipe]).sample(1, **{name: wrong})
        done = asked("sample", runs[recipe], f"--{name.replace('_', '-')}", str(wrong))
        assert isinstance(done.exception, UserError) and done.exception.remedy == error.value.remedy
    assert asked("sample", runs["text/lm"], "--max-tokens", "4", "--stop", "x", "--stop", "y").exit_code == 0


def test_options_of_text_are_keywords_and_a_bundle(runs: Mapping[str, Path]) -> None:
    run = maquette.load(runs["text/lm"])
    plain = run.sample(3, prompt="this", max_tokens=9, seed=4).texts
    bundled = run.sample(3, decoding=maquette.Decoding(prompt="this", max_tokens=9), seed=4).texts
    assert plain == bundled and all(text.startswith("this") for text in plain)
    assert "".join(run.stream(2, prompt="this", max_tokens=9, seed=4)) == plain[2]
    with pytest.raises(UserError, match="prompt as well"):
        run.sample(1, decoding=maquette.Decoding(), prompt="this")
    with pytest.raises(UserError, match=r"maquette\.Decoding"):
        run.sample(1, decoding="this")


def test_an_option_whole() -> None:
    many = Option("words", str, (), "", many=True)
    assert many.checked("ab") == ("ab",) and many.checked(["a", "b"]) == ("a", "b") and many.flag == "--words"
    assert checked([Option("n_best", int, 1, "")], {"n_best": "3"}) == {"n_best": 3}
    for value in ("x", 1.5, None):
        option = Option("n_best", int, 1, "")
        if value is None:
            assert option.checked(value) is None
            continue
        with pytest.raises(UserError, match="n_best"):
            option.checked(value)


# -- verbs and data -------------------------------------------------------------------------------------


def test_verbs_of_kinds_of_data_come_from_their_modalities(runs: Mapping[str, Path]) -> None:
    assert verbs() == [
        "demo", "data", "recipes", "train", "resume", "watch", "sample", "edit", "translate", "summarise", "evaluate",
        "report", "compare", "runs", "export", "serve", "cache", "completion",
    ]  # fmt: skip
    run = maquette.load(runs["text/lm"])
    with pytest.raises(UserError, match="only for sounds, pictures"):
        _ = run.edit
    with pytest.raises(AttributeError):
        _ = run.nothing_of_the_kind
    with pytest.raises(AttributeError, match="texts"):
        _ = run.sample(1).pictures


def test_the_size_of_pictures_is_an_option_of_their_modality() -> None:
    assert "--size" in asked("train", "--help").output and "--size" in asked("data", "inspect", "--help").output
    for size, made in ((12, (12, 12)), ("12x16", (12, 16)), ((12, 16), (12, 16))):
        assert api.resolve_recipe("image/gan", "digits", size=size).data.of("image").size == made
    for wrong in ("12x", "big", "0"):
        done = asked("train", "image/gan", "--data", "digits", "-o", "x", "--size", wrong)
        assert isinstance(done.exception, UserError) and "size" in done.exception.problem
    with pytest.raises(UserError, match="takes no pace"):
        api.resolve_recipe("image/gan", "digits", pace=3)


# -- what is given --------------------------------------------------------------------------------------


def words(tokens: int = 12) -> TextSpec:
    made, vocab = tokenizer(["a thick seven"])
    return TextSpec(shape=(tokens,), vocab=len(vocab), unit="char", tokenizer=made, mean_length=8.0)


COLUMNS: dict[str, ColumnSpec] = {
    "image": ImageSpec(shape=(1, 4, 4)),
    "label": LabelSpec(classes=("one", "seven", "nine"), shares=(0.2, 0.3, 0.5)),
    "ink": LabelSpec(classes=("blue", "red"), shares=(0.5, 0.5)),
    "stroke width": NumberSpec(mean=1.0, std=0.3, low=0.5, high=2.0),
    "caption": words(),
}


class Joint(Model):
    """Makes whatever is asked for of made-up numbers, and remembers what it was given."""

    options = (Option("strength", float, 1.0, "How much."),)

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.spec, self.seen = spec, dict[str, Tensor]()

    def sample(self, n: int, given: Mapping[str, Tensor], rng: Rng, strength: float = 1.0) -> dict[str, Tensor]:
        self.seen = dict(given)
        made = {"image": rng.normal(n, 1, 4, 4).clamp(-1, 1), "ink": torch.arange(n) % 2,
                "caption": torch.tensor([[BOS, *[len(SPECIALS)] * 3, EOS]] * n)}  # fmt: skip
        return {name: made[name] for name in self.spec.target}


def joint(target: tuple[str, ...] = ("image",), given: tuple[str, ...] = ()) -> Generator:
    spec = DataSpec(columns={name: COLUMNS[name] for name in (*target, *given)}, target=target, given=given)
    return Generator(Joint(spec), spec)


ALL = ("label", "ink", "stroke width", "caption")


def test_any_mix_of_columns_can_be_asked_for() -> None:
    generator = joint(given=ALL)
    assert [option.name for option in generator.options] == [
        "label", "ink", "stroke_width", "caption", "strength", "grid"]  # fmt: skip
    drawn = generator.given_for(200, seed=3)
    assert set(drawn) == {"label", "ink"}, "classes are drawn, what else is not asked for is left out"
    assert torch.equal(drawn["label"][:20], generator.given_for(20, seed=3)["label"]), "item i depends on i alone"
    assert torch.equal(drawn["ink"][[5, 9]], generator.given_for([5, 9], seed=3)["ink"])
    assert not torch.equal(drawn["label"] % 2, drawn["ink"])
    assert abs(float((drawn["label"] == 2).float().mean()) - 0.5) < 0.12

    request = generator.request({"label": "seven", "stroke_width": "0.7", "caption": "a thick", "strength": "2"})
    assert request.family == {"strength": 2.0}
    given = generator.given_for(2, request.given)
    assert given["label"].tolist() == [1, 1] and given["stroke width"].tolist() == pytest.approx([0.7, 0.7])
    assert given["caption"][0].tolist() == tokenize("a thick", words()).tolist()

    each = generator.given_for(2, {"label": ["one", 2], "caption": ["a", "a thick"]})
    assert each["label"].tolist() == [0, 2] and each["caption"][0].tolist()[3:] == [PAD] * 6
    assert generator.given_for(2, {"ink": torch.tensor([1, 0])})["ink"].tolist() == [1, 0]
    assert generator.given_for(2, unconditional=True) == {}


def test_what_is_asked_of_columns_is_checked() -> None:
    generator, said = joint(given=ALL), list[str]()
    generator.given_for(1, {"stroke width": 9}, notify=said.append)
    assert said == ["stroke width: 9 is beyond what was learned, from 0.5 to 2: the answer is a guess."]
    for asks, says in (
        ({"label": "eight"}, "no class 'eight'"), ({"stroke width": "wide"}, "'wide' is not a number"),
        ({"caption": "ß"}, "ß"), ({"caption": "a" * 40}, "was trained on texts of up to 12"),
        ({"colour": 1}, "trained without colour"), ({"label": ["one"] * 3}, "3 values of 'label' were given for 2"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=says):
            generator.given_for(2, asks)
    with pytest.raises(UserError, match="unconditional"):
        generator.given_for(2, {"label": "one"}, unconditional=True)
    with pytest.raises(UserError, match="given nothing"):
        joint().given_for(2, unconditional=True)
    generator.model.needs = (TokenSpec,)
    with pytest.raises(Ungiven, match="'image' from 'caption'"):
        generator.given_for(2)


def data_of(**columns: ColumnSpec) -> Dataset:
    """A data set of which only the columns are known."""
    return Dataset("made up", "0", Table({n: SimpleNamespace(spec=c) for n, c in columns.items()}, []), Table({}, []))


@pytest.mark.parametrize(
    ("family", "forms", "given", "refused"),
    [
        ("gan", None, ("label", "ink"), "ink"), ("gan", None, ("width",), "width"), ("gan", None, ("image",), "image"),
        ("gan", None, ("label", "caption"), ""), ("gan", (ClassSpec, NumberForm), ("label", "ink", "width"), ""),
        ("gan", (ClassSpec,), ("label", "width"), "width"),
    ],
)  # fmt: skip
def test_what_a_family_can_be_given_is_what_it_says(
    monkeypatch: pytest.MonkeyPatch, family: str, forms: Any, given: tuple[str, ...], refused: str
) -> None:  # fmt: skip
    module = find_family(family)
    monkeypatch.setattr(module, "GIVEN", forms, raising=False)
    data = data_of(**{"width" if name == "stroke width" else name: column for name, column in COLUMNS.items()})
    recipe = Recipe(about="", family=family, target=("image",), given=given)
    if not refused:
        assert training._chosen(recipe, data) == (("image",), given)
        return
    with pytest.raises(UserError, match=f"cannot be given {refused} yet"):
        training._chosen(recipe, data)


def test_a_recipe_that_names_no_target_makes_the_only_column_there_is() -> None:
    plain = Recipe(about="", family="gan", given=())
    assert training._chosen(plain, data_of(sound=COLUMNS["image"], label=COLUMNS["label"])) == (("sound",), ())
    with pytest.raises(UserError, match="names no target"):
        training._chosen(plain, data_of(sound=COLUMNS["image"], caption=COLUMNS["caption"]))


# -- several targets ------------------------------------------------------------------------------------


def test_several_targets_are_a_folder_an_item(tmp_path: Path) -> None:
    generator = joint(("image", "caption", "ink"), ("label", "stroke width"))
    given = generator.given_for(2, {"label": "seven", "stroke width": 0.7})
    samples = Samples(generator.sample(2, given), given, generator.spec, 5, About("Maquette", "run"))
    assert len(samples) == 2 and samples.captions == ["seven, 0.7"] * 2 and "Samples" in str(samples)
    paths = samples.save(tmp_path / "out")
    assert [str(path.relative_to(tmp_path / "out")) for path in paths[:3]] == [
        "00000-seven_0.7/image.png", "00000-seven_0.7/caption.txt", "00000-seven_0.7/ink.txt"]  # fmt: skip
    with Image.open(paths[3]) as picture:
        assert (picture.info["Source"], picture.info["item"], picture.info["label"]) == ("AI-generated", "1", "seven")
    about = json.loads(paths[1].with_suffix(".json").read_text())
    assert about["Source"] == "AI-generated" and about["stroke width"] == "0.7" and about["seed"] == "5"
    assert paths[2].read_text() == "blue\n" and samples._repr_png_() is None
    for several in (lambda: samples.only, samples.preview, lambda: samples.write(tmp_path / "a.png")):
        with pytest.raises(UserError, match="3 targets"):
            several()


def test_each_target_has_a_preview_of_its_own(tmp_path: Path) -> None:
    generator = joint(("image", "caption"), ("label",))
    reference = Batch({}, {"label": torch.tensor([1, 0])}, 2)
    recipe = Recipe(about="", family="gan", target=("image", "caption"))
    preview = training._previewer(RunFolder(tmp_path), recipe, generator.spec, reference)
    preview(generator.sample(2, reference.given), tmp_path / "preview-00000010")
    with Image.open(tmp_path / "preview-00000010-image.png") as picture:
        assert picture.info["Source"] == "AI-generated" and picture.info["step"] == "10"
    assert (tmp_path / "preview-00000010-caption.txt").read_text().startswith("[seven]")
    assert json.loads((tmp_path / "preview-00000010-caption.json").read_text())["family"] == "gan"


def test_every_preview_says_where_it_is_from(runs: Mapping[str, Path], tmp_path: Path) -> None:
    for recipe, name in (("image/gan", "grid.png"), ("text/lm", "all.txt")):
        more = ("--grid",) if recipe == "image/gan" else ("--max-tokens", "4")
        assert asked("sample", runs[recipe], "-n", "3", "--seed", "2", "-o", tmp_path / name, *more).exit_code == 0
    with Image.open(tmp_path / "grid.png") as grid:
        first = {key: grid.info[key] for key in ("Source", "seed", "items")}
    second = json.loads((tmp_path / "all.json").read_text())
    assert first == {key: second[key] for key in first} == {"Source": "AI-generated", "seed": "2", "items": "3"}


# -- where ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [("sample",), ("evaluate",), ("report",), ("edit", "restore")])
def test_a_device_that_is_not_there_is_refused_everywhere(runs: Mapping[str, Path], verb: tuple[str, ...]) -> None:
    more = ("x.png", "-o", "y.png") if verb[0] == "edit" else ()
    done = asked(verb[0], runs["image/flow"], *verb[1:], *more, "--device", "gpu")
    assert isinstance(done.exception, UserError) and "device = 'gpu'" in done.exception.problem


def test_a_run_is_loaded_where_it_is_asked_to_be(runs: Mapping[str, Path]) -> None:
    run = maquette.load(runs["image/gan"], device="cpu")
    assert run.generator.device.type == "cpu"
    assert torch.equal(run.sample(2, seed=1).only, maquette.load(runs["image/gan"]).sample(2, seed=1).only) or (
        torch.cuda.is_available()
    )
    assert asked("sample", runs["image/gan"], "-n", "1", "--device", "cpu").exit_code == 0
    assert api.resolve_recipe("image/gan", "digits", device="cpu").train.device == "cpu"


# -- what a run folder keeps to itself ------------------------------------------------------------------


def holds(folder: Path, what: str) -> list[str]:
    """The files that hold these words."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in files if what.encode() in path.read_bytes()]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder of pictures in classes at a path that is nobody's business."""
    generator = torch.Generator().manual_seed(0)
    for label in ("circle", "cross"):
        folder = tmp_path / SECRET / "shapes" / label
        folder.mkdir(parents=True)
        for i in range(20):
            pixels = (torch.rand(8, 8, generator=generator) * 255).byte().numpy()
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / SECRET / "shapes"


def trained(data: Path, out: Path, steps: int = 2, **more: Any) -> maquette.Run:
    settings = {**SETTINGS["image/gan"], "train.batch_size": 4, "train.preview_items": 4, **more}
    return maquette.train("image/gan", data, out=out, steps=steps, settings=settings, quiet=True)


def test_a_run_folder_names_no_path_unless_asked_to(house: Path, tmp_path: Path) -> None:
    run = trained(house, tmp_path / "runs" / "a")
    assert run.recipe.data.source == "shapes"
    assert not holds(run.folder.path, SECRET) and not holds(run.folder.path, str(tmp_path))
    again = trained(house, tmp_path / "runs" / "b", **{"train.keep_path": True})
    assert again.recipe.data.source == str(house) and "recipe.yaml" in holds(again.folder.path, SECRET)


def test_a_name_that_is_relative_or_known_stays() -> None:
    assert shared_name("data/cats") == "data/cats" and shared_name("/home/me/cats") == "cats"
    assert shared_name("~/cats") == "cats" and shared_name("hf:me/cats") == "hf:me/cats"


def test_data_whose_name_is_no_utf_8_is_named_by_the_numbers_of_its_bytes_and_found(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = house.rename(tmp_path / os.fsdecode(b"src\xe9"))
    run = trained(odd, tmp_path / "a")
    assert run.recipe.data.source == run.folder.data()["source"] == r"src\xe9"
    monkeypatch.setattr("maquette.core.location._known", {})  # as in another process
    assert maquette.load(run.folder.path).resume(steps=4, quiet=True).finished


def test_a_run_folder_holds_no_line_of_the_training_data(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text("\n".join(LINES))
    settings = {**SETTINGS["text/lm"], "train.batch_size": 4, "train.preview_items": 2}
    run = maquette.train("text/lm", tmp_path / "story.txt", out=tmp_path / "a", steps=2, settings=settings, quiet=True)
    assert not [file for line in LINES for file in holds(run.folder.path, line[:30])]
    assert not holds(run.folder.path, str(tmp_path))


def test_resuming_finds_its_data_or_is_told_where_it_is(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    out = tmp_path / "runs" / "a"
    run = trained(house, out)
    before = run.folder.weights()
    assert maquette.load(out).dataset().fingerprint == run.folder.data()["fingerprint"], "the machine knows where"
    moved = Path(shutil.move(house, tmp_path / "elsewhere"))
    with pytest.raises(UserError, match="shapes") as error:
        maquette.load(out).resume(quiet=True, budget="1s")
    assert str(house) in error.value.problem and "--data PATH" in error.value.remedy
    done = asked("resume", out, "--data", moved, "-q")
    assert done.exit_code == 0, done.exception
    assert all(torch.equal(before[name], value) for name, value in run.folder.weights().items())
    assert len(maquette.load(out).dataset().train), "the machine knows where it is now"
    own = maquette.load(out)
    assert own.trained_on(own.dataset(moved, quiet=True)), "what is named by its path is known again"
    other = tmp_path / "other"
    shutil.copytree(moved, other)
    next(other.rglob("*.png")).unlink()
    with pytest.raises(UserError, match="not, or no more, what this run began with"):
        maquette.load(out).resume(quiet=True, data=other)
    shutil.rmtree(moved)
    assert maquette.load(out).report().exists(), "a report is made without the data, too"


def test_a_name_of_a_file_is_that_of_a_file(runs: Mapping[str, Path], tmp_path: Path) -> None:
    """One item is that file, several are together in it; a folder has a name that no such file has."""
    run = runs["image/gan"]
    for count, name in ((1, "one.png"), (3, "three.png"), (1, "one.jpg"), (1, "run.v2")):
        done = asked("sample", run, "-n", str(count), "-o", tmp_path / name)
        assert done.exit_code == 0, done.output
    sizes = {name: Image.open(tmp_path / name).size for name in ("one.png", "three.png", "one.jpg")}
    assert sizes["one.png"] == sizes["one.jpg"] == (8, 8) and sizes["three.png"] > (16, 8)
    assert [path.suffix for path in (tmp_path / "run.v2").iterdir()] == [".png"]
    for wrong in (["-o", tmp_path / "one.pdf"], ["-o", tmp_path / "q.png", "--format", "jpg"]):
        assert asked("sample", run, "-n", "1", *wrong).exit_code != 0 and not Path(wrong[1]).exists()
    assert asked("sample", run, "-n", "1", "-o", tmp_path / "q.jpg", "--format", "jpg").exit_code == 0
