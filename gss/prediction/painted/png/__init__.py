"""PNG in bands of rows: pictures of any height in constant memory, where Pillow holds the whole picture at once.

Source of the format: Portable Network Graphics (PNG) Specification, third edition, W3C.
"""

from gss.prediction.painted.png.reader import PngReader
from gss.prediction.painted.png.writer import SIGNATURE, PngWriter, png_writer

__all__ = ["SIGNATURE", "PngReader", "PngWriter", "png_writer"]
