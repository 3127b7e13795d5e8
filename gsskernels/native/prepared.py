"""A cache of palettes that are prepared for decoding.

The key is the bytes of the palette: version counters miss writes through ``.data`` or NumPy, and a palette is so small
that comparing its bytes is cheap. Preparing takes longer than decoding a small image by brute force, so a palette is
prepared only after it was used on enough pixels.
"""

import ctypes
import os
import threading
from collections import OrderedDict

from gsskernels.native import library

MOST_PALETTES = 8  # a prepared palette takes half a megabyte to a few megabytes
FEW_CLASSES = 8  # up to here brute force is as fast as cells
FEW_PIXELS = 1024  # up to here an image is decoded by brute force without a look at the cache
# Pixels times classes that brute force decodes in about the time that preparing takes.
WORTH_PREPARING = 2_000_000


class PreparedPalette:
    """The cells of one palette, or no cells where brute force is better. Frees them with the last reference."""

    def __init__(self, palette: bytes, num_classes: int, order: int) -> None:
        handle = ctypes.c_void_p()
        # Stored here: at interpreter exit the module may be destroyed before the last palette.
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


# At a fork, a thread that does not exist in the child may hold the lock.
os.register_at_fork(after_in_child=_forget)


def prepared(palette: int, num_classes: int, order: int, pixels: int) -> PreparedPalette | None:
    """Cells for the float32 palette at the address `palette`, or None for brute force.

    Keep the result until the call that uses its handle has returned. `order` is 2 where margins are needed.
    """
    if num_classes <= FEW_CLASSES or pixels <= FEW_PIXELS:
        return None
    return _cache.get(palette, num_classes, order, pixels)
