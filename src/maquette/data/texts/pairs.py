"""Parallel files: line n of `train.en` belongs to line n of `train.de`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data.text import shown, some
from maquette.data.texts.decode import Decoder, refusal
from maquette.data.texts.material import Material, role, split_of

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


def find_pairs(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """stem -> language -> file, where at least one stem has two languages; {} where there are no such files."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        bare = name.removesuffix(".gz").removesuffix(".txt")
        stem, dot, language = bare.rpartition(".")
        if dot and stem.rpartition("/")[2] and _REGION.sub("", language) in _LANGUAGES:
            found.setdefault(stem, {}).setdefault(language, name)
    return found if any(len(files) > 1 for files in found.values()) else {}


def read_pairs(
    found: dict[str, dict[str, str]], read: Callable[[str], bytes], decoder: Decoder, asked: Sequence[str]
) -> Material:
    """One material of all stems; a stem that lacks a language that is used is passed over, and named."""
    languages = list(dict.fromkeys(language for files in found.values() for language in files))
    used = [language for language in languages if language in asked] or languages
    made = Material("parallel files", "rows", {name: [] for name in used}, [], [], [], [], pairs=True)
    made.encodings, made.text_columns = decoder.encodings, list(used)
    splits = any(role(split_of(stem)) in ("test", "val") for stem in found) and len(found) > 1
    for stem, files in sorted(found.items()):
        missing = [language for language in used if language not in files]
        if missing and asked:
            names = some(f"{stem}.{language}" for language in missing)
            made.notes.append(f"'{shown(stem)}' is not used: {names} {'is' if len(missing) == 1 else 'are'} missing.")
            continue
        lines = {language: _lines(files[language], read, decoder) for language in used if language in files}
        counts = {language: len(part) for language, part in lines.items()}
        if len(set(counts.values())) > 1:
            said = " and ".join(f"'{shown(files[name])}' has {n:,} lines" for name, n in counts.items())
            raise UserError(
                f"The files are not parallel: {said}.",
                "Line n of one must belong to line n of the other: find the line that is missing or broken in two.",
            )
        (count,) = set(counts.values())
        made.files.append(files[used[0]] if used[0] in files else next(iter(files.values())))
        made.beside.append(files)
        made.file += [len(made.files) - 1] * count
        made.line += range(1, count + 1)
        made.stems += [split_of(stem) if splits else None] * count
        for language, values in made.columns.items():
            values += lines.get(language) or [None] * count
    if not made.files:
        raise UserError(
            f"No set of parallel files has all of {', '.join(used)}.", "Name others with --target and --given."
        )
    return made


def _lines(name: str, read: Callable[[str], bytes], decoder: Decoder) -> list[str | None]:
    try:
        text = decoder.text(read(name), name)
    except Unreadable as error:
        raise refusal(name, error) from None
    # Not splitlines(): a U+2028 within a sentence would tear the pairs apart.
    lines: list[str | None] = [line.strip() for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines
