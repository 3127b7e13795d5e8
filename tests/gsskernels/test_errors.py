"""Messages for bad input name the argument, the expected value and the given value."""

from collections.abc import Callable

import pytest
import torch

import gsskernels as g

IMAGE = torch.zeros(3, 4, 4)
LABELS = torch.zeros(4, 4, dtype=torch.uint8)
PALETTE = torch.zeros(2, 3)
X, TABLE, IDS = torch.zeros(5, 3), torch.zeros(7, 3), torch.zeros(5, dtype=torch.int64)
BIG = torch.zeros(300, 3)
META = torch.device("meta")

CASES: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: g.maskige_encode(LABELS.float(), PALETTE), TypeError, "labels must have dtype uint8.*got float32"),
    (lambda: g.maskige_encode(LABELS.bool(), PALETTE), TypeError, "labels must have dtype.*got bool"),
    (lambda: g.maskige_encode([[0]], PALETTE), TypeError, "labels must be a torch.Tensor, got list"),  # type: ignore[arg-type]
    (lambda: g.maskige_encode(LABELS[0], PALETTE), ValueError, r"labels must have shape \(\*, H, W\), got \(4,\)"),
    (lambda: g.maskige_encode(LABELS, PALETTE[:, :2]), ValueError, r"palette must have shape \(K, 3\), got \(2, 2\)"),
    (lambda: g.maskige_encode(LABELS, PALETTE[:0]), ValueError, "palette must have at least one colour, got K = 0"),
    (lambda: g.maskige_encode(LABELS, PALETTE.bool()), TypeError, "palette must have dtype"),
    (lambda: g.maskige_encode(LABELS, BIG), ValueError, "labels has dtype uint8.*up to 255.*300 classes"),
    (
        lambda: g.maskige_encode(LABELS.to(META), PALETTE),
        ValueError,
        r"palette must be on the device of labels \(meta\)",
    ),
    (lambda: g.maskige_encode(LABELS, PALETTE, dtype=torch.int32), TypeError, "dtype must be.*got torch.int32"),
    (lambda: g.maskige_encode(LABELS, PALETTE, ignore_color=(1, 2)), ValueError, "ignore_color must be three numbers"),
    (lambda: g.maskige_encode(LABELS, PALETTE, ignore_index=1.5), TypeError, "ignore_index must be an int"),  # type: ignore[arg-type]
    (
        lambda: g.maskige_decode(IMAGE[:2], PALETTE),
        ValueError,
        r"maskige must have shape \(\*, 3, H, W\), got \(2, 4, 4\)",
    ),
    (lambda: g.maskige_decode(IMAGE.long(), PALETTE), TypeError, "maskige must have dtype.*got int64"),
    (lambda: g.maskige_decode(IMAGE, PALETTE[:0]), ValueError, "palette.*K = 0"),
    (lambda: g.maskige_decode(IMAGE, PALETTE, size=(0, 4)), ValueError, r"size must be positive, got \(0, 4\)"),
    (lambda: g.maskige_decode(IMAGE, PALETTE, size=8), TypeError, "size must be a pair.*got 8"),  # type: ignore[call-overload]
    (lambda: g.maskige_decode(IMAGE, PALETTE, size=(4, 2.5)), TypeError, "size must be an int, got float"),  # type: ignore[arg-type]
    (lambda: g.maskige_decode(IMAGE[:, :0], PALETTE, size=(4, 4)), ValueError, "maskige must have at least one row"),
    (
        lambda: g.maskige_decode(IMAGE, PALETTE, resize="nearest"),
        ValueError,
        "resize must be one of 'vote', 'rgb', got 'nearest'",
    ),
    (
        lambda: g.maskige_evaluate(IMAGE, PALETTE, LABELS[None]),
        ValueError,
        "target must have the leading dimensions of maskige",
    ),
    (lambda: g.maskige_evaluate(IMAGE, BIG, LABELS), ValueError, "target has dtype uint8"),
    (lambda: g.maskige_evaluate(IMAGE, PALETTE, LABELS[:0]), ValueError, "target must have at least one row"),
    (lambda: g.label_resize(LABELS, (2, 2), num_classes=0), ValueError, "num_classes must be at least 1, got 0"),
    (lambda: g.label_resize(LABELS, (2, 2), num_classes=257), ValueError, "labels has dtype uint8"),
    (lambda: g.label_resize(LABELS, (2, -2), num_classes=2), ValueError, "size must be positive"),
    (
        lambda: g.label_resize(LABELS, (2, 2), num_classes=2, ignore_index=-1),
        ValueError,
        "ignore_index must fit.*got -1",
    ),
    (lambda: g.label_resize(LABELS[:0], (2, 2), num_classes=2), ValueError, "labels must have at least one row"),
    (
        lambda: g.confusion_matrix(LABELS, LABELS[:2], 2),
        ValueError,
        r"target must have the shape of prediction \(4, 4\), got \(2, 4\)",
    ),
    (lambda: g.confusion_matrix(LABELS.float(), LABELS, 2), TypeError, "prediction must have dtype"),
    (lambda: g.confusion_matrix(LABELS, LABELS, True), TypeError, "num_classes must be an int, got bool"),
    (lambda: g.confusion_matrix(LABELS, LABELS.to(META), 2), ValueError, "target must be on the device of prediction"),
    (lambda: g.nearest_code(X.long(), TABLE), TypeError, "x must have dtype.*got int64"),
    (lambda: g.nearest_code(X, TABLE[:, :2]), ValueError, r"codebook must have 3 columns.*got \(7, 2\)"),
    (lambda: g.nearest_code(X, TABLE[:0]), ValueError, "codebook must have at least one row, got V = 0"),
    (lambda: g.nearest_code(X, TABLE[0]), ValueError, r"codebook must have shape \(V, D\), got \(3,\)"),
    (
        lambda: g.nearest_code(X, TABLE, dim=2),
        ValueError,
        r"dim must name a dimension of x, which has shape \(5, 3\), got 2",
    ),
    (lambda: g.nearest_code(X[0, 0], TABLE), ValueError, "dim must name a dimension of x"),
    (lambda: g.nearest_code(X, TABLE, precision="fp8"), ValueError, "precision must be one of None, 'fp32'.*got 'fp8'"),
    (lambda: g.nearest_code(X, TABLE.to(META)), ValueError, r"codebook must be on the device of x \(cpu\), got meta"),
    (lambda: g.linear_argmax(X, TABLE, TABLE[:3, 0]), ValueError, r"bias must have shape \(7,\), got \(3,\)"),
    (lambda: g.linear_argmax(X, TABLE.int()), TypeError, "weight must have dtype.*got int32"),
    (lambda: g.linear_argmax(X, TABLE, TABLE[:, 0].int()), TypeError, "bias must have dtype"),
    (lambda: g.linear_sample(X, TABLE, seed=-1), ValueError, "seed must be in 0"),
    (lambda: g.linear_sample(X, TABLE, seed=1.0), TypeError, "seed must be an int"),  # type: ignore[arg-type]
    (
        lambda: g.linear_cross_entropy(X, TABLE, IDS[:4]),
        ValueError,
        r"target must have the shape of x without dim, \(5,\), got \(4,\)",
    ),
    (lambda: g.linear_cross_entropy(X, TABLE, IDS.float()), TypeError, "target must have dtype"),
    (
        lambda: g.linear_cross_entropy(X, TABLE, IDS, label_smoothing=1.5),
        ValueError,
        "label_smoothing must be in 0..1, got 1.5",
    ),
    (lambda: g.linear_cross_entropy(X, TABLE, IDS, reduction="avg"), ValueError, "reduction must be one of.*got 'avg'"),
    (lambda: g.code_statistics(X, IDS[:4], 3), ValueError, "codes must have the shape of x without dim"),
    (lambda: g.code_statistics(X, IDS, 0), ValueError, "num_codes must be at least 1, got 0"),
]


@pytest.mark.parametrize(("call", "error", "message"), CASES, ids=[message for _, _, message in CASES])
def test_message(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
