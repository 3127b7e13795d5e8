"""Palettes prepared for decoding, remembered by their colours.

A palette is recognised by comparing its bytes: version counters miss writes through ``.data`` or NumPy, and a palette
is so small that comparing costs less than asking. Preparing takes longer than decoding a small image by brute force,
so it waits until a palette has been used on enough pixels to be worth it.
"""

import ctypes
import os
import threading
from collections import OrderedDict

from gsskernels.native import library

MOST_PALETTES = 8  # a prepared palette takes half a megabyte or a few
FEW_CLASSES = 8  # up to here brute force is as fast as cells
FEW_PIXELS = 1024  # up to here an image is decoded by brute force without a look at the cache
# Pixels times classes decoded by brute force in about the time that preparing takes.
WORTH_PREPARING = 2_000_000


class PreparedPalette:
    """The cells of one palette, or none where brute force serves it better. Frees them when the last user lets go."""

    def __init__(self, palette: bytes, num_classes: int, order: int) -> None:
        handle = ctypes.c_void_p()
        # Bound now: at interpreter exit the module may be gone before the last palette.
        self._release = library.functions.release_cells
        library.check(library.functions.prepare_cells(palette, num_classes, order, ctypes.byref(handle)))
        self.handle = handle.value

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._release(self.handle)


class _Cache:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: OrderedDict[tuple[bytes, int], PreparedPalette | int] = OrderedDict()

    def get(self, palette: int, num_classes: int, order: int, pixels: int) -> PreparedPalette | None:
        key = (ctypes.string_at(palette, 12 * num_classes), order)
        with self.lock:
            entry = self.entries.pop(key, 0)
            if isinstance(entry, int):
                entry += pixels
                if entry * num_classes >= WORTH_PREPARING:
                    entry = PreparedPalette(key[0], num_classes, order)
            self.entries[key] = entry
            if len(self.entries) > MOST_PALETTES:
                self.entries.popitem(last=False)
        return None if isinstance(entry, int) else entry


_cache = _Cache()


def _forget() -> None:
    global _cache
    _cache = _Cache()


# The lock may be held by a thread that a forked child does not have.
os.register_at_fork(after_in_child=_forget)


def prepared(palette: int, num_classes: int, order: int, pixels: int) -> PreparedPalette | None:
    """Cells for the float32 palette at the address `palette`, or None for brute force.

    Keep the result until the call that uses its handle has returned. `order` is 2 where runners-up are needed.
    """
    if num_classes <= FEW_CLASSES or pixels <= FEW_PIXELS:
        return None
    return _cache.get(palette, num_classes, order, pixels)
