"""From any colour-coded picture to labels and margins, without a model: the map X^-1 on its own.

`decode` is for pictures in memory, `decode_file` from file to file. The label of a pixel is its nearest palette colour
(arXiv 2303.11316, section 3.2). Its margin is the distance from its colour to the wall between the two nearest colours.
"""

from gss.prediction.painted.files import FileSummary, decode_file
from gss.prediction.painted.memory import Decoded, decode
from gss.prediction.painted.unknown import UnknownColors

__all__ = ["Decoded", "FileSummary", "UnknownColors", "decode", "decode_file"]
