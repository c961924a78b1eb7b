"""What the members of an archive are called: names without a mark of their encoding, and those of other systems.

A .zip says of a name that it is UTF-8, or nothing; Windows then writes whatever its language uses. All names of an
archive are guessed together, because one alone is too short.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterable, Sequence

from maquette.data.names import some

# Python's codec, what people call it, and the bytes that the first byte of its frequent characters lies between, where
# it has characters of two bytes. Those that archives are said to use come before those that are merely alike.
_ENCODINGS: dict[str, tuple[str, tuple[int, int] | None]] = {
    "utf-8": ("UTF-8", None), "cp437": ("code page 437", None), "cp1252": ("Windows-1252", None),
    "cp850": ("code page 850", None), "cp866": ("code page 866", None), "cp1251": ("Windows-1251", None),
    "cp852": ("code page 852", None), "cp1250": ("Windows-1250", None), "gb18030": ("GBK", (0xB0, 0xD7)),
    "cp932": ("Shift-JIS", (0x81, 0x98)), "big5": ("Big5", (0xA4, 0xC6)), "cp949": ("EUC-KR", (0xB0, 0xC8)),
    "euc-jp": ("EUC-JP", (0xA4, 0xCF)),
}  # fmt: skip
_CHARDET = {"cp1252": "windows-1252", "cp1250": "windows-1250", "cp1251": "windows-1251", "cp866": "ibm866"}
_EAST = ("CJK", "HIRAGANA", "KATAKANA")
_SURELY = 0.25  # share of odd characters below which a guess is one
_RARE = 0.2  # how odd a character is that is merely rare
_MOST = 2000  # names that are looked at
_UNICODE_PATH = 0x7075  # the extra field of a .zip that gives a name in UTF-8, beside one in another encoding


def decoded(names: Sequence[str | bytes]) -> tuple[list[str], list[str]]:
    """Names as people wrote them, with '/' between folders and without '.', '..' or a drive; and notes for people.

    bytes: names whose encoding nothing tells. A name of no parts is "".
    """
    foreign = [name for name in names if isinstance(name, bytes)]
    codec = _guess(foreign)
    made = [name if isinstance(name, str) else name.decode(codec or "cp437", "replace") for name in names]
    notes = []
    if foreign and codec != "utf-8":
        told = "is not said"
        told += f": read as {_ENCODINGS[codec][0]}, as it seems" if codec else ", and cannot be told either"
        parts = (part for name in made for part in _parted(name).split("/") if not part.isascii())
        notes.append(f"In which encoding the archive writes its names {told} ({some(dict.fromkeys(parts))}).")
    return [_parted(name) for name in made], notes


def unicode_path(extra: bytes) -> str | None:
    """The name in the extra fields of a member of a .zip that says it in UTF-8, as 7-Zip and WinRAR do."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == _UNICODE_PATH and size > 5 and extra[4] == 1:
            return extra[9 : 4 + size].decode("utf-8", "replace")
        extra = extra[4 + size :]
    return None


def _parted(name: str) -> str:
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts[1:] if parts and len(parts[0]) == 2 and parts[0][1] == ":" else parts)


def _guess(names: Iterable[bytes]) -> str | None:
    """The encoding in which names read best; None where they read well in none."""
    foreign = sorted({part for name in names for part in name.split(b"/") if not part.isascii()})
    sample = b"\n".join(foreign[:: max(1, len(foreign) // _MOST)])
    if not sample:
        return "utf-8"
    odd: dict[str, float] = {}
    for codec in _ENCODINGS:
        try:
            odd[codec] = _oddness(sample.decode(codec), codec)
        except UnicodeDecodeError:
            continue
        if codec == "utf-8":
            return codec
    import chardet

    asked = {codec: _CHARDET.get(codec, codec) for codec in odd}
    found = chardet.detect_all(sample, include_encodings=[*asked.values()], no_match_encoding="ascii")
    likely = {str(entry["encoding"]).lower(): entry["confidence"] for entry in found}
    east = {codec for codec in odd if _ENCODINGS[codec][1]}  # languages of other letters hardly ever pass for these
    best = min(odd, key=lambda codec: (odd[codec], codec not in east, -likely.get(asked[codec], 0) * (codec in east)))
    return best if odd[best] < _SURELY else None


def _oddness(characters: str, codec: str) -> float:
    """The share of characters beyond ASCII that hardly stand in a name: symbols, rare ones, a mixture of scripts."""
    count, odd = 0, 0.0
    before, script_before = "", ""
    for char in characters:
        letter = unicodedata.category(char)[0] in "LM"
        script = unicodedata.name(char, "").partition(" ")[0] if letter else ""
        script = _EAST[0] if script in _EAST else script
        mixed = bool(letter and script_before and script != script_before)
        if not char.isascii():
            count += 1
            if not (letter or char.isdecimal()) or mixed or (char.isupper() and before.islower()):
                odd += 1
            elif not _frequent(char, codec):
                odd += _RARE
            elif script == "LATIN" and script_before and not before.isascii():
                odd += _RARE  # letters with marks stand alone, other alphabets read as Latin do not
        elif mixed and not before.isascii():
            odd += 1
        before, script_before = char, script
    return odd / count


def _frequent(char: str, codec: str) -> bool:
    """Whether a character of an encoding of two bytes is among its frequent ones."""
    first = _ENCODINGS[codec][1]
    if first is None:
        return True
    code = char.encode(codec)
    return len(code) == 2 and first[0] <= code[0] <= first[1]
