"""The transformer: all at once, in pieces and token by token are one function; what it sees and what it does not."""

import copy

import pytest
import torch
import torch.nn.functional as F

from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.find import find_family
from maquette.core.model import Step
from maquette.core.rng import ItemRng, StepRng
from maquette.core.spec import BOS, EOS, MIDDLE, PAD, PREFIX, SUFFIX
from maquette.engine.loop import Loop
from maquette.engine.schedule import Course
from maquette.engine.state import State
from maquette.engine.world import World
from maquette.losses.sequence import token_log_prob
from maquette.models.transformer import Config, rearrange
from maquette.nets import attention, writing
from maquette.nets.attention import Dropout, SelfAttention, attend, band, padding_bias, relu_squared, rotate, rotation
from maquette.nets.condition import Classes, Condition
from maquette.nets.ngrams import Ngrams
from maquette.nets.transformer import Transformer
from specs import text_spec

VOCAB, SOURCE, CONTEXT = 40, 30, 16


def make(source: bool, width: int = 64, **settings) -> Transformer:
    torch.manual_seed(0)
    net = Transformer(VOCAB, width, 3, 4, CONTEXT, 128, source_vocab=SOURCE if source else 0,
                      encoder_layers=2, **settings)  # fmt: skip
    return awake(net).eval()


def awake(net: torch.nn.Module) -> torch.nn.Module:
    """Without weights at zero, so that every layer counts."""
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
        if parameter.ndim == 1:  # the gain of a norm
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return net


def texts(n: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(7, VOCAB, (n, length), generator=torch.Generator().manual_seed(seed))


def sources(n: int) -> torch.Tensor:
    source = torch.randint(7, SOURCE, (n, 9), generator=torch.Generator().manual_seed(1))
    source[1, 4:] = 0
    return source


@pytest.mark.parametrize("step", ["numpy", "numba", "torch"])
@pytest.mark.parametrize("source", [False, True])
@pytest.mark.parametrize("pieces", [[1] * 50, [16, 16, 18], [50], [5, 1, 1, 20, 3, 20], [1, 30, 1, 1, 17], [15, 2, 33]])
def test_any_way_of_cutting_a_text_gives_the_same_logits_also_past_the_context(source, pieces, step, monkeypatch):
    """step: single tokens as a CPU reads them (nets/writing.py), compiled or not, or as everything else does."""
    if step == "numba":
        compiled_from_the_first(monkeypatch)
    net, tokens, c = make(source, ngrams=3, ngram_rows=2000, shift=32), texts(3, 50), torch.randn(3, 64)
    given = sources(3) if source else None
    with torch.no_grad():
        whole = net(tokens, given, c)
    memory = net.begin(3, given, c)
    assert memory.step is not None
    memory.step = None if step == "torch" else memory.step
    parts = torch.cat([net.advance(memory, part) for part in tokens.split(pieces, 1)], 1)
    assert memory.position == 50
    assert (parts - whole).abs().max() < 1e-5
    assert (net(tokens, given, c).detach() - whole).abs().max() < 1e-5  # as training computes it


def compiled_from_the_first(monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(writing, "_WORTH", 0)


@pytest.mark.parametrize("worth", [0, 100])  # compiled, in numpy
def test_what_runs_over_is_left_to_those_who_draw_from_it(worth, monkeypatch):
    compiled_from_the_first(monkeypatch)
    monkeypatch.setattr(writing, "_WORTH", worth)
    net = make(False)
    net.blocks[1].attention.qkv.weight.data[: 2 * 64].mul_(1e20)  # queries and keys are finite, their products are not
    memory = net.begin(1)
    assert not torch.isfinite(torch.cat([net.advance(memory, texts(1, 1)) for _ in range(3)], 1)[:, 1:]).any()


@pytest.mark.parametrize("threads", [1, 3])
def test_compiled_a_text_is_the_same_to_the_last_bit_alone_and_with_others(threads, monkeypatch):
    """Of sizes that fill no tile: 25 texts are tiles of 6 and 4 rows and one left over, and three threads' shares."""
    compiled_from_the_first(monkeypatch)
    monkeypatch.setattr("maquette.nets.writing_numba._SHARE", 8)
    net = Transformer(45, 36, 2, 3, 12, 100, ngrams=3, ngram_rows=50, shift=10)
    net, tokens, n = awake(net).eval(), texts(25, 30), 25
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        memory = net.begin(n)
        together = torch.cat([net.advance(memory, part) for part in tokens.split(1, 1)], 1)
        for rows in ([0], [24], [3, 4], [7, 8, 9], list(range(10))):
            memory = net.begin(len(rows))
            apart = torch.cat([net.advance(memory, part) for part in tokens[rows].split(1, 1)], 1)
            assert torch.equal(apart, together[rows])
    finally:
        torch.set_num_threads(before)
    assert memory.step.compiled is not None
    with torch.no_grad():
        assert (together - net(tokens)).abs().max() < 1e-4 * together.abs().max()


def test_the_compiled_step_is_for_those_who_write_much_and_have_no_source(monkeypatch):
    """It takes as long to be loaded as two thousand steps in numpy."""
    monkeypatch.setattr(writing, "_WORTH", 3)
    used = []
    monkeypatch.setattr(writing.Step, "compiled", property(lambda step: used.append(step.times)))  # None: no numba
    for source, times in ((False, [4, 5]), (True, [])):
        net, used[:] = make(source), []
        for _ in range(5):  # texts of one token each
            net.advance(net.begin(2, sources(2) if source else None), texts(2, 1))
        assert sorted(set(used)) == times


def test_a_step_is_prepared_once_and_anew_where_weights_have_changed():
    """However they changed: a fused optimizer does not count its changes (Tensor._version)."""
    net, tokens = make(False, ngrams=3, ngram_rows=50), texts(2, 1)
    first = net.begin(2).step
    assert net.begin(3).step is first
    for weight in net.parameters():
        version = weight._version
        weight.data.mul_(1.1)
        assert weight._version == version and net.begin(1).step is not first
        first = net.begin(1).step
    with torch.no_grad():
        assert (net.advance(net.begin(2), tokens) - net(tokens)).abs().max() < 1e-5


@pytest.mark.parametrize("source", [False, True])
def test_rows_of_a_memory_are_a_memory_of_its_own(source):
    net, tokens = make(source, ngrams=4, shift=16), texts(3, 30)
    given = sources(3) if source else None
    index = torch.tensor([2, 0, 0, 1])
    memory = net.begin(3, given)
    net.advance(memory, tokens[:, :20])
    other = memory.rows(index)
    with torch.no_grad():
        whole = net(tokens, given)
    assert (net.advance(other, tokens[index, 20:]) - whole[index, 20:]).abs().max() < 1e-5
    assert (net.advance(memory, tokens[:, 20:]) - whole[:, 20:]).abs().max() < 1e-5


def test_ngrams_are_told_by_their_own_tokens_alone():
    ngrams, tokens = awake(Ngrams(64, 4, 500, 16)).eval(), texts(1, 40)
    other = tokens.clone()
    other[0, 20] = (other[0, 20] - 6) % 33 + 7
    with torch.no_grad():
        changed = (ngrams(tokens) - ngrams(other)).abs().amax(-1)[0] > 1e-6
    assert changed.nonzero().flatten().tolist() == [17, 18, 19, 20]  # the first token that it tells of is the fourth


def test_an_ngram_never_met_says_nothing_and_few_share_a_row():
    ngrams = Ngrams(64, 5, 4096, 8)
    assert not ngrams(texts(2, 30)).any()
    ngrams(texts(1, 1000)).sum().backward()
    met = ngrams.table.weight.grad.any(1).view(4, 4096).sum(1)  # rows of each length
    assert (met > 500).all()  # of 996 n-grams, two thirds of the pairs different, in 4,096 rows


def test_while_learning_a_share_of_ngrams_is_left_out_and_the_mean_stays():
    ngrams, tokens = awake(Ngrams(64, 3, 500, 16, dropout=0.5)), texts(1, 12).expand(4000, -1)
    with torch.no_grad():
        learning, reading = ngrams.train()(tokens), ngrams.eval()(tokens)
    assert (learning[0] - reading[0]).abs().max() > 0.1
    assert (learning.mean(0) - reading[0]).abs().max() < 0.1 * reading.std()


@pytest.mark.parametrize("n", [1, 3])
def test_a_text_alone_and_beside_others_has_the_logits_of_the_network(n):
    net, tokens = make(False), texts(n, 40)
    with torch.no_grad():
        whole = net(tokens)
    memory = net.begin(n)
    assert (torch.cat([net.advance(memory, token) for token in tokens.split(1, 1)], 1) - whole).abs().max() < 1e-5


def test_a_memory_is_of_the_weights_that_were_there_when_it_began():
    net, tokens = make(False), texts(2, 1)
    first = net.advance(net.begin(2), tokens)
    with torch.no_grad():
        net.blocks[0].up.weight.mul_(2)
        whole = net(tokens)
    assert (first - whole).abs().max() > 1e-3
    assert (net.advance(net.begin(2), tokens) - whole).abs().max() < 1e-5


def test_single_tokens_are_read_where_gradients_are_on():
    net, tokens = make(False, ngrams=4, shift=16).requires_grad_(), texts(2, 1)
    assert not net.advance(net.begin(2), tokens).requires_grad


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [1, 2])
def test_numbers_that_run_over_are_not_for_numpy_to_tell(n):
    net = make(False)
    with torch.no_grad():
        net.blocks[1].up.weight.mul_(1e30)
    assert not net.advance(net.begin(n), texts(n, 1)).isfinite().any()


def test_single_tokens_are_read_as_in_training_where_dropout_or_another_precision_is_asked_for():
    net = make(False, dropout=0.5)
    assert net.train().begin(2).step is None and net.eval().begin(2).step is not None
    with torch.autocast("cpu", torch.bfloat16):
        assert net.begin(2).step is None


def test_a_token_sees_neither_what_follows_nor_what_is_further_back_than_the_context():
    torch.manual_seed(0)
    net = awake(Transformer(VOCAB, 64, 1, 4, CONTEXT, 128)).eval()  # one layer: what it sees is what reaches it
    tokens = texts(1, 40)
    other = tokens.clone()
    other[0, 10] = (other[0, 10] - 6) % 33 + 7
    with torch.no_grad():
        changed = (net(tokens) - net(other)).abs().amax(-1)[0] > 1e-6
    assert changed.nonzero().flatten().tolist() == list(range(10, 10 + CONTEXT))


def test_padding_of_a_source_changes_nothing():
    net, tokens, source = make(True), texts(2, 12), sources(3)[[0, 2], :6]
    with torch.no_grad():
        assert (net(tokens, source) - net(tokens, torch.nn.functional.pad(source, (0, 5)))).abs().max() < 1e-5


def test_alignments_are_shares_of_the_source_that_leave_out_padding():
    net = make(True)
    found = net.alignment(texts(3, 12), sources(3))
    assert found.shape == (3, 12, 9)
    assert torch.allclose(found.sum(-1), torch.ones(3, 12))
    assert (found >= 0).all()
    assert not found[1, :, 4:].any()


def test_a_class_and_no_class_are_heard():
    condition = Condition({"label": Classes(3, 64, std=64**-0.5)})
    net, tokens = make(False, condition=condition), texts(1, 5)
    with torch.no_grad():
        logits = [net(tokens, None, condition({"label": torch.tensor([y])}, 1)) for y in (-1, 0, 1, 2)]
    assert all((a - b).abs().max() > 1e-3 for i, a in enumerate(logits) for b in logits[:i])


def test_rotations_depend_on_distance_alone_even_far_from_the_start():
    q, k = torch.randn(2, 1, 16, dtype=torch.float32)
    near = rotate(q, rotation(16, 7, 1, q.device)) @ rotate(k, rotation(16, 2, 1, k.device)).T
    far = rotate(q, rotation(16, 100_007, 1, q.device)) @ rotate(k, rotation(16, 100_002, 1, k.device)).T
    assert torch.allclose(near, far, atol=1e-5)


def test_a_band_is_causal_and_as_wide_as_the_context():
    seen = band(6, 3, torch.device("cpu")) == 0
    assert seen.sum(1).tolist() == [1, 2, 3, 3, 3, 3]
    assert seen.diagonal().all()


def test_shared_tables_are_one_table():
    net = make(True, shared=True)
    assert net.source_embedding is None
    assert sum(p.shape == (VOCAB, 64) for p in net.parameters()) == 1


@pytest.mark.parametrize("cached", [1 << 18, 800, 1])
def test_the_gradients_of_attention_are_those_of_torch(monkeypatch, cached):
    """However many items are turned at a time."""
    monkeypatch.setattr(attention, "_CACHED", cached)
    layer, bias = SelfAttention(32, 2), band(11, 5, torch.device("cpu"))
    torch.nn.init.normal_(layer.out.weight)
    turn, other = rotation(16, 0, 11, bias.device), copy.deepcopy(layer)
    x = torch.randn(3, 11, 32, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    qkv = other.qkv(y).view(3, 11, 3, 2, 16).permute(2, 0, 3, 1, 4)
    seen = F.scaled_dot_product_attention(rotate(qkv[0], turn), rotate(qkv[1], turn), qkv[2], bias)
    layer(x, turn, bias).square().sum().backward()
    other.out(seen.transpose(1, 2).reshape(3, 11, 32)).square().sum().backward()
    for ours, theirs in [(x, y), *zip(layer.parameters(), other.parameters(), strict=True)]:
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4)


def test_the_gradients_of_attention_to_a_source_are_those_of_torch():
    torch.manual_seed(0)
    ours = [torch.randn(3, 2, t, 8, requires_grad=True) for t in (5, 7, 7)]
    theirs = [x.detach().clone().requires_grad_() for x in ours]
    bias = padding_bias(torch.arange(7) < torch.tensor([[7], [3], [1]]))
    attend(*ours, bias).square().sum().backward()
    F.scaled_dot_product_attention(*theirs, bias).square().sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-5)


def test_relu_squared_and_its_gradient():
    x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    y = relu_squared(x)
    y.sum().backward()
    assert y.tolist() == [0, 0, 9]
    assert x.grad is not None and x.grad.tolist() == [0, 0, 6]


def test_dropout_keeps_the_mean_and_is_silent_when_sampling():
    torch.manual_seed(0)
    layer, x = Dropout(0.25), torch.ones(100, 1003)
    y = layer(x)
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert y.mean() == pytest.approx(1, abs=0.01)
    assert not torch.equal(y, layer(x))
    assert layer.eval()(x) is x


def test_a_fresh_net_finds_all_tokens_equally_likely():
    torch.manual_seed(0)
    net = Transformer(VOCAB, 64, 2, 2, CONTEXT, 128)
    assert not net(texts(2, 10)).any()


# -- the family ------------------------------------------------------------------------------------------------


def test_filling_gaps_puts_the_middle_last_and_loses_nothing():
    x = torch.tensor([[BOS, 10, 11, 12, 13, 14, EOS, PAD], [BOS, 20, 21, EOS, PAD, PAD, PAD, PAD]])
    cuts = torch.tensor([[0.9, 0.2], [0.0, 0.99]])  # of 5 tokens the gap is 1 .. 5; of 2 it is all
    out = rearrange(x, torch.tensor([True, True]), cuts, True, 8)
    assert out[0].tolist() == [BOS, PREFIX, 10, SUFFIX, MIDDLE, 11, 12, 13, 14, EOS, PAD]
    assert out[1].tolist() == [BOS, PREFIX, SUFFIX, MIDDLE, 20, 21, EOS, PAD, PAD, PAD, PAD]
    assert rearrange(x, torch.tensor([False, True]), cuts, True, 8)[0, :8].tolist() == x[0].tolist()


def test_a_window_with_a_gap_keeps_its_length():
    x = torch.arange(10, 20)[None]
    out = rearrange(x, torch.tensor([True]), torch.tensor([[0.3, 0.6]]), False, 10)
    assert out[0].tolist() == [PREFIX, 10, 11, SUFFIX, 14, 15, MIDDLE, 12, 13, EOS]


@pytest.mark.parametrize("beside", [7, 9, 12])
def test_padding_is_no_text_and_a_text_shorter_than_a_window_keeps_what_there_is_room_for(beside):
    """`beside`: tokens of the other text of the batch, on which nothing of this one depends."""
    x = torch.full((2, max(beside, 6)), PAD)
    x[0, :6], x[1, :beside] = torch.arange(10, 16), 20
    out = rearrange(x, torch.tensor([True, True]), torch.tensor([[0.3, 0.6]] * 2), False, 12)
    own = [PREFIX, 10, 11, SUFFIX, 14, 15, MIDDLE, 12, 13, EOS]
    assert out[0, :10].tolist() == own and not out[0, 10:].any()
    assert (out[1] == 20).sum() == min(beside, 8) and (out[1] == EOS).sum() == 1 and out.shape[1] <= 12


def test_texts_shorter_than_a_window_learn_to_be_filled_alone_as_in_a_batch():
    model = find_family("transformer").build(Config(width=32, heads=2, layers=1, infill=0.9), text_spec(framed=False))
    awake(model)
    x = texts(3, 16) % 13 + 7
    x[0, 4:], x[1, 9:] = PAD, PAD
    whole = model.nll(Batch({"text": x}), Step(0, 10, StepRng(0, 3)))
    sizes = (4, 9, 16)
    alone = [
        model.nll(Batch({"text": x[i : i + 1, : sizes[i]]}), Step(0, 10, StepRng(0, 3, start=i))).total.item()
        for i in range(3)
    ]
    assert whole.total.item() == pytest.approx(sum(alone) / 3, rel=1e-4)


@pytest.mark.parametrize("framed", [False, True])
def test_rearranged_texts_hold_the_same_tokens(framed):
    x = torch.randint(7, VOCAB, (200, 20), generator=torch.Generator().manual_seed(0))
    if framed:
        x[:, 0], x[:, 15], x[:, 16:] = BOS, EOS, PAD
    out = rearrange(x, torch.ones(200, dtype=torch.bool), torch.rand(200, 2), framed, 20)
    kept = x if framed else x[:, :16]
    for row, was in zip(out, kept, strict=True):
        assert sorted(t for t in row.tolist() if t > 6) == sorted(t for t in was.tolist() if t > 6)
        assert all((row == token).sum() == 1 for token in (PREFIX, SUFFIX, MIDDLE, EOS))


def test_a_model_learns_to_fill_gaps_and_then_ends():
    torch.manual_seed(0)
    spec = text_spec(tokens=24, framed=False)
    model = find_family("transformer").build(Config(width=64, heads=2, layers=2, infill=0.9, shift=0.5), spec)
    assert model.fills_gaps
    x = (
        7 + (torch.arange(13)[:, None] + torch.arange(24)) % 13
    )  # counts upwards, so that a gap has one way to be filled
    loop = Loop(State(model, 0.0), World("cpu"), 0, Course.of(300), 13, "fp32")
    for _ in range(300):
        loop.step(Batch({"text": x}))
    after = [16, 17, 18, 19, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    prompt = torch.tensor([PREFIX, 10, 11, 12, SUFFIX, *after, MIDDLE])
    made = model.eval().sample(2, {}, ItemRng(0, range(2)), prompt=prompt, max_tokens=6, temperature=0)["text"]
    assert made[0, len(prompt) :].tolist() == [13, 14, 15, EOS, PAD, PAD]


def test_short_windows_predict_the_same_tokens_from_less():
    spec = text_spec(tokens=17, framed=False, classes=3)
    model = find_family("transformer").build(Config(width=32, heads=2, layers=1, short=((0.5, 4),)), spec)
    awake(model)
    x, y = texts(4, 17) % 13 + 7, torch.tensor([0, 1, 2, 0])
    late = model.nll(Batch({"text": x}, {"label": y}), Step(6, 10, StepRng(0, 4)))
    early = model.nll(Batch({"text": x}, {"label": y}), Step(4, 10, StepRng(0, 4)))
    hidden = StepRng(0, 4).uniform(4) < 0.1
    pieces = [x[:, i : i + 5] for i in range(0, 16, 4)]
    c = model.net.condition({"label": y.masked_fill(hidden, -1)}, 4)
    nll = [-token_log_prob(model.net(piece[:, :-1], None, c), piece[:, 1:]).sum() for piece in pieces]
    assert early.total.item() == pytest.approx(sum(nll).item() / 4 / 16, rel=1e-4)
    assert late.total.item() != pytest.approx(early.total.item(), rel=1e-4)


def test_gaps_are_for_models_without_a_source():
    with pytest.raises(UserError, match="without a source"):
        find_family("transformer").build(Config(infill=0.5), text_spec(source=True))


def test_heads_must_fit_the_width():
    with pytest.raises(ValueError, match="heads"):
        Config(width=100, heads=8)


def test_a_translation_without_its_source_is_refused_by_name():
    model = find_family("transformer").build(Config(width=32, heads=2, layers=1), text_spec(source=True))
    with pytest.raises(UserError, match="'source'"):
        model.begin(2, {})


def test_source_and_target_share_a_table_where_they_share_a_tokenizer():
    spec = text_spec(source=True)
    build = find_family("transformer").build
    assert build(Config(width=32, heads=2, layers=1), spec).net.source_embedding is None
    assert build(Config(width=32, heads=2, layers=1, shared="no"), spec).net.source_embedding is not None
