"""Language models that write together: against their equations, and as runs that outlive their members' folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.generator import Generator, build_model
from maquette.core.model import Cooperates, Model, Scores, Streams
from maquette.core.recipe import Recipe, parse_recipe
from maquette.core.rng import ItemRng
from maquette.core.run import RunFolder, open_run
from maquette.core.spec import DataSpec
from maquette.models import cooperative
from maquette.models.cooperative import Config, Experts, Memories, WriterAndCritic, opinions, resolve
from maquette.nets.gate import Gate
from maquette.nets.text_critic import NgramCritic
from maquette.sampling import autoregressive
from maquette.testing import check_model, made_up_batch, model_checks
from specs import text_spec

SMALL = {"layers": 1, "width": 16, "embedding": 16, "dropout": 0.0, "attention": "none"}
MEMBERS = [{"family": "seq2seq", "model": {**SMALL, "cell": cell}} for cell in ("lstm", "gru")]
STEER = {"way": "critic", "continuation": 4, "width": 16, "block": 3, "candidates": 4}


def built(spec: DataSpec, **settings: object) -> Model:
    recipe = Recipe(about="test", family="cooperative", target=("text",), given=spec.given,
                    model={"members": MEMBERS, **settings})  # fmt: skip
    return build_model(recipe, spec).eval()


def stirred(model: Model) -> Model:
    """Away from where it begins: with weights that matter."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator)
    return model


@pytest.mark.parametrize("settings", [{"combine": "product", "free_sum": True}, {"gate_hidden": 4}])
@pytest.mark.parametrize("spec", [text_spec(), text_spec(framed=False, classes=2), text_spec(source=True)])
def test_experts_meet_the_contract(settings: dict[str, object], spec: DataSpec) -> None:
    assert "streaming_equals_reading" in check_model("cooperative", spec, {"members": MEMBERS, "lr": 0.05, **settings})


@pytest.mark.parametrize("critic", ["ngrams", "recurrent"])
@pytest.mark.parametrize("spec", [text_spec(), text_spec(framed=False, classes=2)])
def test_the_critic_meets_the_contract_but_for_learning_a_batch(spec: DataSpec, critic: str) -> None:
    """Its writer is frozen: no training makes a text likelier."""
    settings = {"members": MEMBERS, "lr": 0.02, **STEER, "critic": critic}
    for check in model_checks("cooperative", spec, settings, 60):
        if check.name not in ("one_batch_can_be_learned", "scores"):
            check.run()


def test_product_and_mixture_are_their_equations() -> None:
    log_p = torch.randn(2, 3, 4, 9, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    weights = Gate(2, 8, free=False)(log_p)
    assert torch.allclose(weights, torch.full((2, 3, 4), 0.5))  # they begin equal
    spec = text_spec()
    product, mixture = built(spec, combine="product"), built(spec)
    assert isinstance(product, Experts) and isinstance(mixture, Experts)
    p = log_p.exp()
    geometric = p.prod(0).sqrt()
    assert torch.allclose(product._together(log_p, weights).softmax(-1), geometric / geometric.sum(-1, keepdim=True))
    assert torch.allclose(mixture._together(log_p, weights).exp(), p.mean(0))


def test_an_expert_of_all_weight_speaks_alone() -> None:
    spec = text_spec()
    model = built(spec)
    model.gate.shares.data = torch.tensor([-40.0, 40.0])
    batch = made_up_batch(spec, 4)
    assert torch.allclose(model.token_log_prob(batch), model.members[1].token_log_prob(batch), atol=1e-5)


def test_gate_sees_nothing_that_comes_after() -> None:
    gate = stirred(Gate(2, 8, free=True))
    log_p = torch.randn(2, 1, 5, 9).log_softmax(-1)
    other = log_p.clone()
    other[:, :, 3:] = torch.randn(2, 1, 2, 9).log_softmax(-1)
    assert torch.equal(gate(log_p)[..., :3], gate(other)[..., :3])
    assert not torch.allclose(gate(log_p)[..., 3:], gate(other)[..., 3:])


@pytest.mark.parametrize("combine", ["product", "mixture"])
@pytest.mark.parametrize("framed", [True, False])
def test_who_decided_is_the_member_that_pushed_most(combine: str, framed: bool) -> None:
    spec = text_spec(framed=framed)
    model = stirred(built(spec, combine=combine, gate_hidden=4))
    text, decider = model.sample_with_deciders(6, {}, ItemRng(0, range(6)))
    assert torch.equal(text, model.sample(6, {}, ItemRng(0, range(6)))["text"])
    assert model.agents == ("seq2seq 1", "seq2seq 2")
    given = 1 if framed else 0
    assert (decider[:, :given] == -1).all() and ((decider == -1) == (text == 0))[:, given:].all()
    # By hand, for the first token of each text.
    log_p = model._log_p(model.begin(6, {}), torch.full((6, 1), spec.only().start))
    w, p = model.gate(log_p)[..., 0], model._together(log_p, model.gate(log_p)).softmax(-1)
    said = log_p.gather(-1, text[:, given].view(1, 6, 1, 1).expand(2, -1, -1, -1))[..., 0, 0]
    mean = (p * log_p).sum(-1)[..., 0]
    share = w * (said - mean) if combine == "product" else w * said.exp()
    assert torch.equal(decider[:, given], share.argmax(0))


def test_deciders_are_found_a_few_tokens_at_a_time_and_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    model = stirred(built(text_spec(framed=False, tokens=40), combine="product", gate_hidden=4))
    assert isinstance(model, Experts)
    read: list[int] = []
    all_members = Experts._log_p

    def counted(self: Experts, memory: Memories, tokens: Tensor) -> Tensor:
        read.append(tokens.shape[1])
        return all_members(self, memory, tokens)

    monkeypatch.setattr(Experts, "_log_p", counted)
    model.sample(3, {}, ItemRng(0, range(3)))
    assert max(read) == 1, "each token is predicted as it is written, and not again"
    answers = []
    for size in (cooperative.SLICE, 7, 1000):
        monkeypatch.setattr(cooperative, "SLICE", size)
        read.clear()
        answers.append(model.sample_with_deciders(3, {}, ItemRng(0, range(3))))
        assert max(read) == min(size, 40)
    assert all(torch.equal(a, b) for answer in answers[1:] for a, b in zip(answer, answers[0], strict=True))


@pytest.mark.parametrize("settings", [{}, STEER])
def test_both_ways_cooperate(settings: dict[str, object]) -> None:
    model = built(text_spec(), **settings)
    assert isinstance(model, Cooperates) and isinstance(model, Streams) and isinstance(model, Scores)
    assert not isinstance(model.members[0], Cooperates)


def test_one_candidate_is_the_writer_alone() -> None:
    """Whatever the critic says, and with whatever draws: the same distribution, so the same greedy text."""
    for framed in (True, False):
        model = stirred(built(text_spec(framed=framed), **STEER))
        steered = model.sample(5, {}, ItemRng(0, range(5)), candidates=1, temperature=0)["text"]
        layout = model._layout({"temperature": 0})
        assert torch.equal(steered, autoregressive.write(model.members[0], 5, {}, ItemRng(0, range(5)), **layout))


def test_steering_reweighs_the_writer_by_the_critic() -> None:
    """Two tokens, equally likely to the writer, one twice as likely to the critic: two thirds of many candidates."""
    from maquette.sampling import steered

    class Writer:
        class Memory:
            def rows(self, index: Tensor) -> Writer.Memory:
                return self

        def begin(self, n: int, *rest: object) -> Memory:
            return Writer.Memory()

        def advance(self, memory: Memory, tokens: Tensor, logits: Tensor | None = None) -> Tensor:
            if logits is not None:  # as a critic
                return torch.where(tokens == 8, torch.tensor(2.0).log(), torch.tensor(0.0))
            return torch.zeros(*tokens.shape, 9)

    n, writer = 4000, Writer()
    blocks = steered.stream(writer, writer, n, {}, ItemRng(0, range(n)), start=7, length=4, framed=False,
                            candidates=24, block=2)  # fmt: skip
    text = torch.cat([tokens for tokens, _ in blocks], 1)
    assert text.shape == (n, 4)
    assert torch.allclose((text == 8).float().mean(0), torch.tensor(2 / 3), atol=0.03)


def test_steered_items_do_not_depend_on_n_and_say_who_chose() -> None:
    model = stirred(built(text_spec(), **STEER))
    many = model.sample_with_deciders(9, {}, ItemRng(2, range(9)))
    few = model.sample_with_deciders(4, {}, ItemRng(2, range(4)))
    assert all(torch.equal(a[:4], b) for a, b in zip(many, few, strict=True))
    text, decider = many
    assert ((decider == -1) == (text == 0) | (torch.arange(16) == 0)).all() and {0, 1} <= set(
        decider.flatten().tolist()
    )
    assert model.agents == ("seq2seq 1", "critic")
    streamed = torch.stack(list(model.stream(9, {}, ItemRng(2, range(9)))), 1)
    assert torch.equal(streamed, text[:, 1 : 1 + streamed.shape[1]]) and not text[:, 1 + streamed.shape[1] :].any()


def test_steering_follows_prompts_and_stops() -> None:
    model = stirred(built(text_spec(framed=False), **STEER))
    text, decider = model.sample_with_deciders(
        3, {}, ItemRng(0, range(3)), prompt=torch.tensor([7, 8]), max_tokens=11, stop=lambda t: t[:, -1] == 9
    )
    assert text.shape == (3, 13) and (text[:, :2] == torch.tensor([7, 8])).all() and (decider[:, :2] == -1).all()
    for row in text.tolist():
        assert 9 not in row[2:] or not any(row[2 + row[2:].index(9) + 1 :])


def test_the_critic_reads_along_as_it_was_trained() -> None:
    """In blocks as in one pass: what it sees in writing is what it saw in training."""
    spec = text_spec(framed=False)
    model = stirred(built(spec, **STEER))
    assert isinstance(model, WriterAndCritic)
    x = made_up_batch(spec, 4).only()
    logits = model.advance(model.begin(4, {}), x[:, :-1])
    with torch.no_grad():
        whole = model.judge.advance(model.judge.begin(4, {}, x[:, :1]), x[:, 1:], logits)
        memory = model.judge.begin(4, {}, x[:, :1])
        parts = [model.judge.advance(memory, x[:, a:b], logits[:, a - 1 : b - 1]) for a, b in ((1, 4), (4, 5), (5, 16))]
    assert torch.allclose(whole, torch.cat(parts, 1), atol=1e-5) and whole.abs().max() > 0
    assert opinions([logits, logits], x[:, 1:]).shape == (4, 15, 4)


# -- runs --------------------------------------------------------------------------------------------


def member_run(path: Path, spec: DataSpec, seed: int, family: str = "seq2seq", **model: object) -> Path:
    settings = {**SMALL, **model} if family == "seq2seq" else model
    recipe = Recipe(about="member", family=family, target=("text",), given=spec.given, model=settings)
    folder = RunFolder(path)
    path.mkdir()
    folder.write_recipe(recipe)
    folder.write_spec(spec)
    made = stirred(
        build_model(recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})}), spec)
    )
    folder.write_weights(made.state_dict(), step=0)
    return path


def as_run(path: Path, spec: DataSpec, config: Config) -> tuple[RunFolder, Model]:
    """What training leaves behind."""
    recipe = Recipe(about="together", family="cooperative", target=("text",), given=spec.given,
                    model=config.model_dump(mode="json"))  # fmt: skip
    folder, model = RunFolder(path), build_model(recipe, spec)
    path.mkdir()
    folder.write_recipe(recipe)
    folder.write_spec(spec)
    folder.write_weights(model.state_dict(), step=0)
    return folder, model


def test_a_run_needs_its_members_no_longer(tmp_path: Path) -> None:
    spec = text_spec(classes=2)
    runs = [member_run(tmp_path / "a", spec, 0), member_run(tmp_path / "b", text_spec(tokens=9), 1, cell="gru")]
    config = resolve(Config(members=tuple(map(str, runs))), spec)
    folder, model = as_run(tmp_path / "together", spec, config)
    batch = made_up_batch(spec, 4)
    alone = Generator.load(open_run(runs[0])).model
    with torch.no_grad():
        assert torch.equal(model.eval().members[0].token_log_prob(batch), alone.token_log_prob(batch))
        before = model.token_log_prob(batch)
        for run in runs:
            shutil.rmtree(run)
        moved = tmp_path / "elsewhere"
        shutil.move(folder.path, moved)
        again = Generator.load(open_run(moved)).model
        assert torch.equal(again.token_log_prob(Batch(batch.target, batch.given, 4)), before)
    assert again.agents == ("a", "b")


def test_members_that_do_not_fit_are_named(tmp_path: Path) -> None:
    spec = text_spec()
    fits = str(member_run(tmp_path / "fits", spec, 0))
    for name, other, said in (
        ("vocab", text_spec(vocab=21), "vocab"),
        ("framed", text_spec(framed=False), "framed"),
        ("labelled", text_spec(classes=3), "label"),
    ):
        path = str(member_run(tmp_path / name, other, 0))
        with pytest.raises(UserError, match=name) as error:
            resolve(Config(members=(fits, path)), spec)
        assert said in str(error.value)
    with pytest.raises(UserError, match="no run at"):
        resolve(Config(members=(fits, str(tmp_path / "nowhere"))), spec)
    with pytest.raises(UserError, match="2 or more"):
        cooperative.build(Config(members=(fits,)), spec)


def test_a_received_run_imports_no_family_of_its_choice(tmp_path: Path) -> None:
    spec = text_spec()
    with pytest.raises(UserError, match="not imported"):
        built(spec, members=[{"family": "json.tool"}, MEMBERS[0]])


@pytest.mark.parametrize("name", ["text/cooperative", "text/writer-critic"])
def test_recipes_can_be_read(name: str) -> None:
    from maquette.core.find import recipe_text

    recipe = parse_recipe(recipe_text(name))
    assert recipe.family == "cooperative" and yaml.safe_load(recipe.dump())["model"]["members"] == []


def test_a_critic_of_ngrams_sums_a_weight_for_each() -> None:
    critic = NgramCritic(vocab=5, order=3)
    with torch.no_grad():
        for n, table in enumerate(critic.weights, 1):
            table.weight.copy_(torch.arange(5**n).unsqueeze(1) * 10.0**-n)
    text = torch.tensor([[1, 4, 2]])
    # Before the text is padding, 0. Numbers of n-grams have their last token as the most significant digit.
    expected = [
        1 / 10 + (1 * 5 + 0) / 100 + (1 * 25 + 0 * 5 + 0) / 1000,
        4 / 10 + (4 * 5 + 1) / 100 + (4 * 25 + 1 * 5 + 0) / 1000,
        2 / 10 + (2 * 5 + 4) / 100 + (2 * 25 + 4 * 5 + 1) / 1000,
    ]
    whole = critic.advance(critic.begin(1), text)
    assert torch.allclose(whole, torch.tensor([expected]))
    memory = critic.begin(1)
    parts = [critic.advance(memory, text[:, :1]), critic.advance(memory, text[:, 1:])]
    assert torch.equal(torch.cat(parts, 1), whole)


def test_a_critic_of_ngrams_with_fewer_weights_than_ngrams_shares_them() -> None:
    critic = NgramCritic(vocab=50, order=4, rows=64)
    assert [table.num_embeddings for table in critic.weights] == [50, 64, 64, 64]
    text = torch.randint(50, (3, 20), generator=torch.Generator().manual_seed(0))
    assert critic.advance(critic.begin(3), text).shape == (3, 20)
