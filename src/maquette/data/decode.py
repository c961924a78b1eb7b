"""Bytes -> characters: unpacked, decoded by what they are, line ends made one kind, control characters taken out."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterable

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data import encodings
from maquette.data.names import shown, some

LINE = 200  # bytes that a line takes which is an item of its own
SAMPLE = 2**18  # bytes or characters at the beginning that are counted
NOISE = 0.01  # share of control characters above which bytes are no characters
HALVES = 0.25  # share above which they are halves of the characters of UTF-16
SURE = ("UTF-8", "UTF-16", "UTF-32")  # by a mark at the start, or because nothing else decodes as UTF-8
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"), (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"), (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)  # fmt: skip
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")  # half of a pair, written as if it were a character
_DOCUMENTS = (b"%PDF", b"PK", b"{\\rtf", b"\xd0\xcf\x11\xe0")  # documents of other programs
_RECODE = "Save it as UTF-8 (most editors can; or iconv -f ENCODING -t UTF-8), or mend the place, and try again."
CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
LINE_END = re.compile("\r*\n|\r")  # \r\r\n is what comes of CRLF that was once more made CRLF
APART = re.compile("\r*\n|[\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")  # what else separates lines, pages and fields


def parted(characters: str, by: str = "\n") -> str:
    """With whatever separates lines, pages or fields as one kind of end, so that no words are glued together."""
    return substituted(APART, by, characters)[0]


def substituted(pattern: re.Pattern[str], by: str, characters: str) -> tuple[str, int]:
    """As `pattern.subn`, a slice at a time: a hundred million line ends, all known at once, take ten gigabytes."""
    parts, count, start = list[str](), 0, 0
    while start < len(characters):
        end = start + SAMPLE
        while characters[end - 1 : end] == "\r" and end - start < 2 * SAMPLE:  # a line end stays in one slice
            end += 1
        made, found = pattern.subn(by, characters[start:end] if start or end < len(characters) else characters)
        parts.append(made)
        start, count = end, count + found
    return (characters if not count else "".join(parts)), count


class Decoder:
    """Decodes the files of one source, and remembers what there is to say about them."""

    def __init__(self) -> None:
        self.encodings: dict[str, int] = {}
        self._foreign: dict[str, list[str]] = {}
        self._controls: dict[str, int] = {}
        self._read = self._held = 0  # bytes of files, and of their characters

    def decode(self, data: bytes, name: str) -> str:
        """The characters of a file's bytes, its lines ended by newlines; what separates else stands as it is.

        Raises Unreadable with the offset of the first byte that is no character.
        """
        self._read, whole = self._read + len(data), unpacked(data)
        limits.check(self._held + _size(whole), of=self._read)  # of all files, which are held together
        characters, encoding = decoded(whole)
        self._held += sys.getsizeof(characters)
        self.encodings[encoding] = self.encodings.get(encoding, 0) + 1
        if encoding not in SURE:
            self._foreign.setdefault(encoding, []).append(name)
        return self.clean(_ended(characters), name)

    def clean(self, characters: str, name: str) -> str:
        """Without control characters, which are counted, but for tab and what separates."""
        made, count = substituted(CONTROLS, "", characters)
        if count:
            self._controls[name] = self._controls.get(name, 0) + count
        return made

    def cell(self, value: str, place: str) -> str | None:
        """A cell of a table, cleaned; None for one of nothing but blanks."""
        if not value.isprintable():  # cheap to see, and false of nearly every cell
            value = self.clean(parted(value), place)
        return value if value and not value.isspace() else None

    def notes(self) -> list[str]:
        made = [
            f"{some(names)} {'is' if len(names) == 1 else 'are'} read as {encoding}, as it seems: not UTF-8."
            for encoding, names in self._foreign.items()
        ]
        if self._controls:
            total = sum(self._controls.values())
            made.append(
                f"{total:,} control character{'s' if total > 1 else ''} (NUL and the like) "
                f"in {some(self._controls)} {'were' if total > 1 else 'was'} taken out."
            )
        return made


def _ended(characters: str) -> str:
    """With every line ended by one newline."""
    return substituted(LINE_END, "\n", characters)[0] if "\r" in characters else characters


def decoded(data: bytes) -> tuple[str, str]:
    """Bytes -> characters, and the name of the encoding: a mark at the start, UTF-8, or what it looks like."""
    for mark, codec, name in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(codec), name
            except UnicodeDecodeError as error:
                raise Unreadable(f"not {name}, as its first bytes say: byte {error.start:,}") from None
    try:
        characters = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _guessed(data, error.start)
    # UTF-16 can be UTF-8, too: half of its bytes are then control characters.
    found = encodings.guess(data, 0) if _controls(characters) > HALVES else None
    return found or (characters, "UTF-8")


def unpacked(data: bytes) -> bytes:
    """The bytes within a gzip file, whatever its name; other bytes as they are."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.open(io.BytesIO(data)) as file:
            return limits.read(file)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"damaged gzip file: {error}", "Fetch it, or pack it, again.") from None


def unpacked_head(head: bytes, size: int) -> bytes:
    """The first bytes within a file of which these are the first, where it is a gzip file."""
    if head[:2] != b"\x1f\x8b":
        return head[:size]
    try:
        return zlib.decompressobj(31).decompress(head, size)
    except zlib.error:
        return b""


def head_of(head: bytes) -> str:
    """The whole lines at the beginning of a file as characters, as far as they are such."""
    codec = next((codec for mark, codec, _ in _MARKS if head.startswith(mark)), None)
    whole = head[: head.rfind(b"\n") + 1] or head
    try:
        characters = head.decode(codec, "ignore") if codec else decoded(whole)[0]
    except Unreadable:
        characters = whole.decode("utf-8", "replace")
    return _ended(characters)


def looks_like_characters(head: bytes) -> bool:
    """Whether the first bytes of a file are characters, by what they hold."""
    if not head:
        return False
    if any(head.startswith(mark) for mark, _, _ in _MARKS):
        return True
    if head.startswith(_DOCUMENTS) or head.count(0) > len(head) // 100:
        return False
    try:
        return _controls(codecs.getincrementaldecoder("utf-8")().decode(head)) <= NOISE
    except UnicodeDecodeError:
        return False


def refusal(name: str, error: Exception, remedy: str = _RECODE) -> UserError:
    """What is said of a single file that cannot be used."""
    if isinstance(error, limits.TooMuch):
        return error.refusal(shown(name))
    remedy = (error.remedy if isinstance(error, Unreadable) else "") or remedy
    return UserError(f"'{shown(name)}' cannot be decoded: {error or type(error).__name__}.", remedy)


def lone_surrogate(values: Iterable[str]) -> bool:
    """Whether half of a surrogate pair stands alone: JSON can write it, no encoding can."""
    for value in values:
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                return True
    return False


def _guessed(data: bytes, first: int) -> tuple[str, str]:
    """Bytes that are not UTF-8 from offset `first` on."""
    line = (data.count(b"\n", 0, first) or data.count(b"\r", 0, first)) + 1
    where = f"byte {first:,} (line {line:,}) is 0x{data[first]:02x}, which is not UTF-8"
    if _SURROGATE.match(data, first) and is_utf8(_SURROGATE.sub(b"", data)):
        raise Unreadable(f"{where}, as the rest of it is: half of a surrogate pair, which is no character")
    repaired = data.decode("utf-8", "replace")
    broken = repaired.count("\ufffd")
    whole = sum(1 for c in repaired if c > "\x7f") - broken if len(data) < 2**24 else _beyond_ascii(data) - broken
    if whole > 2 * broken:
        raise Unreadable(f"{where}, as the rest of it is: damaged")
    found = encodings.guess(data, first)
    if (found and _controls(found[0]) > NOISE) or (not found and data.count(0, 0, SAMPLE)):
        raise Unreadable(f"{where}: no characters at all", "Give it the suffix of what it is.")
    if found is None:
        raise Unreadable(f"{where}, and which other encoding it is cannot be told with certainty")
    return found


def _controls(characters: str) -> float:
    """Share of control characters at the beginning."""
    head = characters[:SAMPLE]
    return len(CONTROLS.findall(head)) / max(len(head), 1)


def is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _size(data: bytes) -> int:
    """Bytes of the characters of UTF-8, each of which takes as many as the widest of them."""
    import numpy as np

    if 4 * len(data) <= limits.limit():
        return 4 * len(data)
    widest = count = 0
    for start in range(0, len(data), limits.STEP):
        part = np.frombuffer(data, np.uint8, min(limits.STEP, len(data) - start), start)
        widest, count = max(widest, int(part.max())), count + int(np.count_nonzero((part & 0xC0) != 0x80))
    return count * (4 if widest >= 0xF0 else 2 if widest >= 0xC4 else 1)


def _beyond_ascii(data: bytes) -> int:
    """Characters beyond ASCII in bytes that are UTF-8 for the most part: each begins with a byte of 0xC0 or more."""
    import numpy as np

    return int((np.frombuffer(data, np.uint8) >= 0xC0).sum())
