"""Errors that name the thing, what was expected, and the remedy."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

from maquette.core.shown import cleaned

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
