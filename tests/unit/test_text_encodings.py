"""Bytes that are not UTF-8 are read in the encoding they are in, or refused; never as something else."""

# ruff: noqa: RUF001 - letters of many scripts are what this file is about

from __future__ import annotations

import pytest

from maquette.core.modality import Unreadable
from maquette.data.decode import decoded

TOLD = {
    "de": "\"Ein Mädchen geht über die Straße\";gut\n\"Größe\";schlecht\n",
    "fr": "Le garçon a été très gâté à Noël, où l’œuvre fut créée par sa mère.\n",
    "en": "He said “don’t” — it’s £5 … fine.\n",
    "labels": "pêche;roche\npèche;Straße\nnaïve café;roche\n",
    "many": "Müller; François; José; Peña; Citroën; João; Muñoz; Bjørn\n",
    "cs": "Nejlepší věci v životě jsou čtyři: mír, láska, příroda a dobré jídlo.\n",
    "hu": "Árvíztűrő tükörfúrógép, hős fű és őz.\n",
    "tr": "Bugün güneşli bir gün, ağaçlar yeşil ve kışın soğuk değil.\n",
    "ru": "Все счастливые семьи похожи друг на друга, каждая несчастливая несчастлива по-своему.\n",
    "zh": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。\n",
    "zht": "人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心。\n",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。\n",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.\n",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.\n",
    "lt": "Visi žmonės gimsta laisvi ir lygūs savo orumu ir teisėmis. Jiems suteiktas protas ir sąžinė.\n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("language", "codec", "name"),
    [
        ("de", "cp1252", "Windows-1252"), ("de", "latin-1", "Windows-1252"), ("fr", "cp1252", "Windows-1252"),
        ("en", "cp1252", "Windows-1252"), ("many", "cp1252", "Windows-1252"), ("labels", "cp1252", "Windows-1252"),
        ("cs", "cp1250", "Windows-1250"),
        ("hu", "cp1250", "Windows-1250"), ("tr", "cp1254", "Windows-1254"), ("ru", "cp1251", "Windows-1251"),
        ("ru", "koi8-r", "KOI8-R"), ("el", "cp1253", "Windows-1253"), ("lt", "cp1257", "Windows-1257"),
        ("cs", "iso8859-2", "ISO-8859-2"),
        ("zh", "gb18030", "GB18030"), ("zht", "gb18030", "GB18030"), ("zht", "big5", "Big5"),
        ("ja", "shift_jis", "Shift-JIS"), ("ja", "euc_jp", "EUC-JP"), ("ko", "euc_kr", "EUC-KR"),
        ("de", "utf-16-le", "UTF-16LE"), ("en", "utf-16-be", "UTF-16BE"), ("zh", "utf-16-le", "UTF-16LE"),
        ("ru", "utf-16-be", "UTF-16BE"), ("zh", "utf-16-be", "UTF-16BE"),
    ],
)  # fmt: skip
def test_common_encodings_are_told_apart(language: str, codec: str, name: str) -> None:
    words = TOLD[language.lower()]
    words = words.upper() if language.isupper() else words
    assert decoded(words.encode(codec)) == (words, name)


@pytest.mark.parametrize("language", ["ru", "RU"])
def test_what_reads_as_no_language_is_refused_rather_than_guessed(language: str) -> None:
    codec = "cp866"
    words = TOLD[language.lower()]
    words = words.upper() if language.isupper() else words
    with pytest.raises(Unreadable, match=r"byte \d+ \(line 1\).* cannot be told with certainty"):
        decoded(words.encode(codec))


def test_half_of_a_surrogate_pair_is_broken_utf8_whatever_else_it_could_be() -> None:
    with pytest.raises(Unreadable, match=r"byte 10 \(line 3\) is 0xed.*half of a surrogate pair"):
        decoded(b"one\ntwo\n12\xed\xa0\xbd3\n")
