"""What people should know of a data set before they learn from it: what was left out, changed or guessed."""

from __future__ import annotations

from typing import Any

from maquette.core.counts import counted


def remarks(summary: dict[str, Any]) -> list[str]:
    """Warnings and notes of a Dataset.summary, the most serious first."""
    made = [*summary["warnings"], *summary["notes"]]
    if count := summary["ignored_count"]:
        made.append(f"{counted(count, 'file was', 'files were')} passed over: {'; '.join(summary['passed_over'])}.")
    return made


def left_out(summary: dict[str, Any]) -> list[str]:
    """What was left out in one line; none where nothing was."""
    count = summary["left_out_count"]
    if not count:
        return []
    first = summary["left_out"][0]
    more = f", and {count - 1:,} more" if count > 1 else ""
    return [f"{count:,} of {summary['found']:,} left out: '{first['name']}' ({first['reason']}){more}."]


def told(summary: dict[str, Any]) -> list[str]:
    """All of it, a line each, as it is said before data is used."""
    return [f"Note: {line}" for line in (*left_out(summary), *remarks(summary))]
