"""What stands in the place of a file that was never fetched, told by its first bytes, whatever its name."""

from __future__ import annotations

import re

from maquette.core.modality import Unreadable

START = 64  # bytes that tell it
_POINTERS = (
    (re.compile(rb"version https://git-lfs\.github\.com/spec/"), "Git LFS", "git lfs pull"),
    (re.compile(rb"(\.\./)*(\.git)?/annex/objects/"), "git-annex", "git annex get"),
)
_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)\b", re.IGNORECASE)
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"


def check_fetched(head: bytes) -> None:
    """Raises Unreadable for what only says where a file is kept. head: its first bytes, START or more"""
    for begins, program, fetch in _POINTERS:
        if begins.match(head):
            raise Unreadable(f"a pointer of {program} to a file that was not fetched", f"Fetch it: {fetch}")


def check_written(head: bytes) -> None:
    """The same, and for what nobody means by a table, an array or an archive."""
    check_fetched(head)
    if _PAGE.match(head):
        raise Unreadable("a web page", "Fetch the file itself: it stands behind a link, or a login, of that page.")
    if head.startswith(_OLD_EXCEL):
        raise Unreadable("a document of an old Office", "Save it as .xlsx or .csv.")
