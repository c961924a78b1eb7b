"""Editing pictures with tiny runs: each verb end to end, both ways; what files say; what is refused, and how."""

import pytest
import torch
from PIL import Image

from maquette.cli.main import cli
from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.find import find_family
from maquette.core.generator import Generator
from maquette.core.model import FlowMap
from maquette.core.recipe import load_recipe
from maquette.modalities import image
from maquette.modalities.image.edit import EditOptions, Editor
from maquette.models import flow
from maquette.testing import check_model
from specs import image_spec, text_spec

SMALL = {"width": 32, "deep": 32, "deep_blocks": 1, "condition": 16}
ALL = ("downscale", "hole", "noise", "blur", "jpeg")


def editor(degrade=(), shape=(1, 16, 16), classes=3, **settings):
    torch.manual_seed(0)
    spec = image_spec(*shape, classes=classes)
    model = flow.build(flow.Config(**SMALL, degrade=degrade, factors=(4,), **settings), spec)
    return Editor(Generator(model, spec), About("Maquette", "run"))


def of(family, **settings):
    spec = image_spec(1, 16, 16)
    module = find_family(family)
    return Editor(Generator(module.build(module.Config(**settings), spec), spec), About())


@pytest.fixture(scope="module")
def vae():
    recipe = load_recipe("image/vae-mlp")
    return of(recipe.family, **recipe.model)


SPEC = image_spec(1, 8, 8).only()
X = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
HOLE = torch.zeros(1, 1, 16, 16)
HOLE[..., 4:12, 4:12] = 1
FEW = EditOptions(steps=2)
EDITS = {
    "upscale": lambda edit, x, asked: edit.upscale(torch.nn.functional.avg_pool2d(x, 4), 4, asked),
    "inpaint": lambda edit, x, asked: edit.inpaint(x, HOLE, asked),
    "restore": lambda edit, x, asked: edit.restore(x, asked),
}


@pytest.mark.parametrize("way", ["trained", "zero-shot", "zero-shot of a trained one"])
@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("expected", [False, True])
def test_what_was_seen_is_kept(way, name, expected, monkeypatch):
    monkeypatch.setattr("maquette.modalities.image.edit.AVERAGED", 2)
    edit = editor(() if way == "zero-shot" else ALL)
    asked = EditOptions(steps=2, expected=expected, zero_shot=way.endswith("one"))
    made = EDITS[name](edit, X, asked)
    assert made.only.shape == X.shape and made.only.abs().max() <= 1 and made.about.more["edit"] == name
    if name == "inpaint":
        assert torch.allclose((made.only * (1 - HOLE)), X * (1 - HOLE), atol=1e-5)
        assert not torch.allclose(made.only, X, atol=0.1)
    few = EDITS[name](edit, X[:1], asked)  # an answer depends on its picture and number alone
    assert torch.allclose(few.only, made.only[:1], atol=1e-4)
    if not expected:
        other = EDITS[name](edit, X, EditOptions(steps=2, seed=1, zero_shot=asked.zero_shot))
        assert not torch.allclose(other.only, made.only, atol=1e-3)


def test_a_trained_model_reads_what_is_seen_and_makes_pictures_without():
    edit = editor(ALL)
    torch.nn.init.normal_(edit.model.net.head.weight)
    first, second = (edit.restore(x, FEW).only for x in (X, X.flip(0)))
    assert not torch.allclose(first, second, atol=1e-2)
    assert edit.generator.sample(2, steps=2)["image"].shape == (2, 1, 16, 16)
    assert isinstance(edit.model, FlowMap) and set(edit.model.corrects) == {*ALL[1:], "downscale 4"}


@pytest.mark.parametrize("spoilt", [{"noise": 60.0}, {"blur": 1.0}, {"jpeg": 30}, {}])
def test_zero_shot_is_told_what_spoils(spoilt):
    edit = editor()
    assert edit.restore(X, FEW, **spoilt).only.shape == X.shape
    with pytest.raises(UserError, match="No noise was found"):
        edit.restore(torch.zeros(1, 1, 16, 16))
    with pytest.raises(UserError, match="exclude"):
        edit.restore(X, noise=3.0, blur=2.0)
    with pytest.raises(UserError, match="above 0"):
        edit.restore(X, noise=-1.0)
    with pytest.raises(UserError, match="zero-shot"):
        editor(ALL).restore(X, noise=20.0)


def test_samples_of_each_picture_follow_one_another():
    edit = editor(ALL)
    made = edit.inpaint(X, HOLE, EditOptions(samples=2, steps=2))
    assert torch.allclose(made.only[0] * (1 - HOLE[0]), X[0] * (1 - HOLE[0]), atol=1e-5)
    assert torch.allclose(made.only[3] * (1 - HOLE[0]), X[1] * (1 - HOLE[0]), atol=1e-5)
    assert not torch.allclose(made.only[0], made.only[1], atol=1e-3)


def test_variations_are_as_far_as_their_strength():
    edit = editor()
    near, far = (edit.variations(X, strength, EditOptions(samples=2, steps=20)).only for strength in (0.05, 0.9))
    originals = X.repeat_interleave(2, 0)
    assert near.shape == (6, 1, 16, 16)
    assert (near - originals).abs().mean() < 0.1 < (far - originals).abs().mean()
    assert torch.isfinite(edit.variations(X, 1.0, FEW).only).all()
    with pytest.raises(UserError, match="strength"):
        edit.variations(X, 1.5)


@pytest.mark.parametrize("kind", ["flow", "vae"])
def test_interpolation_ends_at_the_pictures_as_rendered(kind, vae):
    edit = editor() if kind == "flow" else vae
    made = edit.interpolate(X, 5).only
    assert made.shape == (5, 1, 16, 16)
    if kind == "flow":  # but for the noise that was added before the code was sought
        assert (made[0] - X[0]).abs().mean() < 0.1 and (made[2] - X[1]).abs().mean() < 0.1
        assert (made[4] - X[2]).abs().mean() < 0.1
    with pytest.raises(UserError, match="one picture"):
        edit.interpolate(X[:1])
    with pytest.raises(UserError, match="frames = 1"):
        edit.interpolate(X, 1)


def test_style_moves_towards_the_other_picture():
    edit = editor()
    thin, thick = -torch.ones(1, 1, 16, 16), -torch.ones(1, 1, 16, 16)
    thin[..., 7:9, 2:14], thick[..., 4:12, 2:14] = 1, 1
    as_thin, as_thick = (edit.style(thin, like, 0.3, EditOptions(steps=4)).only.mean() for like in (thin, thick))
    assert as_thick > as_thin + 0.05
    with pytest.raises(UserError, match="2 styles for 3"):
        edit.style(X, X[:2])


def test_models_that_cannot_say_what_can(vae):
    assert vae.variations(X, 0.3, EditOptions(samples=2)).only.shape == (6, 1, 16, 16)
    with pytest.raises(UserError, match="cannot upscale: it can vary pictures and interpolate"):
        vae.upscale(X[..., :4, :4], 4)
    recipe = load_recipe("image/gan-mlp")
    gan = of(recipe.family, **recipe.model)
    with pytest.raises(UserError, match="cannot vary pictures"):
        gan.variations(X)
    with pytest.raises(UserError, match="cannot interpolate"):
        gan.interpolate(X)
    with pytest.raises(UserError, match="cannot read pictures"):
        gan.inpaint(X, HOLE)
    with pytest.raises(UserError, match="only pictures"):
        Editor(Generator(gan.model, text_spec()), About())


def test_restoring_is_not_coupled():
    """Noise near the picture would say what of it is not seen."""
    assert not editor(ALL, classes=0).model.coupled and editor(classes=0).model.coupled
    with pytest.raises(ValueError, match="coupling"):
        flow.Config(degrade=ALL, coupling="transport")


def test_contract_of_colour():
    settings = SMALL | {"degrade": ALL, "label_dropout": 0.5}
    assert check_model("flow", image_spec(3, 12, 20, classes=2), settings, 40)


# -- files ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    import maquette

    path = tmp_path_factory.mktemp("runs") / "restore"
    settings = {f"model.{name}": value for name, value in SMALL.items()}
    settings |= {"model.factors": [2], "train.batch_size": 8, "train.trackers": []}
    maquette.train("image/restore", "digits", out=path, steps=2, settings=settings, quiet=True)
    return path


@pytest.fixture
def folder(tmp_path):
    for i, x in enumerate(X[:2, :, :8, :8]):
        image.write(x, tmp_path / "in" / f"{i}.png", SPEC, About())
    image.write(X[0, :, :4, :4], tmp_path / "small.png", SPEC, About())
    mask = -torch.ones(1, 8, 8)
    mask[:, 2:6, 2:6] = 1
    image.write(mask, tmp_path / "mask.png", SPEC, About())
    image.write(-torch.ones(1, 8, 8), tmp_path / "black.png", SPEC, About())
    image.write(torch.rand(3, 8, 8) * 2 - 1, tmp_path / "colour.png", SPEC, About())
    image.write(torch.rand(4, 8, 8) * 2 - 1, tmp_path / "alpha.png", SPEC, About())
    image.write(X[0], tmp_path / "large.png", SPEC, About())
    (tmp_path / "text.png").write_text("no picture")
    return tmp_path


def edit(run, *words):
    cli.main(["edit", str(run), *map(str, words)], standalone_mode=False)


@pytest.mark.parametrize(
    "words",
    [
        ["upscale", "small.png", "--factor", 2],
        ["upscale", "small.png", "--factor", 2, "--zero-shot", "--steps", 2],
        ["inpaint", "in/0.png", "--mask", "mask.png", "--label", 3],
        ["restore", "in/0.png", "--expected"],
        ["variations", "in/0.png", "-n", 1, "--steps", 2],
        ["style", "in/0.png", "--like", "in/1.png", "--steps", 2],
        ["restore", "colour.png", "--fit", "crop"],
        ["restore", "large.png", "--fit", "pad"],
    ],
)
def test_one_file_to_one_file(run, folder, monkeypatch, words, capsys):
    monkeypatch.chdir(folder)
    edit(run, *words, "-o", "out/made.png")
    with Image.open("out/made.png") as made:
        assert made.size == (8, 8)
        about = made.text
    assert about["Source"] == "AI-generated" and about["edit"] == words[0] and about["run"] == "restore"
    assert capsys.readouterr().out.strip() == "out/made.png"


def test_folders_and_frames(run, folder, monkeypatch):
    monkeypatch.chdir(folder)
    edit(run, "inpaint", "in", "--mask", "mask.png", "-n", 2, "-o", "filled")
    assert len(list((folder / "filled").glob("*.png"))) == 4
    edit(run, "interpolate", "in/0.png", "in/1.png", "--frames", 3, "-o", "frames")
    assert len(list((folder / "frames").glob("*.png"))) == 3
    for name in ("way.gif", "way.png"):
        edit(run, "interpolate", "in/0.png", "in/1.png", "--frames", 3, "-o", name)
        with Image.open(name) as way:
            assert way.n_frames == 4 and "AI-generated" in str(way.info)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["restore", "large.png", "-o", "x.png"], "'large.png' is 16x16; this model takes 8x8"),
        (["upscale", "in/0.png", "--factor", 2, "-o", "x.png"], "at factor 2 this model takes 4x4"),
        (["upscale", "small.png", "--factor", 3, "-o", "x.png"], "Use a factor of 2 or 4 or 8"),
        (["inpaint", "in/0.png", "--mask", "large.png", "-o", "x.png"], "'large.png' is 16x16"),
        (["inpaint", "in/0.png", "--mask", "black.png", "-o", "x.png"], "all black"),
        (["inpaint", "in/0.png", "--mask", "in", "-o", "x.png"], "2 masks for 1"),
        (["restore", "alpha.png", "-o", "x.png"], "transparent"),
        (["restore", "colour.png", "-o", "x.png"], "in colour"),
        (["restore", "text.png", "-o", "x.png"], "cannot be read"),
        (["restore", "none.png", "-o", "x.png"], "no picture at"),
        (["restore", "in/0.png", "-o", "in/0.png"], "never overwritten"),
        (["restore", "in", "-o", "in"], "never overwritten"),
        (["inpaint", "in/0.png", "--mask", "mask.png", "-o", "mask.png"], "never overwritten"),
        (["restore", "in", "-o", "x.png"], "2 pictures to write"),
        (["restore", "in/0.png", "-o", "x.pdf"], "cannot be written"),
        (["restore", "in/0.png", "--steps", 0, "-o", "x.png"], "steps = 0"),
        (["restore", "in/0.png", "-n", 0, "-o", "x"], "n = 0"),
        (["restore", "in/0.png", "--label", "elephant", "-o", "x.png"], "no class"),
        (["interpolate", "in/0.png", "-o", "x"], "nothing to go to"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(run, folder, monkeypatch, words, says):
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as raised:
        edit(run, *words)
    assert says in str(raised.value) and raised.value.remedy and raised.value.exit_code == 2
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
