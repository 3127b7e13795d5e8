"""Progress of long work: one callback type, and the bar that shows it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

# Called after each item with (items done, items in all).
Progress = Callable[[int, int], None]


class NotedProgress(Protocol):
    """A `Progress` that also takes a note on the state of the work, such as its loss and speed."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def progress_bar(
    description: str, *, start: int = 0, lines_every: int | None = None, shown: bool = True
) -> Iterator[NotedProgress]:
    """A progress bar on standard error. Where that is not a terminal, nothing, or lines of text.

    >>> with progress_bar("evaluating") as progress:
    ...     progress(1, 2)

    Args:
        start: items that were done before.
        lines_every: items between two lines of text where standard error is not a terminal; None shows none.
        shown: False shows nothing at all, as in all processes but the first.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    on_terminal = sys.stderr.isatty()
    with Bar(
        *columns, console=Console(stderr=True), disable=not (on_terminal and shown), transient=lines_every is None
    ) as bar:
        task = bar.add_task(description, total=None, completed=start, note="")

        def report(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=note)
            if shown and lines_every and not on_terminal and (done % lines_every == 0 or done == total):
                left = TimeRemainingColumn(compact=True).render(bar.tasks[0])
                print(f"{description} {done}/{total}  {note}  {left} left", file=sys.stderr, flush=True)

        yield report
