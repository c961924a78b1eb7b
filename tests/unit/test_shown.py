"""What words of a file may do to a terminal, a page or the name of a file: nothing."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette import console
from maquette.console import Cleaned, clean_streams, give, painter
from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.files import write_json
from maquette.core.shown import STEM, cleaned, file_stem, file_stems, shown
from maquette.report.page import asset, plotly_js


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("\x1b[31mred\x1b[0m", r"\u001b[31mred\u001b[0m"),
        ("\x1b]8;;http://a\x1b\\b\x07", r"\u001b]8;;http://a\u001b" "\\" r"b\u0007"),
        ("\x9b2J\x85\x00\x7f", r"\u009b2J\u0085\u0000\u007f"),
        ("\u202egpj.exe\u2066\u2069\u200e\u200f\u061c", r"\u202egpj.exe\u2066\u2069\u200e\u200f\u061c"),
        ("a\u200bb\u200cc\u200dd\u2060\ufeff\xad", r"a\u200bb\u200cc\u200dd\u2060\ufeff\u00ad"),
        ("\u2028\u2029\u3164\u115f\U000e0041", r"\u2028\u2029\u3164\u115f\udb40\udc41"),
        ("pay\ufe0fpal 葛\ufe00\ufe01", "pay\\ufe0fpal 葛\ufe00\\ufe01"),  # one form a letter, and none of a Latin one
        ("\ud800", r"\ud800"),
        ("\u0430\u200d", r"а\u200d"),  # noqa: RUF001 - Cyrillic
    ],
)
def test_what_moves_turns_or_is_not_seen_is_shown_by_its_number(words: str, seen: str) -> None:
    assert cleaned(words) == shown(words) == seen == cleaned(seen)


@pytest.mark.parametrize(
    "words",
    [
        "one\ttwo\nthree", "naïve e\u0301 Ångström", "क्\u200dष हिन्दी",
        "עברית العربية فارسی", "می\u200cخواهم",  # noqa: RUF001
        "ภาษา\u200bไทย", "猫\u3000犬 葛\U000e0100", "👩\u200d❤️\u200d👨 👍🏽 1️⃣ ☎️",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "5\xa0%", "ᠮᠣᠩᠭᠣᠯ\u180e\u1820",
    ],
)  # fmt: skip
def test_letters_accents_and_emoji_of_all_scripts_stay(words: str) -> None:
    assert cleaned(words) == words


def test_a_name_stands_on_one_line() -> None:
    assert shown("a\nb\tc\rd") == r"a\nb\tc\rd"
    assert shown(b"a\xff".decode("utf-8", "surrogateescape")) == r"a\xff"  # as a disk may have it


@given(st.text())
def test_json_stays_the_same_json(words: str) -> None:
    assert json.loads(cleaned(json.dumps([words], ensure_ascii=False))) == [words]


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Lu", "So"])))
def test_nothing_that_formats_is_left_but_between_letters(words: str) -> None:
    for i, character in enumerate(made := shown(words)):
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise AssertionError(ascii(made))
        if character in "\u200c\u200d\u200b":
            assert i and ord(made[i - 1]) > 0x2FF, ascii(made)
    assert shown(made) == made


# -- names of files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "stem"),
    [
        ("a/b\\c:d", "a_b_c_d"), ("../../etc/passwd", "etc_passwd"), (".hidden", "hidden"), ("-rf", "rf"),
        ("CON", "_CON"), ("nul.txt", "_nul.txt"), ("com1", "_com1"), ("console", "console"), ("end. ", "end"),
        ("\u202egpj.exe\x1b[2J", "gpj.exe_2J"), ("हिन्दी", "हिन्दी"), ("猫 3", "猫_3"), ("***", ""), ("Straße", "Straße"),
    ],
)  # fmt: skip
def test_words_become_part_of_a_name_that_fits_any_system(words: str, stem: str) -> None:
    assert file_stem(words) == stem


@given(st.lists(st.text(), unique=True, max_size=8))
def test_columns_have_files_of_their_own(names: list[str]) -> None:
    stems = file_stems(names)
    assert [*stems] == names and len({stem.casefold() for stem in stems.values()}) == len(names)
    for stem in stems.values():
        assert stem and not set(stem) & set('/\\:*?"<>|\0') and len(stem.encode()) <= STEM + 8 and cleaned(stem) == stem


def test_the_same_name_again_and_again_gets_a_number() -> None:
    assert file_stems(["a/b", "a_b", "A_B"]) == {"a/b": "a_b", "a_b": "a_b_2", "A_B": "A_B_3"}


# -- what goes out -----------------------------------------------------------------------------------

EVIL, SEEN = "\x1b[31m[red]x[/red]\u202e", r"\u001b[31m[red]x[/red]\u202e"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_errors_and_what_files_say_of_themselves_are_cleaned() -> None:
    assert str(UserError(f"'{EVIL}' is not there.", EVIL)) == f"'{SEEN}' is not there.\n  {SEEN}"
    assert About(run=EVIL).of(label=EVIL).fields["label"] == SEEN == About(run=EVIL).fields["run"]


def test_streams_clean_whoever_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    clean_streams()
    clean_streams()
    print(EVIL)
    print(EVIL, file=sys.stderr)
    assert out.getvalue() == err.getvalue() == SEEN + "\n"
    sys.stdout.writelines([EVIL, EVIL])
    assert out.getvalue() == SEEN + "\n" + SEEN + SEEN
    assert isinstance(sys.stdout, Cleaned) and sys.stdout.bare is out and not hasattr(sys.stdout, "buffer")


def test_what_a_model_wrote_is_raw_for_programs_and_cleaned_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, found in ((io.StringIO(), EVIL), (Terminal(), SEEN)):
        monkeypatch.setattr(sys, "stdout", stream)
        clean_streams()
        give(EVIL, end="")
        assert stream.getvalue() == found


def test_what_comes_in_pieces_is_seen_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", stream := Terminal())
    clean_streams()
    for piece in ("\N{WOMAN}", "", "\u200d", "\N{ROCKET}", "\x1b", "[2J", "\u200d", "x"):
        give(piece, end="")
    assert stream.getvalue() == "\N{WOMAN}\u200d\N{ROCKET}" + r"\u001b[2J\u200dx"


def test_tables_draw_words_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.table import Table

    monkeypatch.setattr(sys, "stdout", stream := Terminal())
    monkeypatch.setenv("COLUMNS", "120")
    table = Table(f"head {EVIL}", title=EVIL)
    table.add_row(EVIL)
    painter().print(table)
    assert stream.getvalue().count(SEEN) == 3 and "\u202e" not in stream.getvalue()


def test_what_is_printed_while_bars_are_drawn_is_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    from maquette.core.progress import Stage

    monkeypatch.setattr(sys, "stdout", out := Terminal())
    monkeypatch.setattr(sys, "stderr", err := Terminal())
    bars = console.Bars()
    bars.draw([Stage(f"reading {EVIL}", 10)])
    print("\x1b]8;;http://evil\x1b\\click")
    print("\x1b]8;;http://evil\x1b\\click", file=sys.stderr)
    bars.close()
    seen = out.getvalue() + err.getvalue()
    assert "reading" in seen and r"\u202e" in seen and "\u202e" not in seen and "\x1b]8" not in seen
    assert seen.count("click") == 2 and sys.stderr is err


def test_scripts_and_styles_of_pages_need_no_cleaning() -> None:
    """Else their digests, by which a browser knows them, would be of something that never ran."""
    assert all(cleaned(asset(name)) == asset(name) for name in ("page.js", "style.css"))
    assert cleaned(plotly_js()) == plotly_js()


def test_files_of_json_are_cleaned_and_the_same(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"name": EVIL})
    assert cleaned(path.read_text()) == path.read_text() and json.loads(path.read_text()) == {"name": EVIL}
