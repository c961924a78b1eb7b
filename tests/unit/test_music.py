"""Tunes as data and as files: what is read of MIDI and ABC, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import io
import json
import wave
from fractions import Fraction as F
from pathlib import Path

import mido
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.core.spec import BOS, EOS, PAD, DataSpec
from maquette.data import open_dataset
from maquette.data.raw import File
from maquette.modalities import music
from maquette.modalities.music.abc_notation.reading import read as of_abc
from maquette.modalities.music.abc_notation.reading import tunes
from maquette.modalities.music.abc_notation.writing import write as in_abc
from maquette.modalities.music.claims import claims
from maquette.modalities.music.config import Config, Spec
from maquette.modalities.music.contract import made_up
from maquette.modalities.music.damage import DAMAGES
from maquette.modalities.music.data import encode, examine, itemise, tune_of
from maquette.modalities.music.duplicates import Likeness
from maquette.modalities.music.files import score_of
from maquette.modalities.music.grammar import Grammar, follows
from maquette.modalities.music.measures import distance, longest, traits
from maquette.modalities.music.melody import intervals
from maquette.modalities.music.midi import MOST_BYTES
from maquette.modalities.music.midi import read as of_midi
from maquette.modalities.music.midi import write as in_midi
from maquette.modalities.music.report import previewed, tiles
from maquette.modalities.music.shown import PLAYED, view
from maquette.modalities.music.sound import RATE, render, wav
from maquette.modalities.music.tokens import Score, opening, pieces, read, score, vocabulary
from maquette.modalities.music.tune import Key, Note, Tune, likely_key, melody
from maquette.modalities.music.values import asked
from maquette.testing import column_spec, data_spec

ABOUT = About("Maquette 0.1.0", "runs/x", "transformer", 7, 3, True, {"label": "Polka, 七"})
SPEC = Spec(shape=(1024,))


def some(count: int = 8, seed: int = 0) -> list[Tune]:
    draws = np.random.default_rng(seed)
    return [made_up(draws) for _ in range(count)]


def items(tunes: list[Tune], relative: bool = True) -> torch.Tensor:
    made = [torch.tensor(pieces(score(tune, 12)[0], relative, 4096)[0]) for tune in tunes]
    return torch.nn.utils.rnn.pad_sequence(made, batch_first=True)


# -- ABC ---------------------------------------------------------------------------------------------


def sung(body: str, head: str = "M:4/4\nL:1/4\nK:C", **options: bool) -> list[tuple[F, F, int]]:
    """Start, length and pitch of each note of a melody."""
    found = of_abc(f"X:1\n{head}\n{body}\n", **options)
    return sorted((note.start, note.length, note.pitch) for note in found.notes if note.lead)


def pitches(body: str, head: str = "M:4/4\nL:1/4\nK:C", **options: bool) -> list[int]:
    return [pitch for _, _, pitch in sung(body, head, **options)]


@pytest.mark.parametrize(
    ("body", "head", "expected"),
    [
        ("C,Cc c'|", "M:4/4\nL:1/4\nK:C", [48, 60, 72, 84]),
        ("FcBE|", "M:4/4\nL:1/4\nK:D", [66, 73, 71, 64]),
        ("FBEA|", "M:4/4\nL:1/4\nK:Bb", [65, 70, 63, 69]),
        ("F^FF=F|FFFF|", "M:4/4\nL:1/4\nK:C", [65, 66, 66, 65, 65, 65, 65, 65]),  # signs hold until the bar line
        ("FCDE|", "M:4/4\nL:1/4\nK:Amix", [66, 61, 62, 64]),  # two sharps
        ("FCDE|", "M:4/4\nL:1/4\nK:Edor", [66, 61, 62, 64]),
        ("FCDE|", "M:4/4\nL:1/4\nK:C ^f", [66, 60, 62, 64]),
        ("BEAD|", "M:4/4\nL:1/4\nK:Bb clef=bass", [70, 63, 69, 62]),
        ("BEAD|", "M:4/4\nL:1/4\nK:Bb clef=bass =e", [70, 64, 69, 62]),
        ("FCGA|", "M:4/4\nL:1/4\nK:Hp", [66, 61, 67, 69]),
        ("[CEG]2 z2|", "M:4/4\nL:1/4\nK:C", [67]),  # the highest leads
        ("C2[K:G]F2|", "M:4/4\nL:1/4\nK:C", [60, 66]),
        ('"^slow".C!trill!D{ef}(EF)|', "M:4/4\nL:1/4\nK:C", [60, 62, 64, 65]),
    ],
)
def test_pitches_of_abc(body: str, head: str, expected: list[int]) -> None:
    assert pitches(body, head) == expected


@pytest.mark.parametrize(
    ("body", "lengths"),
    [
        ("C D2 E/ F/|", [1, 2, F(1, 2), F(1, 2)]),
        ("C3/2D//E//F2|", [F(3, 2), F(1, 4), F(1, 4), 2]),
        ("C>DE<F|", [F(3, 2), F(1, 2), F(1, 2), F(3, 2)]),
        ("C>>D E2|", [F(7, 4), F(1, 4), 2]),
        ("(3CDE F2|", [F(2, 3)] * 3 + [2]),
        ("(3:2:2C2D F2|", [F(4, 3), F(2, 3), 2]),
        ("C2-C D|", [3, 1]),
        ("C3 D-|D4|", [3, 5]),  # tied over the bar line
        ("C-C-|C2 D2|", [4, 2]),
    ],
)
def test_lengths_of_abc(body: str, lengths: list[F]) -> None:
    assert [length for _, length, _ in sung(body)] == lengths


def test_where_nothing_is_said_a_note_is_an_eighth_or_a_sixteenth() -> None:
    assert sung("C8|", "M:4/4\nK:C")[0][1] == 4 and sung("C8|", "M:2/4\nK:C")[0][1] == 2
    assert sung("CDE|", "M:3/8\nK:C") and of_abc("X:1\nM:C|\nK:C\nC8|").metres == ((2, 2),)


def test_repeats_and_endings() -> None:
    body = "|:C4|D4|[1E4:|[2F4||G4|]"
    assert pitches(body) == [60, 62, 65, 67]  # once, with the last ending
    assert pitches(body, repeats=True) == [60, 62, 64, 60, 62, 65, 67]
    assert pitches("C4|D4::E4|F4:|", repeats=True) == [60, 62, 60, 62, 64, 65, 64, 65]
    assert pitches("|:C4|1D4:|2E4|]", repeats=True) == [60, 62, 60, 64]


def test_a_bar_that_a_part_ends_in_is_made_whole_by_what_the_next_begins_with() -> None:
    found = of_abc("X:1\nM:4/4\nL:1/4\nK:C\nG|C2E2|D3:|\nc|B2A2|C3|]")
    assert len(found.metres) == 5 and found.odd == 0
    assert [note.start for note in found.notes][:3] == [3, 4, 6]  # it begins within the bar


def test_ties_within_brackets_are_of_their_notes() -> None:
    assert sung("G2[CE-]2|E4|") == [(0, 2, 67), (2, 6, 64)]
    assert sung("E2[G-E]2|G4|") == [(0, 2, 64), (2, 6, 67)]


def test_a_line_may_be_a_note_and_a_repeat() -> None:
    assert pitches("C2D\nA:|\nB4|") == [60, 62, 69, 71]


def test_chord_symbols_sound_until_the_next() -> None:
    found = of_abc('X:1\nM:4/4\nL:1/4\nK:C\n"C"CC"G7"DD|CCCC|"Am/c"A4|')
    beside = sorted((note.start, note.length, note.pitch) for note in found.notes if not note.lead)
    assert beside[:3] == [(0, 2, 48), (0, 2, 52), (0, 2, 55)]
    assert [part for part in beside if part[0] == 4] == [(4, 4, p) for p in (55, 59, 62, 65)]
    assert {pitch for start, _, pitch in beside if start == 8} == {57, 60, 64}


@pytest.mark.parametrize(
    "body",
    ["V:1\nCDEF|G4|\nV:2\nC,4|E,4|", "[V:1] CDEF|\n[V:2] C,4|\n[V:1] G4|\n[V:2] E,4|", "CDEF|G4|\nV:2\nC,4|E,4|",
     "V:T1 clef=treble\nCDEF|[V:B]C,4|E,4|[V:T1]G4|"],
)  # fmt: skip
def test_the_first_of_several_voices_leads_and_all_are_heard(body: str) -> None:
    found = of_abc(f"X:1\nM:4/4\nL:1/4\nV:9 clef=bass\nK:C\n{body}\n")
    lead, beside = ([(n.start, n.pitch) for n in found.notes if n.lead is leads] for leads in (True, False))
    assert lead == [(0, 60), (1, 62), (2, 64), (3, 65), (4, 67)] and beside == [(0, 48), (4, 52)]
    assert found.metres == ((4, 4), (4, 4)) and found.odd == 0


def test_each_voice_has_accidentals_repeats_and_a_key_of_its_own() -> None:
    found = of_abc("X:1\nM:4/4\nL:1/4\nK:G\nV:1\n|:F^CCF:|\nV:2\nK:C\n|:F,C,C,F,:|\nV:3\nz4|", repeats=True)
    assert [n.pitch for n in found.notes if n.lead] == 2 * [66, 61, 61, 66]
    assert [n.pitch for n in found.notes if not n.lead] == 2 * [53, 48, 48, 53] and len(found.metres) == 2


def test_keys_and_tempos_of_abc() -> None:
    def key(name: str) -> str:
        return of_abc(f"X:1\nQ:3/8=100\nK:{name}\nC4|").key.name

    assert [key(name) for name in ("C", "F#m", "Bb", "Ador", "Gmix", "none")] == ["C", "F#m", "Bb", "Em", "C", "C"]
    assert of_abc("X:1\nQ:3/8=100\nM:6/8\nK:C\nC6|").tempo == 150


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("X:1\nK:C\nz4|z4|", "no note"),
        ("X:1\nK:C\nC@D|", "'@' is not read"),
        ("X:1\nM:4/4\nL:1/4\nK:C\nC3|C5|C|C7|", "do not add up"),
        ("X:1\nM:11/8\nK:C\nC11|", "metre 11/8"),
        ("X:1\nK:C\nV:1\nC8|C8|\nV:2\nM:3/4\nC6|", "voices .* whose bars"),
        ("X:1\nK:C\nV:1\nC8|\nV:2 clef=bass octave=-1\nC8|", "sounds elsewhere"),
        ("X:1\nV:1 clef=treble-8\nK:C\nV:1\nC8|", "sounds elsewhere"),
        ("X:1\nK:C\n" + "".join(f"V:{i}\nC8|\n" for i in range(17)), "more than 16 voices"),
        ("X:1\nK:C\nC0|", "a note of 0 units"),
        ("X:1\nK:C\nC1/0|", "no length"),
        ("X:1\nK:C\nc''''''|", "beyond all instruments"),
        ("X:1\nK:C\n" + "C8|" * 5000, "more than 4,096 bars"),
        ("X:1\nK:C\n" + "C" * 200_000, "characters"),
        ("X:1\nK:C\nZ99999|", "99999 units"),
        ("X:1\nK:C\nC" + "9" * 5000, "is no length"),
        ("X:1\nK:C\nC" + "/" * 20_000, "is no length"),
        ("X:1\nK:C\n(3:" + "9" * 5000 + "CDE|", "is not read"),
        ("X:1\nK:C\nC" + ">" * 9 + "D|", "no broken rhythm"),
        ("X:1\nL:1/0\nK:C\nC8|", "L:1/0 is no length"),
        ("X:1\nL:1/" + "9" * 5000 + "\nK:C\nC8|", "is no length"),
        ("X:1\nQ:" + "1" * 100_000 + "/4=x\nK:C\nz8|", "no note"),
        ("X:1\nK:C\n" + "[A:" * 40_000, "no note|bars"),
    ],
)
def test_what_of_abc_cannot_be_read_is_named(text: str, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        of_abc(text)


def test_what_a_file_says_before_its_tunes_is_not_said_over_and_over() -> None:
    made = tunes("L:1/8\n" * 2000 + "L:1/4\n" + f"M:{'4' * 9999}\n" + "X:1\nK:C\nC4|\n" * 2000)
    assert len(made) == 2000 and made[-1] == "X:1\nL:1/4\nK:C\nC4|\n"


def test_tunes_of_a_file_know_what_the_file_says_before_them() -> None:
    first, second = tunes("M:3/4\nL:1/8\n\nX:1\nK:C\nC6|\nX:2\nM:4/4\nK:C\nC8|\n")
    assert of_abc(first).metres == ((3, 4),) and of_abc(second).metres == ((4, 4),)
    assert tunes("no tune") == []


@pytest.mark.parametrize("seed", range(6))
def test_what_is_written_in_abc_is_read_back(seed: int) -> None:
    (tune,) = some(1, seed)
    again = of_abc(tunes(in_abc([tune], {"run": "runs/x"}))[0])
    assert melody_of(score(again, 12)[0]) == melody_of(score(tune, 12)[0]) and again.key == tune.key


def melody_of(made: Score) -> list[list[tuple[int, int | None, int]]]:
    return [[(e.position, e.pitch, e.length) for e in bar.events if e.lead] for bar in made.bars]


def test_triplets_ties_and_signs_are_written_as_they_should_be() -> None:
    said = "(3CDE^F=F|G4-|G2"
    found = of_abc(f"X:1\nM:4/4\nL:1/4\nK:G\n{said}z2|")
    assert "(3C2D2E2F2=F2|G8-|G4" in in_abc([found])


# -- MIDI --------------------------------------------------------------------------------------------


def midi_of(*tracks: list, kind: int = 1, ticks: int = 96) -> bytes:
    file = mido.MidiFile(type=kind, ticks_per_beat=ticks)
    for messages in tracks:
        file.tracks.append(mido.MidiTrack(messages))
    made = io.BytesIO()
    file.save(file=made)
    return made.getvalue()


def note(pitch: int, length: int, wait: int = 0, channel: int = 0) -> list:
    return [mido.Message("note_on", note=pitch, time=wait, channel=channel),
            mido.Message("note_on", note=pitch, velocity=0, time=length, channel=channel)]  # fmt: skip


def test_formats_tempo_metre_and_key_are_read() -> None:
    head = [
        mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(90)), mido.MetaMessage("key_signature", key="Gb"),
        mido.MetaMessage("time_signature", numerator=3, denominator=4),
    ]  # fmt: skip
    melody_, low = [*note(72, 96), *note(74, 192)], note(48, 288, channel=1)
    for data in (midi_of([*head, *melody_], low), midi_of([*head, *melody_], kind=0)):
        found = of_midi(data)
        assert (found.metres, round(found.tempo), found.key.name) == (((3, 4),), 90, "F#")
        assert [(n.start, n.length, n.pitch) for n in found.notes if n.lead] == [(0, 1, 72), (1, 2, 74)]
    with pytest.raises(Unreadable, match="format 2"):
        of_midi(midi_of(melody_, kind=2))


def test_running_status_and_notes_that_never_end_are_read() -> None:
    track = bytes([0, 0x90, 60, 64, 96, 62, 64, 0, 60, 0, 96, 64, 64, 96, 64, 0, 0, 0xFF, 0x2F, 0])
    data = b"MThd\0\0\0\6\0\0\0\1\0\x60" + b"MTrk" + len(track).to_bytes(4, "big") + track
    assert [(n.start, n.pitch) for n in of_midi(data).notes if n.lead] == [(0, 60), (1, 62), (2, 64)]


def test_what_is_left_out_of_midi_is_named() -> None:
    drums = note(35, 96, channel=9)
    tempos = [mido.MetaMessage("set_tempo", tempo=t, time=96) for t in (500_000, 400_000)]
    found = of_midi(midi_of([*note(60, 96), *note(61, 0)], drums, tempos))
    assert len(found.notes) == 1 and found.left_out == ("drums", "notes without length", "changes of tempo")
    with pytest.raises(Unreadable, match="no note in it but drums"):
        of_midi(midi_of(drums))


def test_the_melody_is_what_is_named_so_or_what_sounds_highest() -> None:
    high, low = [*note(80, 96), *note(82, 96)], [*note(60, 96, channel=1), *note(62, 96, channel=1)]
    assert {n.pitch for n in of_midi(midi_of(low, high)).notes if n.lead} == {80, 82}
    named = [mido.MetaMessage("track_name", name="Lead vocal"), *low]
    assert {n.pitch for n in of_midi(midi_of(high, named)).notes if n.lead} == {60, 62}
    chords = melody([Note(F(0), F(2), 60), Note(F(0), F(2), 67), Note(F(1), F(1), 64), Note(F(1), F(1), 72)])
    assert [(n.start, n.length, n.pitch) for n in chords if n.lead] == [(0, 1, 67), (1, 1, 72)]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"RIFF....WAVE", "not MIDI"),
        (b"MThd\0\0\0\6\0\1\0\1\0\x60", "broken"),
        (b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\x7f\xff\xff\xff\0\x90", "broken"),
        (b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\x08\0\xf0\xff\xff\xff\x7f\0\0", "broken"),
        (midi_of(note(60, 96), ticks=1)[:12] + b"\xe7\x28" + midi_of(note(60, 96), ticks=1)[14:], "SMPTE"),
        (midi_of(note(60, 2**27), ticks=1), "more than 4,096 bars"),
        (midi_of([mido.MetaMessage("time_signature", numerator=11, denominator=8), *note(60, 9)]), "metre 11/8"),
        (midi_of([mido.MetaMessage("text", text="x" * 99)]), "no note in it"),
        (midi_of(note(60, 96))[:22] + b"\xff" * (MOST_BYTES - 22), "without an end"),
        (b"MThd" + bytes(MOST_BYTES), "no file of notes is as large"),
    ],
)
def test_broken_midi_is_refused_with_its_reason(data: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        of_midi(data)


def test_without_mido_it_is_said_how_to_come_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mido", None)
    with pytest.raises(UserError) as error:
        of_midi(midi_of(note(60, 96)))
    assert "maquette[music]" in error.value.remedy


def test_a_key_is_guessed_where_none_is_said() -> None:
    def scale(tonic: int, *steps: int) -> list[Note]:
        return [Note(F(i), F(2 if step in (0, 7) else 1), 60 + tonic + step) for i, step in enumerate(steps)]

    assert likely_key(scale(7, 0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0)) == Key(7)
    assert likely_key(scale(2, 0, 2, 3, 5, 7, 8, 11, 12, 7, 3, 0)) == Key(2, minor=True)


# -- tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [12, 24])
@pytest.mark.parametrize("relative", [True, False])
def test_a_tune_is_the_same_after_tokens_and_after_a_file(grid: int, relative: bool) -> None:
    for tune in some(12):
        made, moved = score(tune, grid)
        (tokens,) = pieces(made, relative, 4096)
        assert read(tokens, grid, relative) == made and moved == 0
        assert score(made.tune, grid)[0] == made and score(of_midi(in_midi([made.tune], {})), grid)[0] == made
        assert bool(follows(torch.tensor([tokens]), grid))


def test_a_tune_is_the_same_in_every_key_but_for_the_key() -> None:
    (tune,) = some(1)
    up = Tune(tuple(Note(n.start, n.length, n.pitch + 2, n.lead) for n in tune.notes), tune.metres,
              Key((tune.key.tonic + 2) % 12, tune.key.minor))  # fmt: skip
    a, b = (pieces(score(one, 12)[0], True, 4096)[0] for one in (tune, up))
    octave = 12 * ((up.key.do - tune.key.do - 2) // 12)
    assert [x == y for x, y in zip(a, b, strict=True)].count(False) == 1 if not octave else a != b
    assert intervals(np.array(a)) == intervals(np.array(b))


@given(st.lists(st.integers(0, vocabulary(12).size - 1), max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_tokens_are_a_tune(tokens: list[int]) -> None:
    made = read(tokens, 12, True)
    assert all(0 <= e.position < bar.length and e.length > 0 for bar in made.bars for e in bar.events)
    tune = made.tune
    again = in_midi([tune], {})
    if any(n.lead for n in tune.notes):
        assert of_midi(again).notes
    in_abc([tune])


def test_notes_off_the_grid_are_moved_and_said() -> None:
    made, moved = score(Tune((Note(F(1, 100), F(99, 100), 60), Note(F(1), F(3), 62)), ((4, 4),)), 12)
    assert moved == pytest.approx(0.005) and [e[:3] for e in made.bars[0].events] == [(0, 60, 12), (12, 62, 36)]


def test_short_breaths_are_closed_and_pauses_are_rests() -> None:
    made, _ = score(Tune((Note(F(0), F(11, 12), 60), Note(F(1), F(1), 62), Note(F(3), F(1), 64)), ((4, 4),)), 12)
    assert [e[:3] for e in made.bars[0].events] == [(0, 60, 12), (12, 62, 12), (24, None, 12), (36, 64, 12)]


def test_empty_bars_around_a_tune_are_left_away() -> None:
    made, _ = score(Tune((Note(F(8), F(4), 60),), ((4, 4),) * 5), 12)
    assert len(made.bars) == 1


def test_a_long_tune_is_cut_at_bar_lines_into_pieces_that_stand_alone() -> None:
    tune = Tune(tuple(Note(F(i), F(1), 60 + i % 5) for i in range(400)), ((4, 4),) * 100)
    whole, _ = score(tune, 12)
    found = pieces(whole, True, 128)
    assert len(found) > 5 and all(len(part) <= 128 and part[0] == BOS and part[-1] == EOS for part in found)
    assert sum((read(part, 12, True).bars for part in found), ()) == whole.bars
    assert bool(follows(torch.nn.utils.rnn.pad_sequence([torch.tensor(p) for p in found], batch_first=True), 12).all())


def test_a_change_of_metre_is_kept() -> None:
    found = of_abc("X:1\nM:3/4\nL:1/4\nK:C\nCCC|[M:4/4]CCCC|[M:3/4]CCC|")
    made, _ = score(found, 12)
    assert [bar.metre for bar in made.bars] == [(3, 4), (4, 4), (3, 4)]
    (tokens,) = pieces(made, True, 512)
    assert read(tokens, 12, True) == made and score(of_midi(in_midi([made.tune], {})), 12)[0] == made
    assert bool(follows(torch.tensor([tokens]), 12))


# -- grammar -----------------------------------------------------------------------------------------


def test_what_keeps_to_the_grammar_can_be_read_whatever_is_drawn() -> None:
    known, draws = vocabulary(12), torch.Generator().manual_seed(0)
    grammar, tokens = Grammar(known), torch.zeros(16, 0, dtype=torch.int64)
    for _ in range(120):
        may = grammar.mask(tokens)
        assert may.any(1).all()
        tokens = torch.cat([tokens, torch.multinomial(may.float(), 1, generator=draws)], 1)
    ended = torch.cat([torch.full((16, 1), BOS), tokens, torch.full((16, 1), EOS)], 1)
    for row, item in enumerate(ended):
        end = (item == EOS).nonzero()[0, 0] + 1
        whole = torch.nn.functional.pad(item[:end], (0, 122 - end), value=PAD)
        made = read(whole.tolist(), 12, True)
        assert bool(follows(whole[None], 12)) == (end < 122 or bool(may_end(tokens[row : row + 1]))), row
        for bar in made.bars:
            places = [e.position for e in bar.events]
            assert places == sorted(places) and all(place < bar.length for place in places)


def may_end(tokens: torch.Tensor) -> torch.Tensor:
    return Grammar(vocabulary(12)).mask(tokens)[:, EOS]


def test_rows_of_a_grammar_are_chosen() -> None:
    tokens = items(some(3))[:, 1:40]
    grammar = Grammar(vocabulary(12))
    grammar.mask(tokens[:, :20])
    kept = grammar.rows(torch.tensor([2, 0]))
    expected = Grammar(vocabulary(12)).mask(tokens)[[2, 0]]
    assert torch.equal(kept.mask(tokens[[2, 0]]), expected)


def test_what_breaks_the_grammar_is_told() -> None:
    whole = items(some(1))
    assert bool(follows(whole, 12))
    end = int((whole == EOS).nonzero()[0, 1])
    for broken in (torch.cat([whole[:, :9], whole[:, 10:]], 1), whole[:, :end], whole.flip(1)):
        assert not bool(follows(broken, 12))


# -- as data -----------------------------------------------------------------------------------------


def folder_of(path: Path) -> Path:
    """Forty tunes: one file of ABC, and some of MIDI; a copy in another key; and what cannot be used."""
    found = some(40)
    path.mkdir()
    for i, tune in enumerate(found[:10]):
        (path / f"{i}.mid").write_bytes(in_midi([tune], {}))
    up = Tune(tuple(Note(n.start, n.length, n.pitch + 3, n.lead) for n in found[0].notes), found[0].metres,
              Key((found[0].key.tonic + 3) % 12, found[0].key.minor))  # fmt: skip
    (path / "copy.mid").write_bytes(in_midi([up], {}))
    (path / "broken.mid").write_bytes(b"MThd1234")
    broken = "X:99\nT:Odd\nK:C\nC@@|\n"
    (path / "all.abc").write_text(broken + in_abc(found[10:]), encoding="utf-8")
    return path


def test_a_folder_of_tunes_is_read_tune_by_tune(tmp_path: Path) -> None:
    data = open_dataset(folder_of(tmp_path / "tunes"))
    assert len(data.train) + len(data.test) == 41
    names = [*data.train.names, *data.test.names]
    assert "all.abc:2" in names and "0.mid" in names
    out = {one["name"]: one["reason"] for one in data.summary["left_out"]}
    assert out["all.abc:1"] == "'@' is not read" and out["broken.mid"].startswith("broken")
    sides = [{"0.mid", "copy.mid"} <= {*side.names} for side in (data.train, data.test)]
    assert any(sides)  # near copies, whatever their key, are on one side


def test_near_copies_are_found_in_any_key() -> None:
    likeness, made = Likeness(), items(some(6))
    stored = [row[row != PAD].numpy() for row in torch.cat([made, made[:1]])]
    likeness.add(stored[:4])
    likeness.add(stored[4:])
    assert likeness.pairs(np.zeros(0), np.arange(7)).tolist() == [[0, 6]]


def test_files_are_claimed() -> None:
    assert claims("a/B.MID", b"") and claims("x.abc", b"") and claims("", b"MThd\0") and not claims("x.txt", b"")
    assert itemise(File("x.mid", in_midi(some(1), {})), Config(), None) == []


def test_facts_and_encoding(tmp_path: Path) -> None:
    cell = File("x.mid", in_midi(some(1), {}))
    facts = examine(cell, Config())
    (item,) = encode([cell], SPEC, Config())
    assert facts.pieces == 1 and facts.bars == 8 and facts.moved == 0 and isinstance(item, np.ndarray)
    assert score_of(torch.from_numpy(item.astype(np.int64)), SPEC) == score(some(1)[0], 12)[0]


# -- files that are written --------------------------------------------------------------------------


def test_files_say_where_they_come_from(tmp_path: Path) -> None:
    item = items(some(1))[0]
    paths = {end: music.write(item, tmp_path / f"x{end}", SPEC, ABOUT) for end in (".mid", ".abc", ".wav")}
    says = [m.text for m in mido.MidiFile(paths[".mid"], charset="utf-8").tracks[0] if m.type == "text"]
    assert json.loads(says[0]) == ABOUT.fields
    assert "N:Source: AI-generated" in paths[".abc"].read_text(encoding="utf-8")
    assert json.dumps(ABOUT.fields, ensure_ascii=False).encode() in paths[".wav"].read_bytes()
    with wave.open(str(paths[".wav"])) as file:
        assert file.getnframes() / file.getframerate() > 5 and file.getnchannels() == 1
    with pytest.raises(UserError, match="cannot be written"):
        music.write(item, tmp_path / "x.ogg", SPEC, ABOUT)


def test_tunes_sound_when_their_notes_do() -> None:
    tune = Tune((Note(F(4), F(1), 69), Note(F(6), F(1), 81)), ((4, 4),) * 2, tempo=60)
    made = render(tune)
    assert made.dtype == np.float32 and np.abs(made).max() < 1
    first, pause, second = made[: RATE // 2], made[int(1.6 * RATE) : 2 * RATE], made[2 * RATE : int(2.5 * RATE)]
    assert np.abs(pause).max() < 0.02 < np.abs(first).max() / 5  # it begins with the first note
    for part, pitch in ((first, 440), (second, 880)):
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        assert abs(spectrum.argmax() * RATE / len(part) - pitch) < 5
    assert len(render(Tune((), ()))) > 0 and len(render(tune, 8000, 1.0)) == 8000
    assert wav(made, RATE)[:4] == b"RIFF"


def test_pages_hold_players_and_rolls(tmp_path: Path) -> None:
    made = items(some(2))
    shown = tiles(made, SPEC, ["a <b>"])
    assert len(shown) == 2 and "a &lt;b&gt;" in shown[0] and "data:audio/wav;base64" in shown[1]
    assert len(shown[0]) < 130_000 and PLAYED == 8
    path = music.preview(made, tmp_path / "p.mid", SPEC, [], ABOUT)
    assert "data:audio/wav" in previewed(path, SPEC, "three tunes", False)
    assert "Nothing to be heard" in previewed(
        music.preview(made[:0], tmp_path / "n.mid", SPEC, [], ABOUT), SPEC, "", False
    )
    assert view(made[0], SPEC).abc.startswith("X:1") and "<audio" in view(made[0], SPEC)._repr_html_()
    assert music.sheet(made, SPEC).count("X:") == 2


# -- what is measured --------------------------------------------------------------------------------


def test_measures_see_the_damage_that_they_are_for() -> None:
    real, other = items(some(60)), items(some(60, seed=1))
    spec = Spec(shape=(1024,))
    known = traits([other], 12, True)
    whole = traits([real], 12, True)
    assert whole.valid.all() and (whole.sums == whole.bars).all() and whole.ends.all()

    def after(harm: str, strength: int) -> dict[str, float]:
        damage = next(d for d in DAMAGES if d.harm == harm)
        t = traits([damage.of(real, spec, strength, np.random.default_rng(0))], 12, True)
        rng = np.random.default_rng(0)
        return {"valid": t.valid.mean(), "bars": t.sums.sum() / t.bars.sum(),
                "pitches": distance(t.pitches, known.pitches, rng).value,
                "rhythm": distance(t.rhythm, known.rhythm, rng).value}  # fmt: skip

    rng = np.random.default_rng(0)
    none = {"pitches": distance(whole.pitches, known.pitches, rng).value,
            "rhythm": distance(whole.rhythm, known.rhythm, rng).value}  # fmt: skip
    assert none["pitches"] < after("item", 1)["pitches"] < after("item", 2)["pitches"]
    assert none["rhythm"] < after("rhythm", 1)["rhythm"] < after("rhythm", 2)["rhythm"]
    assert 1 > after("rhythm", 1)["bars"] > after("rhythm", 2)["bars"]
    assert 1 > after("broken", 1)["valid"] > after("broken", 2)["valid"]


def test_the_longest_copied_run_is_found_in_any_key() -> None:
    steps = [(2, 9), (1, 9), (-3, 5), (2, 7)]
    known = np.array([(999, -1), (0, 1), *steps, (999, -1)])
    assert longest(steps[:3], known) == 4 and longest([(7, 7), *steps[2:]], known) == 3 and longest([], known) == 0
    assert longest([(5, 5)], known) == 0


# -- what is asked -----------------------------------------------------------------------------------


def test_a_prompt_is_the_beginning_of_a_file(tmp_path: Path) -> None:
    path = music.write(items(some(1))[0], tmp_path / "x.mid", SPEC, ABOUT)
    tokens = asked(str(path), SPEC, print).tolist()
    head = opening(tokens, 2, 12)
    assert [bar.events for bar in read([BOS, *head], 12, True).bars] == [
        bar.events for bar in score(some(1)[0], 12)[0].bars[:2]
    ]
    (tmp_path / "words.abc").write_text("words")
    for wrong in (tmp_path / "words.abc", tmp_path, 3):
        with pytest.raises(UserError):
            asked(wrong, SPEC, print)


def test_what_is_written_by_a_model_can_be_read(tmp_path: Path) -> None:
    from maquette.core.generator import Generator
    from maquette.models import transformer

    room = len(pieces(score(some(1)[0], 12)[0], True, 4096)[0])
    spec: DataSpec = data_spec(column_spec("music", room))
    config = transformer.Config(width=32, layers=1, heads=2)
    generator = Generator(transformer.build(config, spec), spec)
    path = music.write(items(some(1))[0], tmp_path / "x.mid", SPEC, ABOUT)
    for wanted in ({}, {"prompt": str(path), "bars": 1, "temperature": 2.0}):
        request = generator.request(wanted)
        plan = generator.plans(request, {}, 3, {})["music"]
        made = generator.sample(3, {}, 5, **plan.keywords)["music"]
        assert bool(follows(made, 12).all())  # to its end, however little room there is
    with pytest.raises(UserError, match="fewer bars"):
        generator.plans(generator.request({"prompt": str(path), "bars": 99}), {}, 1, {})


def test_the_first_tune_of_a_file_that_can_be_read_is_taken() -> None:
    data = b"X:1\nK:C\nC@|\nX:2\nM:4/4\nL:1/4\nK:C\nCDEF|\n"
    assert len(tune_of(data, "x.abc").notes) == 4


def test_what_is_tied_over_a_bar_line_keeps_its_accidental() -> None:
    tune = of_abc("X:1\nM:4/4\nL:1/4\nK:C\nCDE^F-|FFG2|[^C4^F4]-|[C4F4]|G4|")
    assert [(note.pitch, float(note.length)) for note in tune.notes[3:6]] == [(66, 2.0), (65, 1.0), (67, 2.0)]
    assert (tune.notes[6].pitch, float(tune.notes[6].length)) == (66, 8.0)  # of a chord the highest
    assert of_abc("X:1\nM:4/4\nL:1/4\nK:C\n[^F4-|G4]|G4|").notes  # a chord that a bar line cuts
