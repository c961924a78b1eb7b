"""What people see: words that are cleaned, and of long work bars on a terminal, one line in a notebook, a line now and
then elsewhere."""

from __future__ import annotations

import contextvars
import functools
import html
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TextIO, TypeVar

from maquette.core.progress import Stage, in_notebook, watched, watching
from maquette.core.shown import cleaned

P = ParamSpec("P")
R = TypeVar("R")

DELAY = 1.0  # seconds that a stage must last to be shown
REFRESH = 0.25  # seconds between looks at the stages
EVERY = 10.0  # seconds between lines where nothing can be drawn over; at least
PART = 60  # and no less than this part of the time that has passed


class Cleaned:
    """A stream for people: whatever is written, no word of a file can move a cursor or be read as another
    (core/shown.py). bare: the stream itself"""

    def __init__(self, bare: TextIO) -> None:
        self.bare = bare
        self._before = ""

    def write(self, words: str) -> int:
        # What joins letters is known by the one before it, which may have come alone.
        self.bare.write(cleaned(self._before + words)[len(cleaned(self._before)) :])
        self._before = words[-1:] or self._before
        return len(words)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # a way around
            raise AttributeError(name)
        return getattr(self.bare, name)


def clean_streams() -> None:
    """From now on all that this process prints is cleaned, whoever prints it."""
    for name in ("stdout", "stderr"):
        if not isinstance(stream := getattr(sys, name), Cleaned):
            setattr(sys, name, Cleaned(stream))


def bare(stream: TextIO) -> TextIO:
    """The stream behind one that cleans, for what is no words of a file."""
    return stream.bare if isinstance(stream, Cleaned) else stream


def give(words: str | bytes, end: str = "\n") -> None:
    """Prints what a model made: to a program as it is, on a terminal cleaned."""
    if isinstance(words, bytes):
        stdout = bare(sys.stdout).buffer
        stdout.write(words)
        stdout.flush()
        return
    stream = sys.stdout if sys.stdout.isatty() else bare(sys.stdout)
    stream.write(words + end)
    stream.flush()


def painter(stderr: bool = False) -> Any:
    """What rich draws on. Words are drawn as they are: they are no markup, and cleaned; the colours are rich's own."""
    from rich.console import Console

    class Painter(Console):
        def render_str(self, *words: Any, **how: Any) -> Any:
            return super().render_str(cleaned(words[0]), *words[1:], **how)

    return Painter(file=bare(sys.stderr if stderr else sys.stdout), markup=False, emoji=False, highlight=False)


class Display(Protocol):
    """Where progress is shown. `draw` is told a few times a second of the stages that are worth showing."""

    def draw(self, stages: Sequence[Stage]) -> None: ...

    def close(self) -> None: ...


@contextmanager
def shown(quiet: bool = False) -> Iterator[None]:
    """Shows people the progress of what is done within, on stderr or in the notebook. quiet: shows none of it.

    Within itself it changes nothing, so that whoever does several things shows them as one.
    """
    # Of processes that train together, the first one speaks.
    if quiet or os.environ.get("RANK", "0") != "0":
        with watching(None):
            yield
        return
    if watched():
        yield
        return
    stages: list[Stage] = []
    display, done = find_display(), threading.Event()

    def show() -> None:
        with suppress(Exception):  # such as of a terminal that was closed: the work goes on
            while not done.wait(REFRESH):
                display.draw([stage for stage in tuple(stages) if stage.seconds > DELAY])

    # Looked at from aside: a single long call, such as a compilation, cannot tell how far it is. A notebook tells the
    # cell that output belongs to by the context.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(show,), daemon=True)
    thread.start()
    try:
        with watching(stages):
            yield
    finally:
        done.set()
        thread.join()
        with suppress(Exception):
            display.close()


def shows_progress(work: Callable[P, R]) -> Callable[P, R]:
    """A function whose progress is shown, unless its argument `quiet` is true."""
    signature = inspect.signature(work)

    @functools.wraps(work)
    def showing(*args: P.args, **kwargs: P.kwargs) -> R:
        with shown(bool(signature.bind(*args, **kwargs).arguments.get("quiet"))):
            return work(*args, **kwargs)

    return showing


def find_display() -> Display:
    """Where this process can show progress."""
    if in_notebook():
        return Notebook()
    # Not what rich calls a terminal: that is a pipe too, where colours are forced.
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Bars()
    return Lines()


class Lines:
    """A line every ten seconds, for pipes and log files; of work that takes hours a line in as many minutes."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()

    def draw(self, stages: Sequence[Stage]) -> None:
        now = time.monotonic()
        if stages and now - self._last >= max(EVERY, (now - self._began) / PART):
            self._last = now
            sys.stderr.write(cleaned(f"{stages[-1]}\n"))  # at once: others write, too
            sys.stderr.flush()

    def close(self) -> None:
        pass


class Bars:
    """A bar for each stage on the last lines of a terminal, which are gone afterwards."""

    def __init__(self) -> None:
        from rich.live import Live

        # What is printed meanwhile must stand above; a stdout that goes elsewhere must not come here.
        self._live = Live(
            console=painter(stderr=True), auto_refresh=False, transient=True, redirect_stdout=sys.stdout.isatty()
        )

    def draw(self, stages: Sequence[Stage]) -> None:
        if not stages:
            self._live.stop()
            return
        self._live.start()
        clean_streams()  # those that rich put in their place, which would draw links that they are told of
        self._live.update(_bars(stages), refresh=True)

    def close(self) -> None:
        self._live.stop()


def _bars(stages: Sequence[Stage]) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    for _ in range(4):
        table.add_column(no_wrap=True)
    for stage in stages:
        bar = ProgressBar(stage.total, stage.done, width=16, pulse=not stage.total, animation_time=stage.seconds)
        table.add_row(stage.what, bar, stage.amount, stage.state)
    return table


class Notebook:
    """One line under the cell, with the browser's own bar: no widgets are needed. Gone afterwards."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = Line()

    def draw(self, stages: Sequence[Stage]) -> None:
        line = Line(str(stages[-1]), stages[-1].done, stages[-1].total) if stages else Line()
        if line != self._shown:
            self._shown = line
            self._put(line)

    def _put(self, line: Line) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(line, display_id=True)
        else:
            self._handle.update(line)

    def close(self) -> None:
        self.draw(())


@dataclass(frozen=True)
class Line:
    """A stage as a notebook shows it; nothing, where there is none."""

    says: str = ""
    done: int = 0
    total: int | None = None

    def __repr__(self) -> str:
        return cleaned(self.says)

    def _repr_html_(self) -> str:
        amount = f' value="{self.done}" max="{self.total}"' if self.total else ""
        return f"<progress{amount}></progress> <code>{html.escape(cleaned(self.says))}</code>" if self.says else ""
