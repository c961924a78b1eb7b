"""The recurrent encoder-decoder: what it reads, what it remembers, and what it must not see."""

import pytest
import torch
from torch.nn import functional as F

from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.model import Aligns, Scores, Step, Streams
from maquette.core.rng import ItemRng, StepRng
from maquette.core.spec import BOS, EOS, PAD, DataSpec
from maquette.losses import sequence
from maquette.modalities.label import Spec as LabelSpec
from maquette.modalities.text import Spec as TextSpec
from maquette.models import seq2seq
from maquette.nets.recurrent import projected_nll, reverse

SMALL = {"width": 16, "embedding": 12, "dropout": 0.0}
VOCAB, LENGTH = 30, 12
SETTINGS = [
    {},
    {"cell": "gru", "attention": "additive", "layers": 1},
    {"attention": "dot", "query": "top", "reverse_source": True},
    {"input_feeding": True, "cell": "gru", "layers": 3},
    {"attention": "none", "bidirectional": False, "reverse_source": True},
    {"shared_embeddings": False, "tied_output": False, "bidirectional": False, "layers": 1},
]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def spec(source: bool = True, classes: int = 0) -> DataSpec:
    text = TextSpec(shape=(LENGTH,), vocab=VOCAB, framed=True, start=BOS, mean_length=8.0, unit="bpe")
    columns = {"en": text}
    columns |= {"de": text} if source else {}
    columns |= {"kind": LabelSpec(classes=tuple("abc"[:classes]))} if classes else {}
    return DataSpec(columns=columns, target=("en",), given=tuple(name for name in columns if name != "en"))


def texts(n: int, seed: int, width: int = LENGTH) -> torch.Tensor:
    """Framed texts of 1 to width - 2 tokens, i64[n, width]."""
    generator = torch.Generator().manual_seed(seed)
    out = torch.randint(7, VOCAB, (n, width), generator=generator)
    ends = torch.randint(2, width, (n,), generator=generator)
    ends[0] = width - 1
    out[:, 0] = BOS
    out[torch.arange(n), ends] = EOS
    return out.masked_fill(torch.arange(width) > ends[:, None], PAD)


def make(source: bool = True, classes: int = 0, n: int = 5, **settings) -> tuple[seq2seq.RecurrentModel, Batch]:
    model = seq2seq.build(seq2seq.Config(**(SMALL | settings)), spec(source, classes)).eval()
    given = {"de": texts(n, 1)} if source else {}
    given |= {"kind": torch.arange(n) % classes} if classes else {}
    return model, Batch({"en": texts(n, 2)}, given, n)


def padded(x: torch.Tensor, more: int = 3) -> torch.Tensor:
    return F.pad(x, (0, more), value=PAD)


def step(index: int = 0, total: int = 10, items: int = 5, seed: int = 0) -> Step:
    return Step(index, total, StepRng(seed, items))


@pytest.mark.parametrize("settings", SETTINGS)
def test_any_chunks_give_the_same_logits(settings):
    model, batch = make(**settings)
    with torch.no_grad():
        whole = model.advance(model.begin(5, batch.given), batch.only())
        for sizes in ([1] * LENGTH, [5, 1, 6], [11, 1]):
            memory = model.begin(5, batch.given)
            parts = torch.cat([model.advance(memory, part) for part in batch.only().split(sizes, 1)], 1)
            assert torch.allclose(parts, whole, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_language_model_too(settings):
    model, batch = make(source=False, classes=3, **settings)
    assert isinstance(model, Streams) and not isinstance(model, Aligns)
    with torch.no_grad():
        whole = model.advance(model.begin(5, batch.given), batch.only())
        memory = model.begin(5, batch.given)
        parts = torch.cat([model.advance(memory, part) for part in batch.only().split(1, 1)], 1)
        untold = model.advance(model.begin(5, {}), batch.only())
    assert torch.allclose(parts, whole, atol=1e-5)
    assert not torch.allclose(untold, whole, atol=1e-3)
    assert model.sample(2, {}, ItemRng(0, range(2)))["en"].shape == (2, LENGTH)


@pytest.mark.parametrize("settings", SETTINGS)
def test_padding_does_not_matter(settings):
    model, batch = make(**settings)
    wide = Batch({"en": padded(batch.only())}, {"de": padded(batch.given["de"])}, 5)
    with torch.no_grad():
        once, again = model.token_log_prob(batch), model.token_log_prob(wide)
        assert torch.allclose(again[:, : LENGTH - 1], once, atol=1e-5)
        assert (again[:, LENGTH - 1 :] == 0).all()
        alone = [model.token_log_prob(batch.rows(i, i + 1)) for i in range(5)]
        assert torch.allclose(torch.cat(alone), once, atol=1e-5)
        one, other = (model.nll(b, step()).total for b in (batch, wide))
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_no_token_sees_what_follows(settings):
    model, batch = make(**settings)
    other = batch.only().clone()
    other[:, 6:] = texts(5, 9)[:, 6:]
    with torch.no_grad():
        one, two = (model.advance(model.begin(5, batch.given), x) for x in (batch.only(), other))
    assert torch.allclose(one[:, :6], two[:, :6], atol=1e-6)


@pytest.mark.parametrize("settings", SETTINGS)
def test_rows_of_the_memory(settings):
    model, batch = make(classes=2, **settings)
    index = torch.tensor([3, 3, 0])
    with torch.no_grad():
        memory = model.begin(5, batch.given)
        model.advance(memory, batch.only()[:, :4])
        chosen = memory.rows(index)
        ahead = model.advance(memory, batch.only()[:, 4:])
        assert torch.allclose(model.advance(chosen, batch.only()[index, 4:]), ahead[index], atol=1e-5)


def test_reversing_leaves_padding_at_the_end():
    x = torch.tensor([[1, 5, 2, 0], [1, 7, 8, 2]])
    assert reverse(x, x != PAD).tolist() == [[2, 5, 1, 0], [2, 8, 7, 1]]
    wide = torch.randn(2, 4, 3)
    mask = x != PAD
    assert torch.equal(reverse(reverse(wide, mask), mask), wide)


def test_a_reversed_source_is_the_same_net_on_reversed_tokens():
    model, batch = make(reverse_source=True, attention="none", bidirectional=False)
    plain, _ = make(reverse_source=False, attention="none", bidirectional=False)
    plain.load_state_dict(model.state_dict())
    source = batch.given["de"]
    mirrored = Batch(batch.target, {"de": reverse(source, source != PAD)}, 5)
    with torch.no_grad():
        assert torch.allclose(model.token_log_prob(batch), plain.token_log_prob(mirrored), atol=1e-6)
        assert not torch.allclose(model.token_log_prob(batch), plain.token_log_prob(batch), atol=1e-4)


@pytest.mark.parametrize("settings", [s for s in SETTINGS if s.get("attention") != "none"])
def test_alignments(settings):
    model, batch = make(**settings)
    assert isinstance(model, Aligns) and isinstance(model, Scores)
    with torch.no_grad():
        weights = model.alignment(batch)
    assert weights.shape == (5, LENGTH - 1, LENGTH)
    assert torch.allclose(weights.sum(-1), torch.ones(5, LENGTH - 1), atol=1e-5)
    nowhere = (batch.given["de"] == PAD)[:, None].expand_as(weights)
    assert nowhere.any() and (weights[nowhere] == 0).all()
    assert not isinstance(make(attention="none")[0], Aligns)


def test_alignments_count_the_source_as_given():
    """Reversed or not, a net that attends to one token's annotation points at that token's place."""
    model, batch = make(reverse_source=True, attention="dot", layers=1)
    with torch.no_grad():
        memory = model.begin(5, batch.given)
        encoded = memory.source
        assert encoded is not None
        for i, source in enumerate(batch.given["de"]):
            alone = model.begin(1, {"de": source[source != PAD][None]}).source
            assert torch.allclose(encoded.values[i, : alone.values.shape[1]], alone.values[0], atol=1e-5)
        assert torch.equal(encoded.mask, batch.given["de"] != PAD)


def test_noise_comes_from_the_step_alone():
    model, batch = make(dropout=0.3, scheduled_sampling=1.0)
    losses = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        losses.append(model.nll(batch, step(index=9)).total)
    assert torch.equal(*losses)
    assert not torch.equal(losses[0], model.nll(batch, step(index=9, seed=1)).total)


def test_noise_belongs_to_the_item():
    """The same item sees the same dropout and the same coins in any micro-batch."""
    model, batch = make(dropout=0.3, scheduled_sampling=1.0, n=6)
    whole = model.nll(batch, step(9, items=6)).total
    halves = [model.nll(batch.rows(i, i + 3), Step(9, 10, StepRng(0, 6, start=i))).total for i in (0, 3)]
    assert torch.allclose(whole, (halves[0] + halves[1]) / 2, atol=1e-5)


def test_scheduled_sampling_grows_from_teacher_forcing():
    model, batch = make(scheduled_sampling=1.0)
    plain, _ = make()
    plain.load_state_dict(model.state_dict())
    first, last = (model.nll(batch, step(index)).total for index in (0, 9))
    assert torch.allclose(first, plain.nll(batch, step()).total, atol=1e-5)
    assert not torch.allclose(first, last, atol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"scheduled_sampling": 0.5, "input_feeding": True, "muon": 0.0}])
def test_one_batch_can_be_learned(settings):
    model, batch = make(width=64, embedding=32, label_smoothing=0.0, lr=1e-2, **settings)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    model.train()
    for i in range(150):
        loss = model.nll(batch, step(i, 150, seed=i))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    model.eval()
    assert loss.parts["nats_per_token"] < 0.1
    written = model.sample(5, batch.given, ItemRng(0, range(5)), temperature=0.0)["en"]
    assert torch.equal(written, batch.only())


def test_an_encoder_needs_its_source():
    model, _ = make()
    with pytest.raises(UserError, match="de"):
        model.sample(1, {}, ItemRng(0, range(1)))
    with pytest.raises(UserError, match="width"):
        make(width=15)


def test_one_table_only_where_the_tokenizer_is_one():
    shared, _ = make()
    assert shared.net.embed_source is None and shared.net.out is None
    own, _ = make(shared_embeddings=False, tied_output=False)
    assert own.net.embed_source is not None and own.net.out is not None


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_in_pieces_is_the_loss(smoothing):
    x, weight, bias = (torch.randn(*shape, requires_grad=True) for shape in ((2, 9, 6), (VOCAB, 6), (VOCAB,)))
    tokens = texts(2, 3, 9)
    loss, nll = sequence.smoothed_nll(F.linear(x, weight, bias), tokens, smoothing, PAD)
    whole = torch.autograd.grad(loss.sum(), (x, weight, bias))
    real = tokens != PAD
    total, plain = projected_nll(x[real], weight, bias, tokens[real], smoothing, rows=4)
    pieces = torch.autograd.grad(total, (x, weight, bias))
    assert torch.allclose(total, loss.sum(), atol=1e-4) and torch.allclose(plain, nll.sum(), atol=1e-4)
    for ours, theirs in zip(pieces, whole, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
