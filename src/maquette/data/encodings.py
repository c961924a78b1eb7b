"""In which encoding bytes are that are not UTF-8: of the common ones, as chardet finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import chardet

SAMPLE = 2**17  # bytes that are judged
LEAST = 0.02  # confidence below which chardet says no more than that something must be said
COMMONEST, LEAST_OF_IT = "Windows-1252", 0.01  # few words of it, as in names and labels, tell little
TIE = 1.02  # ratio of confidences up to which one is as likely as the other
_NAMES = {
    "windows-1252": "Windows-1252", "windows-1250": "Windows-1250", "windows-1251": "Windows-1251",
    "windows-1253": "Windows-1253", "windows-1254": "Windows-1254", "windows-1257": "Windows-1257",
    "iso-8859-2": "ISO-8859-2", "koi8-r": "KOI8-R", "koi8-u": "KOI8-U", "gb18030": "GB18030", "big5": "Big5",
    "cp932": "Shift-JIS", "euc-jp": "EUC-JP", "cp949": "EUC-KR", "utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE",
}  # fmt: skip


def guess(data: bytes, first: int) -> tuple[str, str] | None:
    """The characters of bytes that are not UTF-8 from offset `first` on, and the encoding's name; None: uncertain."""
    import chardet

    start = max(data.rfind(b"\n", 0, first) + 1, data.rfind(b"\r", 0, first) + 1, first - SAMPLE // 2)
    start -= start % 2  # UTF-16 has two bytes a character
    sample = data[start : start + SAMPLE]
    found = chardet.detect_all(sample, include_encodings=_NAMES, no_match_encoding="ascii")
    tied = [one for one in found if found[0]["confidence"] <= TIE * one["confidence"]]
    best = next((one for one in tied if _NAMES.get(str(one["encoding"]).lower()) == COMMONEST), found[0])
    name = _NAMES.get(str(best["encoding"]).lower())
    least = LEAST_OF_IT if name == COMMONEST else LEAST
    if name is None or best["confidence"] < least or (name != COMMONEST and _ambiguous(sample, tied)):
        return None
    try:
        return data.decode(str(best["encoding"])), name
    except UnicodeDecodeError:
        return None


def _ambiguous(sample: bytes, tied: list[chardet.DetectionDict]) -> bool:
    """Whether encodings that are as likely read otherwise."""
    return len({sample.decode(str(one["encoding"]), "replace") for one in tied[:2]}) > 1
