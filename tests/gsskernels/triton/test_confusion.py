import torch

from gsskernels.triton import confusion


def test_private_tables_are_bounded(device: torch.device) -> None:
    for num_classes in (1, 19, 150, 1000):
        tables = confusion.Tables(device, num_classes, 2**40)
        assert tables.number == 1 or tables.counts.numel() * 8 <= confusion.SCRATCH
    assert confusion.wide(46341) and not confusion.wide(46340)
