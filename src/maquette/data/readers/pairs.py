"""Parallel files: line n of `train.en` belongs to line n of `train.de`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data.decode import LINE, Decoder, parted, refusal
from maquette.data.layout import role, splits_of
from maquette.data.names import shown, some
from maquette.data.raw import File, Places, RawTable, Values
from maquette.data.readers import Place

ACCEPTS = "parallel files (train.en, train.de)"

# ISO 639-1, the frequent ones of ISO 639-3, and names of the two sides.
_CODES = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee
el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is
it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms
mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk
sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi
yo za zh zu
ara ben bul cat ces chi cmn dan deu ell eng est fas fin fra fre ger heb hin hrv hun ind isl ita jpn kor lat
lav lit nld nob nor pol por ron rus slk slv spa srp swe swh tam tel tha tur ukr urd vie zho
src tgt trg source target document summary input output
"""
_LANGUAGES = frozenset(_CODES.split())
_REGION = re.compile(r"[_-][A-Za-z]{2,4}")  # en_US, zh-Hans, eng_Latn


def claims(place: Place) -> float:
    """How surely a place holds parallel files, in [0, 1]."""
    files = _numbers(place)
    return 0.6 if files and len(files) > place.rivals(files)[1] else 0.0


def find_pairs(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """stem -> language -> file, where at least one stem has two languages; {} where there are no such files."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        bare = name.removesuffix(".gz").removesuffix(".txt")
        stem, dot, language = bare.rpartition(".")
        if dot and stem.rpartition("/")[2] and _REGION.sub("", language) in _LANGUAGES:
            found.setdefault(stem, {}).setdefault(language, name)
    return found if any(len(files) > 1 for files in found.values()) else {}


def read(place: Place, columns: Sequence[str]) -> RawTable:
    """A column for each language; a stem that lacks a language that is used is passed over, and named."""
    found = find_pairs(place.tree.names)
    languages = list(dict.fromkeys(language for files in found.values() for language in files))
    used = [language for language in languages if language in columns] or languages
    split = dict(zip(found, splits_of(found), strict=True))
    splits = any(role(name) in ("test", "val") for name in split.values()) and len(found) > 1
    decoder, numbers = Decoder(), {name: i for i, name in enumerate(place.tree.names)}
    cells: dict[str, list[str | None]] = {name: [] for name in used}
    sets, file, line = list[dict[str, str]](), list[int](), list[int]()
    made = RawTable("parallel files", {}, (), [])
    for stem, files in sorted(found.items()):
        missing = [language for language in used if language not in files]
        if missing and any(language in columns for language in used):
            names = some(f"{stem}.{language}" for language in missing)
            made.notes.append(f"'{shown(stem)}' is not used: {names} {'is' if len(missing) == 1 else 'are'} missing.")
            continue
        lines = {name: _lines(place, numbers[files[name]], decoder) for name in used if name in files}
        counts = {language: len(part) for language, part in lines.items()}
        if len(set(counts.values())) > 1:
            told = " and ".join(f"'{shown(files[name])}' has {n:,} lines" for name, n in counts.items())
            raise UserError(
                f"The files are not parallel: {told}.",
                "Line n of one must belong to line n of the other: find the line that is missing or broken in two.",
            )
        (count,) = set(counts.values())
        sets.append(files)
        file += [len(sets) - 1] * count
        line += range(1, count + 1)
        made.splits += [split[stem] if splits else None] * count
        for language, values in cells.items():
            values += lines.get(language) or [None] * count
    if not sets:
        raise UserError(f"No set of parallel files has all of {', '.join(used)}.", "Name other columns.")
    made.columns = {name: Values(list(values)) for name, values in cells.items()}
    for name in used:
        made.places[name] = Places([files.get(name) or next(iter(files.values())) for files in sets], file, line)
    made.names = made.places[used[0]]
    made.files = sorted(name for files in found.values() for name in files.values())
    made.ignored = sorted({*place.tree.names} - {*made.files})
    made.notes += decoder.notes()
    made.facts["encodings"] = decoder.encodings
    return made


def _numbers(place: Place) -> list[int]:
    """Numbers of the parallel files of a place."""
    names = place.tree.names
    found = find_pairs(names) if len(names) > 1 else {}
    used = {name for files in found.values() for name in files.values()}
    return [i for i, name in enumerate(names) if name in used]


def _lines(place: Place, number: int, decoder: Decoder) -> list[str | None]:
    name, (payload,) = place.tree.names[number], place.tree.payloads([number])
    try:
        data = File(name, payload).read()
        characters = decoder.decode(data, name)
        limits.check(LINE * characters.count("\n"), of=len(data))
    except Unreadable as error:
        raise refusal(name, error) from None
    # Not splitlines(): a U+2028 within a sentence would tear the pairs apart.
    lines = [parted(line, " ").strip() or None for line in characters.split("\n")]
    return lines if characters and not characters.endswith("\n") else lines[:-1]
