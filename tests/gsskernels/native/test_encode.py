"""The C function of maskige_encode writes outputs of any strides; the public function returns planes only."""

import pytest
import torch

from gsskernels import maskige_encode
from gsskernels.native import library
from tests.gsskernels.inputs import seeded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
@pytest.mark.parametrize("cache_bytes", [0, 2**40])
@pytest.mark.parametrize("classes", [19, 300])
def test_channels_last_output(isa: str, dtype: torch.dtype, cache_bytes: int, classes: int) -> None:
    palette = torch.randint(0, 256, (classes, 3), generator=seeded()).float()
    labels = torch.randint(0, classes, (2, 61, 83), generator=seeded(), dtype=torch.int32)
    wanted = maskige_encode(labels, palette, dtype=dtype, backend="reference")
    for pixel_stride, channel_stride in ((3, 1), (4, 1), (6, 2)):
        pixels = 61 * 83 * pixel_stride
        out = torch.zeros(2 * pixels, dtype=dtype)
        status = library.functions.maskige_encode(
            *(labels.data_ptr(), library.DTYPES[labels.dtype], 2, 61, 83, 61 * 83, 83, 1),
            *(palette.data_ptr(), library.DTYPES[palette.dtype], classes, 3, 1, 1.0, 0.0, 255, 0.0, 0.0, 0.0),
            *(out.data_ptr(), library.DTYPES[dtype], pixels, channel_stride, pixel_stride, cache_bytes, 2),
        )
        got = out.as_strided((2, 3, 61, 83), (pixels, channel_stride, 83 * pixel_stride, pixel_stride))
        assert status == 0 and torch.equal(got, wanted)
