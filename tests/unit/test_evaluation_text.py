"""A whole evaluation of models of text whose quality is known: windows, lines, classes, and translations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import toy_text_family as toy
from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.model import Aligns, Model, Streams, Watch
from maquette.core.rng import Rng
from maquette.core.spec import EOS, PAD
from maquette.core.table import Dataset
from maquette.engine.alarms import Alarms, preview_diversity
from maquette.evaluation import Evaluation, evaluate
from maquette.modalities.text import watches
from maquette.modalities.text.measures import loss
from maquette.modalities.text.measures.script import script_of
from maquette.modalities.text.watches import WATCHES, Known, inspector

NOUNS, VERBS = ("cat", "dog", "fox", "owl", "bee", "hen", "cow", "pig"), ("sees", "hears", "likes", "finds", "meets")


def sentence(i: int) -> str:
    rng = np.random.default_rng(i)
    a, b, c = (NOUNS[j] for j in rng.integers(len(NOUNS), size=3))
    v, w = (VERBS[j] for j in rng.integers(len(VERBS), size=2))
    return f"the {a} {v} a {b}, and it {w} the {c}."


TRAIN, TEST = [sentence(i) for i in range(300)], [sentence(i) for i in range(1000, 1100)]


class Says(toy.Bigrams):
    """Writes texts that are set beforehand."""

    def says(self, texts: list[str], data: Dataset) -> Says:
        self.rows = toy.lines(texts, TEST).train.columns["text"].values
        spec = data.train.columns["text"].spec
        from maquette.modalities.text import tokenize

        width = spec.shape[0]
        rows = [torch.from_numpy(tokenize(text, spec)[:width]) for text in texts]
        self.rows = torch.stack([torch.cat([r, r.new_full((width - len(r),), PAD)]) for r in rows])
        return self

    def sample(self, n: int, given: Mapping[str, Tensor], rng: Rng, **options: Any) -> dict[str, Tensor]:
        u = rng.uniform(n)
        return {self.column: self.rows[(u * len(self.rows)).long()]}


def judged(texts: list[str], data: Dataset | None = None, **options: Any) -> Evaluation:
    data = data or toy.lines(TRAIN, TEST)
    model = Says(toy.Config(), data.spec(["text"], [])).says(texts, data)
    return evaluate(Generator(model, model.spec), data, **options)


@pytest.fixture(scope="module")
def real() -> Evaluation:
    return judged([sentence(i) for i in range(5000, 5400)], samples=100)


def test_the_toy_streams_and_aligns() -> None:
    data = toy.lines(["ab"], ["ab"], sources=(["ba"], ["ba"]))
    model, _ = toy.trained(data, given=["source"])
    assert isinstance(model, Streams) and isinstance(model, Aligns)


def test_real_text_reaches_its_floors(real: Evaluation) -> None:
    assert {"nats_per_token", "perplexity", "bits_per_char", "nats_per_char", "length", "distinct_1", "distinct_2",
            "distinct_3", "self_bleu", "repetition", "repetition_8", "two_sample", "copied_20", "copied_30",
            "copied_words_4", "longest_copied"} <= set(real.names())  # fmt: skip
    for name in ("length", "distinct_2", "self_bleu", "repetition", "copied_20", "copied_words_4"):
        m = real[name]
        assert None not in (m.low, m.high, m.floor_low, m.floor_high)
        assert m.low <= m.floor_high and m.floor_low <= m.high, name  # type: ignore[operator]
    assert (real["two_sample"].p_value or 0) > 0.01
    assert all(m.reading and m.asks for m in real.metrics)
    assert not any("{" in f"{m.title}{m.reading}{m.asks}" for m in real.metrics)
    assert real["bits_per_char"].value == pytest.approx(real["nats_per_char"].value / math.log(2))
    assert real.settings.nouns == ("text", "texts") and real.settings.unit == "char" and real.settings.samples == 100
    assert "judged on held-out texts of lines" in str(real) and "each token is predicted once" in str(real)


def test_same_seed_same_numbers_and_they_can_be_kept(real: Evaluation, tmp_path) -> None:  # type: ignore[no-untyped-def]
    again = judged([sentence(i) for i in range(5000, 5400)], samples=100)
    assert again.metrics == real.metrics and again.details == real.details
    assert Evaluation.load(real.save(tmp_path / "metrics.json")) == real


def test_loops_are_seen(real: Evaluation) -> None:
    found = judged(["cat the cat the cat the cat the cat the.", "dog a dog a dog a dog a dog a dog a."], samples=60)
    assert found["repetition"].value > 0.5 > found["repetition"].floor + 0.4  # type: ignore[operator]
    assert found["distinct_2"].value < 0.5 * found["distinct_2"].floor  # type: ignore[operator]
    assert "Much lower means always the same phrases." in found["distinct_2"].reading
    assert found["self_bleu"].value > real["self_bleu"].value
    assert (found["two_sample"].p_value or 1) < 0.001


def test_reciting_is_seen_and_its_source_named() -> None:
    long = [f"{sentence(i)} {sentence(i + 1)}" for i in range(0, 600, 2)]
    data = toy.lines(long, [f"{sentence(i)} {sentence(i + 1)}" for i in range(1000, 1100, 2)])
    found = judged(long[:40], data, samples=40)
    assert found["copied_50"].value == 1 and found["copied_words_8"].value == 1
    assert found["copied_50"].floor < 0.1  # type: ignore[operator]
    best = found.details["passages"][0]
    assert best["text"] == long[best["train_row"]] and best["characters"] == len(best["text"])
    assert best["train_name"] == f"text.txt:{best['train_row'] + 1}"
    other = judged(long[:40], data, samples=40, own_data=False)
    assert "copied_50" not in other and any("not the data" in text for text in other.warnings)


def test_windows_say_their_protocol() -> None:
    train, test = " ".join(TRAIN) + "\n", " ".join(TEST)
    data = toy.windows(train, test, context=32, stride=4)
    model, spec = toy.trained(toy.windows(train, test, context=32))
    found = evaluate(Generator(model, spec), data, samples=40)
    assert "windows of 32, no overlap" in found["bits_per_char"].title
    assert "sliding by 16" in found["bits_per_char_sliding"].title
    # A bigram table looks no further back than one token, so both protocols agree.
    assert found["nats_per_char_sliding"].value == pytest.approx(found["nats_per_char"].value, rel=0.02)
    assert any("move by 16 tokens" in note for note in found.notes)
    assert "length" not in found and "copied_20" in found


def test_real_pieces_are_fewer_where_held_out_text_is_short() -> None:
    data = toy.windows("\n".join(TRAIN), "\n".join(TEST[:12]), context=32)
    model, spec = toy.trained(data)
    found = evaluate(Generator(model, spec), data, samples=60)
    assert 8 < found["copied_20"].n_real < 30 and found["copied_20"].n_fake == 60
    assert any(f"Held-out text has {found['copied_20'].n_real} pieces that do not" in text for text in found.warnings)


def test_other_data_without_splits_is_no_floor_of_itself() -> None:
    text = "\n".join(TRAIN)
    data = toy.windows(text, text, context=32)
    model, spec = toy.trained(data)
    found = evaluate(Generator(model, spec), data, samples=100, own_data=False)
    assert abs((found["two_sample"].floor or 0) - 0.5) < 0.15


def test_the_form_of_a_class_is_checked() -> None:
    rng = np.random.default_rng(0)
    texts = {0: "ab\ncd", 1: "abc\nabc\nabc"}
    y = rng.integers(2, size=120).tolist()
    data = toy.lines([texts[i] for i in y], [texts[i] for i in y[:40]], labels=(y, y[:40]))
    model = Says(toy.Config(), data.spec(["text"], ["label"])).says(["ab\ncd"], data)
    found = evaluate(Generator(model, model.spec), data, samples=60)
    zero, one = found.details["forms"]
    assert (zero["label"], zero["kept"]) == ("class 0", 1) and (one["kept"], one["real"]) == (0, 1)
    assert one["form"] == "3 lines of 3" and zero["n_fake"] + one["n_fake"] == 60
    assert found["form"].value == pytest.approx(zero["n_fake"] / 60) and found["form"].floor == 1


def pairs() -> Dataset:
    return toy.lines(TRAIN[:40], TEST[:30], sources=(TRAIN[:40], TEST[:30]))


def test_translations_are_scored_with_signatures() -> None:
    data = pairs()
    model, spec = toy.trained(data, given=["source"])  # writes its source again: here the reference itself
    found = evaluate(Generator(model, spec), data)
    for name in ("bleu", "bleu_lc", "chrf", "rouge_1", "rouge_2", "rouge_l"):
        assert found[name].value == pytest.approx(100), name
    assert found["exact"].value == 1 and "distinct_1" not in found
    assert any("tok:13a" in note for note in found.notes) and found.settings.sampled.startswith("the most likely")


def test_the_search_for_translations_can_be_handed_in() -> None:
    data = pairs()
    model, spec = toy.trained(data, given=["source"])
    asked = []

    def best(given: dict[str, Tensor]) -> Tensor:
        asked.append(len(given["source"]))
        return torch.tensor([[given["source"][0, 0], EOS]]).expand(len(given["source"]), -1)

    found = evaluate(Generator(model, spec), data, best=best, samples=20)
    assert sum(asked) == 20 and found["bleu"].value == 0 and found["exact"].value == 0
    assert any("20 of the 30" in note for note in found.notes)


def test_what_was_judged_on_is_named() -> None:
    data = pairs()
    model, spec = toy.trained(data, given=["source"])
    found = evaluate(Generator(model, spec), data, own_data=False)
    assert "not the data that the model was trained on" in found.warnings[0] and "copies" not in found.warnings[0]
    assert found.settings.judged_on == "texts of lines, which is not the data that the model was trained on"
    named = replace(data, source="/somewhere/lines: val", splits={"val": data.test})
    found = evaluate(Generator(model, spec), named)
    assert found.settings.judged_on == "texts of the split 'val' of lines" and not found.warnings[0].startswith("This")


# -- bad input -------------------------------------------------------------------------------------


def test_empty_samples_are_named() -> None:
    found = judged([""], samples=30)
    assert any("30 of the 30 samples are empty" in text for text in found.warnings)
    assert "distinct_1" not in found and "bits_per_char" in found and found["length"].value == 0
    assert any(text.startswith("Left out: Different words") for text in found.warnings)


def test_one_held_out_sentence() -> None:
    found = judged(TRAIN[:5], toy.lines(TRAIN, TEST[:1]))
    assert found["nats_per_token"].low is None and found["nats_per_token"].value > 0
    assert any("Only 1 held-out text:" in text for text in found.warnings)
    assert str(found)
    data = toy.lines(TRAIN[:3], TEST[:1], sources=(TRAIN[:3], TEST[:1]))
    model, spec = toy.trained(data, given=["source"])
    assert evaluate(Generator(model, spec), data)["bleu"].low is None


def test_what_cannot_be_judged_is_refused() -> None:
    data = toy.lines(TRAIN, TEST)
    for options, match in (({"samples": 1}, "at least 2"), ({"seed": -1}, "seed")):
        with pytest.raises(UserError, match=match):
            judged(TRAIN, data, **options)
    other = toy.lines([text.upper() for text in TRAIN], TEST)
    model, spec = toy.trained(data)
    with pytest.raises(UserError, match="other tokens"):
        evaluate(Generator(model, spec), other)
    model.table.weight.data.fill_(math.nan)
    with pytest.raises(UserError, match="not finite"):
        evaluate(Generator(model, spec), data)


def test_a_model_that_tells_no_probabilities_is_judged_by_what_it_writes() -> None:
    data = toy.lines(TRAIN, TEST)

    class Mute(Model):
        def sample(self, n: int, given: Any, rng: Rng) -> dict[str, Tensor]:
            return {"text": data.test.columns["text"].take((rng.uniform(n).numpy() * 100).astype(int))}

    found = evaluate(Generator(Mute(), data.spec(["text"], [])), data, samples=30)
    assert "nats_per_token" not in found and "distinct_1" in found
    assert any("held-out loss" in text for text in found.warnings)


def test_a_large_model_is_not_read_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "SLIDING", 1.0)
    data = toy.windows(" ".join(TRAIN) + "\n", " ".join(TEST), context=32)
    model, spec = toy.trained(data)
    found = evaluate(Generator(model, spec), data, samples=20)
    assert "bits_per_char_sliding" not in found and any("sliding windows was left out" in n for n in found.notes)


# -- while training --------------------------------------------------------------------------------


def test_previews_are_inspected_beside_real_text() -> None:
    data = toy.lines(TRAIN, TEST)
    spec = data.spec(["text"], [])
    look = inspector(data, spec, "text")

    def values(texts: list[str]) -> dict[str, float]:
        model = Says(toy.Config(), spec).says(texts, data)
        return look(model, {"text": model.rows})

    fresh, loops, copied = values([sentence(i) for i in range(7000, 7100)]), values(["a " * 19]), values(TRAIN[:50])
    assert abs(fresh["preview/repetition"]) < 0.05 and loops["preview/repetition"] > 0.7
    assert abs(fresh["preview/copied"]) < 0.1 and copied["preview/copied"] > fresh["preview/copied"] + 0.12
    vocab = spec.only().vocab
    assert fresh["preview/held_out_nats"] == pytest.approx(math.log(vocab), abs=1e-4)  # the table is all zeros
    assert "preview/copied" not in values(["a", ""]) and "preview/repetition" not in values([""])
    pair_data = pairs()
    model, pair_spec = toy.trained(pair_data, given=["source"])
    batch = pair_data.test.batch(np.arange(4), pair_spec)
    found = inspector(pair_data, pair_spec, "text")(model, {"text": batch.only()})
    assert set(found) == {"preview/repetition", "preview/held_out_nats"}


def test_remembered_passages_are_thinned_without_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy.lines(TRAIN, TEST)
    mixed = TRAIN[:100] + [text.replace("the", "our") for text in TRAIN[100:200]]
    whole = Known.of(data, "text", 12, script_of(TRAIN))
    monkeypatch.setattr(watches, "KEPT", 300)
    some = Known.of(data, "text", 12, script_of(TRAIN))
    assert some.shift > 0 and len(some._hashes) <= 300 < len(whole._hashes)
    assert some.share(TRAIN) == whole.share(TRAIN) == 1
    assert some.share(mixed) == pytest.approx(whole.share(mixed), abs=0.1)


def raised(alarms: Alarms, lines: list[dict[str, float]], first: int = 0, apart: int = 10) -> list[str]:
    names = [alarm.name for i, line in enumerate(lines) for alarm in alarms.check(first + apart * i, line)]
    return list(dict.fromkeys(names))


def test_over_fitting_is_rising_above_the_best_for_long() -> None:
    rising = [{"preview/held_out_nats": 2 + abs(i - 40) / 50} for i in range(100)]
    assert raised(Alarms(WATCHES, 1000), rising) == ["over-fitting"]
    noisy = [{"preview/held_out_nats": 2 + 0.2 * (i % 2)} for i in range(100)]
    assert raised(Alarms(WATCHES, 1000), noisy) == []
    half = Alarms(WATCHES, 1000)
    half.recall([{"step": 1, "preview/held_out_nats": 1.0}, {"alarm": "x", "step": 2}])
    assert raised(half, [{"preview/held_out_nats": 1.5}] * 100) == ["over-fitting"]


def test_a_spike_is_far_above_all_recent_losses() -> None:
    usual = [{"lm/loss": 1.5 + 0.01 * (i % 3)} for i in range(60)]
    assert raised(Alarms(WATCHES, 1000), [*usual, {"lm/loss": 6.0}, *usual]) == ["loss spike"]
    assert raised(Alarms(WATCHES, 1000), [*usual, {"lm/loss": 3.0}]) == []
    wild = [{"g/loss": (0.1, 2.0)[i % 2]} for i in range(90)]
    assert raised(Alarms(WATCHES, 1000), wild) == []
    below_zero = [{"elbo/loss": -1.0 + 0.1 * (i % 2)} for i in range(60)]
    assert raised(Alarms(WATCHES, 1000), [*below_zero, {"elbo/loss": 50.0}]) == []
    early = [{"lm/loss": 1.0}] * 25 + [{"lm/loss": 9.0}]
    assert raised(Alarms(WATCHES, 1000), early, apart=1) == []  # no run is judged by its first steps
    short = {"nll/loss": 3.0, "nll/nats_per_token": 3.5}
    long = {"nll/loss": 19.0, "nll/nats_per_token": 4.0}
    assert raised(Alarms(WATCHES, 1000), [short] * 60 + [long]) == []  # a sum over a batch of long texts, and no worse
    assert raised(Alarms(WATCHES, 1000), [short] * 60 + [{**short, "nll/nats_per_token": 14.0}]) == ["loss spike"]


def test_repetition_and_copying_have_watches_and_a_familys_own_still_work() -> None:
    lines = [{"preview/repetition": 0.5, "preview/copied": 0.6, "x/y": 2.0}] * 100
    own = Watch("mine", "x/y", "seen", "try", above=1.0, patience=0.0)
    assert set(raised(Alarms([own, *WATCHES], 1000), lines)) == {"mine", "repetition loops", "copying"}
    assert raised(Alarms([own, *WATCHES], 1000, ["mine", "copying"]), lines) == ["repetition loops"]


def test_tokens_have_no_diversity() -> None:
    data = toy.lines(TRAIN, TEST)
    batch: Batch = data.test.batch(np.arange(4), data.spec(["text"], []))
    assert preview_diversity({"text": batch.only()}, batch, data.spec(["text"], [])) == {}
