"""Words from data, from files and from models as a terminal, a page and the name of a file may have them.

What moves a cursor, turns the direction of writing or is not seen at all can make a person read something else than
what is there. It is shown by its number as JSON has it, so that JSON stays the same JSON; letters of every script,
accents and emoji stay as they are.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator

STEM = 100  # bytes of a file's name that words may take: names are mostly limited to 255

_SELECTOR = "\ufe00-\ufe0f\u180b-\u180d\u180f\U000e0100-\U000e01ef"  # chooses a form of the letter before it
_JOINED = (
    "\u0600-\u1aff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff"  # Arabic, scripts of India, Mongolian, ...
    "\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff"  # emoji
)
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u1a20-\u1aaf"  # Thai, Lao, Burmese, Khmer, ...
_UNSEEN = (
    "[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_FINE = (
    "(?P<fine>\U0001f3f4[\U000e0030-\U000e007a]{2,6}\U000e007f"  # the flag of a part of a country
    f"|(?<=[#*0-9\xa9\xae\u0200-\u180a\u180e-\ufdff\ufe10-\U000dffff])[{_SELECTOR}]"
    f"|(?<=[{_JOINED}])[\u200c\u200d]"  # hold letters together, or apart
    f"|(?<=[{_SPACELESS}])\u200b"  # where a line may break
    "|(?<=[\u1820-\u18aa])\u180e)"
)
_ANY, _EACH = re.compile(_UNSEEN), re.compile(f"{_FINE}|{_UNSEEN}")  # the first is quicker, and mostly finds nothing
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\xb9\xb2\xb3])(?![^.])")  # by Windows


def cleaned(words: str) -> str:
    """Lines of words with all that would not be seen as what it is by its number: ESC is \\u001b."""
    return _EACH.sub(_numbered, words) if _ANY.search(words) else words


def shown(name: str) -> str:
    """The same on one line; bytes of a file's name that are no UTF-8 by their number: \\xff."""
    if name.isascii() and name.isprintable():
        return name
    bare = "".join(f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c for c in name)
    return cleaned(bare).replace("\n", "\\n").replace("\t", "\\t")


def file_stem(words: str) -> str:
    """Words as the part of a file's name before its suffix: letters, digits, `.`, `-` and `_`, fit for any system."""
    kept = "".join(c if c in ".-_" or unicodedata.category(c)[0] in "LMN" else " " for c in _ANY.sub(" ", words))
    stem = "_".join(kept.split()).lstrip("._-").encode()[:STEM].decode(errors="ignore").rstrip(".")
    return f"_{stem}" if _RESERVED.match(stem) else stem


def file_stems(names: Iterable[str]) -> dict[str, str]:
    """Of each name a part of a file's name, no two alike, also where capitals count for nothing."""
    found = dict[str, str]()
    taken = {""}
    for name in names:
        found[name] = next(stem for stem in _numbered_apart(file_stem(name)) if stem.casefold() not in taken)
        taken.add(found[name].casefold())
    return found


def _numbered_apart(stem: str) -> Iterator[str]:
    yield stem
    for number in range(2, 1_000_000):
        yield f"{stem}_{number}"


def _numbered(found: re.Match[str]) -> str:
    return found[0] if found["fine"] else json.dumps(found[0])[1:-1]
