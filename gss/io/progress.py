"""Progress of long work: one callback type, and the bar that shows it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called after each item with (items done, items in all).
Progress = Callable[[int, int], None]


@contextmanager
def progress_bar(description: str) -> Iterator[Progress]:
    """A progress bar on standard error. Nothing is shown where standard error is not a terminal.

    >>> with progress_bar("evaluating") as progress:
    ...     progress(1, 2)
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
