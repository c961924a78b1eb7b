"""What is asked of a model of text: prompts, gaps, forms, stop words, streaming, lines into lines."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.generator import Generator, build_model
from maquette.core.model import Model
from maquette.core.recipe import Recipe, load_recipe
from maquette.core.run import RunFolder
from maquette.core.spec import BOS, EOS, SPECIALS, ColumnSpec, DataSpec
from maquette.data import read_lines
from maquette.modalities import text as modality
from maquette.modalities.label import Spec as LabelSpec
from maquette.modalities.text import Spec as TextSpec
from maquette.modalities.text import decode, stdin, train_tokenizer, translation, vocabulary, writing
from maquette.modalities.text.writing import Decoding
from toy_text_family import tokenizer

KNOWN = "abcdefgh ,.\n"
SMALL = {
    "transformer": {"width": 32, "heads": 2, "layers": 1},
    "seq2seq": {"width": 16, "layers": 1, "embedding": 16, "attention": "none"},
}


def column(framed: bool = True, tokens: int = 12, unit: str = "char", known: str = KNOWN) -> ColumnSpec:
    made = tokenizer([known])[0] if unit == "char" else train_tokenizer(["ab cd ef, gh. " * 9], unit, 270)
    vocab = vocabulary(made).tokens
    start = BOS if framed else vocab.index("\n" if unit == "char" else "a")
    return TextSpec(shape=(tokens,), vocab=len(vocab), unit=unit, tokenizer=made, framed=framed,
                      start=start, mean_length=tokens)  # fmt: skip


def spec_of(text: ColumnSpec, source: ColumnSpec | None = None, shares: Sequence[float] = ()) -> DataSpec:
    classes = tuple(f"class {i}" for i in range(len(shares)))
    columns = {"text": text, "source": source, "label": shares and LabelSpec(classes=classes, shares=shares)}
    given = tuple(name for name, has in (("source", source), ("label", shares)) if has)
    return DataSpec(columns={k: v for k, v in columns.items() if v}, target=("text",), given=given)


def recipe_of(spec: DataSpec, family: str = "transformer", **settings: object) -> Recipe:
    model = {**SMALL[family], **settings}
    return Recipe(about="writing", family=family, target=spec.target, given=spec.given, model=model)


def stirred(model: Model) -> Model:
    """Weights by which every layer, and what is given, counts."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def language_model(
    framed: bool = True, unit: str = "char", family: str = "transformer", **settings: object
) -> Generator:
    spec = spec_of(column(framed, unit=unit))
    return Generator(stirred(build_model(recipe_of(spec, family, **settings), spec)), spec)


def batch(generator: Generator, n: int, decoding: Decoding) -> list[str]:
    made = generator.sample(n, {}, chunk=n, **decoding.options(generator, n))["text"]
    return writing.texts(writing.cut(made, decoding, generator.spec.only()), generator.spec.only())


def streamed(generator: Generator, item: int, decoding: Decoding) -> list[str]:
    return list(writing.stream(generator, {}, 0, item, decoding))


# -- gaps and stop words -------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["char", "bpe"])
@pytest.mark.parametrize("framed", [True, False])
def test_a_gap_is_filled_in_its_place_as_it_is_written(framed: bool, unit: str) -> None:
    generator = language_model(framed, unit, infill=0.5)
    decoding = Decoding(infill="ab [gap] gh", max_tokens=9)
    whole = batch(generator, 6, decoding)
    for item, text in enumerate(whole):
        pieces = streamed(generator, item, decoding)
        assert "".join(pieces) == text and pieces[0] == "ab " and pieces[-1] == " gh"
        shown = [piece for piece in pieces[1:-1] if piece]
        assert len(shown) > 1 or len(text) < len("ab  gh") + 3  # piece by piece
    assert len(set(whole)) > 1 and any(len(text) > len("ab  gh") for text in whole)


@pytest.mark.parametrize("framed", [True, False])
def test_a_stop_word_cuts_what_fills_the_gap_and_nothing_that_was_given(framed: bool) -> None:
    generator = language_model(framed, infill=0.5)
    decoding = Decoding(infill="ab, [gap], a", stop=("a", ","), max_tokens=9)
    for item, text in enumerate(batch(generator, 12, decoding)):
        assert text.startswith("ab, ") and text.endswith(", a")
        assert not set("a,") & set(text[len("ab, ") : -len(", a")])
        assert "".join(streamed(generator, item, decoding)) == text
    free = batch(generator, 12, Decoding(infill="ab, [gap], a", max_tokens=9))
    assert any(set("a,") & set(text[4:-3]) for text in free)


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("unit", ["char", "bpe"])
def test_a_stop_word_cuts_what_follows_the_prompt(framed: bool, unit: str) -> None:
    generator = language_model(framed, unit)
    decoding = Decoding(prompt="ab a", stop="a", max_tokens=9)
    free = batch(generator, 12, Decoding(prompt="ab a", max_tokens=9))
    for item, (text, long) in enumerate(zip(batch(generator, 12, decoding), free, strict=True)):
        assert text == "ab a" + long[4:].partition("a")[0]
        assert "".join(streamed(generator, item, decoding)) == text


@pytest.mark.parametrize("unit", ["char", "bpe"])
def test_a_stop_word_of_several_tokens_is_found_wherever_it_ends(unit: str) -> None:
    generator = language_model(False, unit)
    free = batch(generator, 8, Decoding(prompt="ab a", max_tokens=40))
    word = free[0][20:23]  # stands in one of them at least
    for item, long in enumerate(free):
        decoding = Decoding(prompt="ab a", stop=word, max_tokens=40)
        text = "".join(streamed(generator, item, decoding))
        assert text == "ab a" + long[4:].partition(word)[0] == batch(generator, 8, decoding)[item]


def test_what_was_shown_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the last word of a long text comes as fast as the first."""
    generator, read, decode = language_model(False), [], modality.decode

    def counted(tokens: Sequence[int], spec: ColumnSpec) -> str:
        read.append(len(tokens))
        return decode(tokens, spec)

    monkeypatch.setattr(modality, "decode", counted)
    text = "".join(streamed(generator, 0, Decoding(stop="qqq", max_tokens=50)))
    assert len(text) == 50 and max(read) <= 3


def test_one_stop_word_is_one_word() -> None:
    assert Decoding(stop="\n\n") == Decoding(stop=("\n\n",)) == Decoding(stop=["\n\n"])
    with pytest.raises(UserError, match="empty"):
        Decoding(stop=("a", ""))


# -- limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": float("inf")}, {"temperature": float("nan")}, {"temperature": 1e-42}, {"temperature": -1.0},
        {"top_k": -1}, {"top_p": 0.0}, {"top_p": float("nan")}, {"min_p": 1.5}, {"repetition_penalty": 0.0},
        {"repetition_penalty": float("inf")}, {"max_tokens": 0},
    ],
)  # fmt: skip
def test_options_out_of_their_limits_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        Decoding(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("degree", [0.0, 0.001, 1000.0])
def test_every_temperature_within_its_limits_writes(degree: float) -> None:
    assert len(batch(language_model(), 3, Decoding(temperature=degree, min_p=1.0 if degree else 0.0))) == 3


# -- forms ---------------------------------------------------------------------------------------------


def keeps(text: str, pattern: str) -> bool:
    return len(text) == len(pattern) and all(
        writing.layout(c) == "_" if p == "_" else c == p for c, p in zip(text, pattern, strict=True)
    )


@pytest.mark.parametrize("family", ["transformer", "seq2seq"])
@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("pattern", ["__", "a_, __.\n__", "_" * 40 + "."])
def test_a_form_is_kept_to_its_end_whatever_the_model_writes(family: str, framed: bool, pattern: str) -> None:
    """Of windows too, and where it is longer than any text of the data."""
    generator = language_model(framed, family=family)
    decoding = Decoding(pattern=pattern)
    whole = batch(generator, 4, decoding)
    assert all(keeps(text, pattern) for text in whole) and len(set(whole)) > 1
    assert "".join(streamed(generator, 2, decoding)) == whole[2]


def test_a_prompt_is_part_of_the_form() -> None:
    generator = language_model()
    for text in batch(generator, 4, Decoding(prompt="ab, c", pattern="__, __.")):
        assert keeps(text, "__, __.") and text.startswith("ab, c")
    assert batch(generator, 1, Decoding(prompt="ab.", pattern="__.")) == ["ab."]
    for prompt, said in (("a, ", "',', its character 2"), ("ab, cd.e", "'e', its character 8")):
        with pytest.raises(UserError, match=said):
            batch(generator, 1, Decoding(prompt=prompt, pattern="__, __."))


def test_a_form_that_could_not_be_kept_is_refused() -> None:
    generator = language_model()
    assert batch(generator, 1, Decoding(pattern="a.", max_tokens=2)) == ["a."]
    with pytest.raises(UserError, match="cut the form off"):
        batch(generator, 1, Decoding(pattern="___.", max_tokens=3))
    with pytest.raises(UserError, match="in no training text"):
        batch(generator, 1, Decoding(pattern="_!"))
    spec = spec_of(column(known=",.\n"))
    with pytest.raises(UserError, match="in no training text"):
        writing.form(["_"], spec.only())
    for other in ({"infill": "a [gap]"}, {"stop": "a"}):
        with pytest.raises(UserError, match="whole text"):
            Decoding(pattern="__", **other)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="empty"):
        Decoding(pattern="")


def test_combining_marks_are_parts_of_words() -> None:
    assert writing.layout("किताब, 12 é ที่") == "_____, __ _ ___"
    text = column(known="कि, ")
    mark = vocabulary(text.tokenizer).tokens.index("\N{DEVANAGARI VOWEL SIGN I}")
    assert writing.form(["_"], text).mask(torch.zeros(1, 0, dtype=torch.int64))[0, mark]


# -- where, and what is asked --------------------------------------------------------------------------


class Written(Model):
    """Writes texts that are known beforehand; remembers what it was given, and from which device."""

    def __init__(self, spec: DataSpec, tokens: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.spec, self.tokens, self.context = spec, tokens, spec.only().shape[0] - 1
        self.given: list[Mapping[str, Tensor]] = []

    class Memory:
        def __init__(self, row: Tensor) -> None:
            self.row, self.read = row, 0

        def rows(self, index: Tensor) -> Written.Memory:
            new = Written.Memory(self.row[index])
            new.read = self.read
            return new

    def begin(self, n: int, given: Mapping[str, Tensor]) -> Memory:
        self.given.append(given)
        return Written.Memory(given.get("label", torch.zeros(n, dtype=torch.int64)))

    def advance(self, memory: Memory, tokens: Tensor) -> Tensor:
        memory.read += tokens.shape[1]
        logits = torch.zeros(*tokens.shape, self.spec.only().vocab)
        for logit, row in zip(logits, memory.row.tolist(), strict=True):
            text = self.tokens[row]
            logit[-1, text[(memory.read - 1) % len(text)]] = 20.0
        return logits

    def token_log_prob(self, batch: object) -> Tensor:
        raise NotImplementedError


def test_what_is_given_goes_where_the_model_is() -> None:
    spec = spec_of(column(), shares=(0.5, 0.5))
    generator = Generator(model := Written(spec, [[EOS], [EOS]]), spec, "meta")
    model.begin = lambda n, given: (_ for _ in ()).throw(AssertionError(given["label"].device.type))  # type: ignore
    with pytest.raises(AssertionError, match="meta"):
        list(writing.stream(generator, {"label": torch.tensor([1])}, 0, 0, Decoding()))


def translator(texts: Sequence[Sequence[int]], shares: Sequence[float] = (), tokens: int = 70) -> Generator:
    spec = spec_of(column(tokens=tokens), column(tokens=12), shares)
    return Generator(Written(spec, texts), spec)


FIRST = len(SPECIALS)


def test_a_target_may_be_as_long_as_any_of_the_data() -> None:
    long = [FIRST + i % 5 for i in range(64)]
    said: list[str] = []
    (text,) = translation.translate(translator([[*long, EOS]]), ["ab"], beam=1, notify=said.append)
    assert text == decode(long, column()) and not said


def test_targets_that_do_not_end_are_named() -> None:
    said: list[str] = []
    endless = translator([[FIRST, FIRST + 1]], tokens=9)
    made = list(translation.translate(endless, ["ab", "", "a"], beam=1, notify=said.append))
    assert len(made[0]) == 8 and made[1] == "" and len(said) == 1 and "Lines 1, 3:" in said[0]


def test_targets_that_are_empty_are_named() -> None:
    said: list[str] = []
    assert list(translation.translate(translator([[EOS]]), ["ab", "", "a"], beam=1, notify=said.append)) == ["", "", ""]
    assert said == ["Lines 1, 3: the model ended before it wrote anything, so nothing stands there."]


@pytest.mark.parametrize("wrong", [{"beam": 0}, {"length_penalty": -1.0}, {"length_penalty": float("nan")}])
def test_options_of_translation_out_of_their_limits_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        translation.translate(translator([[EOS]]), ["ab"], **wrong)  # type: ignore[arg-type]


def test_a_run_with_a_source_and_a_label_translates_by_its_label() -> None:
    generator = translator([[FIRST, EOS], [FIRST + 1, EOS]], (0.5, 0.5))
    one, two = (decode([FIRST + i], column()) for i in range(2))
    assert list(translation.translate(generator, ["ab", "a"], label="class 1")) == [two, two]
    assert list(translation.translate(generator, ["ab", "a"], label=0)) == [one, one]
    lines = ["ab"] * 30
    drawn = list(translation.translate(generator, lines))
    assert set(drawn) == {one, two}
    assert drawn == list(translation.translate(generator, iter(lines)))  # a line's label is its own
    with pytest.raises(UserError, match="class"):
        translation.translate(generator, lines, label="class 7")
    with pytest.raises(UserError, match="trained without label"):
        translation.translate(translator([[EOS]]), lines, label="class 1")


def test_lines_are_answered_as_they_come_and_a_list_at_once() -> None:
    generator = translator([[FIRST, EOS]])
    assert isinstance(generator.model, Written)

    def arriving() -> Iterator[list[str]]:
        yield ["a", "b"]
        answered.append(list(made_so_far))
        yield ["c"]

    answered: list[list[str]] = []
    made_so_far: list[str] = []
    for text in translation.translate(generator, arriving()):
        made_so_far.append(text)
    assert len(answered[0]) == 2 and [len(g["source"]) for g in generator.model.given] == [2, 1]
    generator.model.given.clear()
    assert len(list(translation.translate(generator, ["a", "b", "c"]))) == 3
    assert [len(g["source"]) for g in generator.model.given] == [3]
    assert len(list(translation.translate(generator, "abc"))) == 1  # one text, not three
    with pytest.raises(UserError, match="Line 3 has"):
        list(translation.translate(generator, iter([["a", "b"], ["a" * 30]])))
    with pytest.raises(UserError, match="Line 2 has"):
        next(translation.translate(generator, ["a", "b" * 30]))


# -- standard input ------------------------------------------------------------------------------------


GERMAN = "".join(f"{n} Mädchen größer als der Bär über dem Fluß.\n" for n in range(20)).encode("latin-1")


@pytest.mark.parametrize("piped", [True, False])
@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"\xef\xbb\xbfab\r\n\x00c\x07d\n\ne", ["ab", "cd", "", "e"]),
        ("ab\ncd\n".encode("utf-16"), ["ab", "cd"]),
        (GERMAN, None), (b"\n", [""]), (b"", []),
    ],
    ids=["marks", "utf-16", "latin-1", "empty line", "nothing"],
)  # fmt: skip
def test_standard_input_is_read_as_a_file_is(data: bytes, lines: list[str] | None, piped: bool, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(data)
    found = list(stdin.blocks(pipe_of(data) if piped else io.BytesIO(data)))
    made = [line for block in found for line in block]
    assert made == read_lines(tmp_path / "in.txt") == (made if lines is None else lines)
    assert len(found) <= 1 or piped


def pipe_of(data: bytes) -> io.BufferedReader:
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return os.fdopen(read, "rb")


def test_a_pipe_is_answered_line_by_line() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as stream:
        arriving = stdin.blocks(stream)
        for text in (b"one\n", b"zwei \xc3\xa4\nd"):
            os.write(write, text)
            assert len(next(arriving)) == 1
        os.write(write, b"rei\nvi")
        os.close(write)
        assert list(arriving) == [["drei"], ["vi"]]


def test_damaged_standard_input_is_refused() -> None:
    with pytest.raises(UserError, match="standard input"):
        list(stdin.blocks(pipe_of("é è ü ä ö à ".encode() * 9 + b"\xff\n")))


# -- the verbs -----------------------------------------------------------------------------------------


def maquette(*words: str | Path) -> int:
    from maquette.cli.main import main

    sys.argv = ["maquette", *map(str, words)]
    with pytest.raises(SystemExit) as done:
        main()
    return int(done.value.code or 0)


@pytest.fixture(autouse=True)
def own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)


def run_of(path: Path, spec: DataSpec, family: str = "transformer") -> Path:
    recipe, folder = recipe_of(spec, family), RunFolder(path)
    path.mkdir()
    folder.write_spec(spec)
    folder.write_data({})
    folder.write_recipe(recipe)
    folder.write_weights(stirred(build_model(recipe, spec)).state_dict(), step=0)
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stream", "-n", "0"], "from 1 to"),
        (["--stream", "--seed", "-1"], "0 or more"),
        (["--temperature", "inf"], "temperature"),
        (["--temperature", "1e-42"], "temperature"),
        (["--pattern", ""], "pattern"),
        (["--pattern", "__", "--prompt", "."], "does not fit"),
    ],
)
def test_what_cannot_be_sampled_is_said(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert maquette("sample", run_of(tmp_path / "lm", spec_of(column(framed=False))), *options) == 2
    assert said in capsys.readouterr().err


def test_lines_are_translated_by_their_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(tmp_path / "de", spec_of(column(), column(), (0.5, 0.5)))
    (tmp_path / "in.txt").write_text("ab\n\nab\n", encoding="utf-8")
    told = {}
    for label in ("class 0", "class 1"):
        assert maquette("translate", run, "--input", tmp_path / "in.txt", "--label", label) == 0
        told[label] = capsys.readouterr().out.split("\n")
        assert len(told[label]) == 4 and told[label][0] == told[label][2] and told[label][1] == ""
    assert told["class 0"] != told["class 1"]
    for wrong in (["--length-penalty", "-1"], ["--length-penalty", "nan"], ["--beam", "0"], ["--label", "class 9"]):
        assert maquette("summarise", run, "--input", tmp_path / "in.txt", *wrong) == 2


@pytest.mark.parametrize("verb", ["translate", "summarise"])
def test_a_file_is_one_block_of_lines(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path / "de", spec_of(column(), column()), "seq2seq")
    (tmp_path / "in.txt").write_text("ab\na\\na\n" + "abcd" * 9 + "\n", encoding="utf-8")
    blocks: list[int] = []
    monkeypatch.setattr(
        translation, "_translated", lambda generator, lines, *rest: blocks.append(len(lines)) or iter(())
    )
    assert maquette(verb, run, "--input", tmp_path / "in.txt") == 2
    done = capsys.readouterr()
    assert "Line 3 has" in done.err and not done.out and not blocks  # refused before anything is translated
    (tmp_path / "in.txt").write_text("ab\nba\nc\n", encoding="utf-8")
    assert maquette(verb, run, "--input", tmp_path / "in.txt") == 0
    assert blocks == [3]


# -- recipes -------------------------------------------------------------------------------------------


def test_an_automatic_batch_keeps_the_recipes_number_of_tokens() -> None:
    plain = load_recipe("text/lm").train
    assert plain.batch_tokens
    auto = load_recipe("text/lm", ["train.micro_batch=4", "train.batch_size=auto"]).train
    assert auto == plain
    assert load_recipe("text/lm", ["train.batch_size=4"]).train.batch_tokens is None
