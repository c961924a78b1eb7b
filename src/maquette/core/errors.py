"""Errors that name the thing, what was expected, and the remedy."""

from __future__ import annotations

import contextlib
import difflib
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from maquette.core.shown import cleaned

SAID = "MAQUETTE_SAID"  # names the folder in which processes that train together leave what they end with
LISTED = 40  # names in one message


class MaquetteError(Exception):
    """Our fault, or the machine's: exit code 1."""

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = cleaned(problem.strip())
        self.remedy = cleaned(remedy.strip())
        super().__init__(f"{self.problem}\n  {self.remedy}" if self.remedy else self.problem)


class UserError(MaquetteError):
    """Something the user asked for cannot be done as asked: exit code 2."""

    exit_code = 2


class Interrupted(MaquetteError):
    """The user pressed Ctrl-C once; everything is saved: exit code 130."""

    exit_code = 130


def hand_on(problem: str, code: int) -> bool:
    """Of a process of several: leaves what it ends with for the one that started them; whether there is one."""
    folder = os.environ.get(SAID)
    if not folder:
        return False
    with contextlib.suppress(OSError):
        (Path(folder) / f"{os.getpid()}.error").write_text(f"{code}\n{problem}", encoding="utf-8")
    return True


def handed_on(folder: Path) -> MaquetteError | None:
    """What the first of several processes to fail has left."""
    for file in sorted(folder.glob("*.error"), key=lambda file: file.stat().st_mtime_ns):
        code, _, said = file.read_text(encoding="utf-8").partition("\n")
        problem, _, remedy = said.partition("\n")
        kinds = {kind.exit_code: kind for kind in (UserError, Interrupted)}
        return kinds.get(int(code), MaquetteError)(problem, remedy)
    return None


def nearest(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'?`, or the list of what is known when nothing is close."""
    options = sorted(known)
    close = closest(word, options)
    if close is not None:
        return f"Did you mean '{close}'?"
    more = f" and {len(options) - LISTED:,} more" if len(options) > LISTED else ""
    return f"Known: {', '.join(options[:LISTED])}{more}." if options else ""


def closest(word: str, known: Iterable[str]) -> str | None:
    """What a word that is not known is most likely a slip of, if anything, whatever its capitals and widths."""
    plain = dict[str, str]()
    for name in sorted(known):
        plain.setdefault(_plain(name), name)
    found = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=0.5)
    return plain[found[0]] if found else None


def _plain(word: str) -> str:
    """A word without capitals, and without what tells full from half width: `Ｓｅｖｅｎ` -> `seven`."""
    return unicodedata.normalize("NFKC", word).casefold()
