"""Operations over a table of V vectors: the codebook of a VQ tokenizer, or the weight of a token head.

The N x V scores are never stored. Nearest code and most likely token are the same affine argmax
``argmax_v <x, w_v> + b_v``: a code c is a weight row with the bias ``-|c|^2 / 2``. `dim` names the feature dimension of
x: a channels-first map (B, D, H, W) is passed with dim=1 and the result has the other dimensions (B, H, W).

Dtypes: float16, bfloat16, float32, float64. x and the table may have different dtypes and are promoted to the wider
one. Like `torch.nn.functional.linear`, the ``linear_*`` functions run in the autocast dtype under `torch.autocast`;
`nearest_code` and `code_statistics` do not follow autocast.

Precision of the scores:
    None        products of the values of the (promoted) input, accumulated in at least float32.
    "fp32"      float32 operands. The score of the returned index, evaluated in float64, is below the best score by at
                most ``(D + 2) * 2^-23 * max_v(|x| |w_v| + |b_v|)``, the rounding error of a float32 sum.
    "tf32"      operands are first rounded to 10 explicit mantissa bits (nearest, ties to even).
    "bf16"      operands are first rounded to bfloat16.
|c|^2 is computed from the rounded codes, so the answer is the nearest of the rounded codes. A backend may be more
accurate than this: the reference scores in float64.

Ties go to the lowest index. A NaN score never wins. A row whose scores are all NaN, such as a row of x that contains a
NaN, gives 0. Infinities follow from the same expression.
"""

import torch
from torch import Tensor

from gsskernels import _check, _ops

PRECISIONS = (None, "fp32", "tf32", "bf16")


def nearest_code(
    x: Tensor, codebook: Tensor, *, dim: int = -1, precision: str | None = None, backend: str | None = None
) -> Tensor:
    """Finds the index of the nearest code by squared L2 distance.

    Args:
        x: floating tensor with D features along `dim`, any strides.
        codebook: (V, D) floating.
        dim: the feature dimension of x.
        precision: None, "fp32", "tf32" or "bf16", see the module's documentation.
        backend: None for the fastest one available, or "reference", "native", "triton".

    Returns:
        int64 indices in 0..V-1, with the shape of x without `dim`. No gradient. Ties go to the lowest index; a row that
        contains a NaN gives 0.

    Raises:
        TypeError, ValueError: the message names the argument, the expected value and the given value.

    Example:
        >>> x = torch.tensor([[0.9, 0.2], [-1.0, 3.0]])
        >>> nearest_code(x, torch.tensor([[1.0, 0.0], [0.0, 2.0], [5.0, 5.0]]))
        tensor([0, 1])
    """
    dim = _check_operands(x, "codebook", codebook, None, dim)
    _check.choice("precision", precision, PRECISIONS)
    _check.backend(backend)
    if x.dtype is not codebook.dtype:
        dtype = torch.promote_types(x.dtype, codebook.dtype)
        x, codebook = x.to(dtype), codebook.to(dtype)
    return _ops.nearest_code(x, codebook, dim, precision, backend)


def linear_argmax(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    dim: int = -1,
    precision: str | None = None,
    backend: str | None = None,
) -> Tensor:
    """Finds the most likely token of a linear head, ``argmax_v <x, weight_v> + bias_v``, without storing the logits.

    Args:
        x: floating tensor with C features along `dim`, any strides.
        weight: (V, C) floating.
        bias: (V,) floating or None. -inf forbids a token.
        dim: the feature dimension of x.
        precision: None, "fp32", "tf32" or "bf16", see the module's documentation.
        backend: None for the fastest one available, or "reference", "native", "triton".

    Returns:
        int64 indices in 0..V-1, with the shape of x without `dim`. No gradient. Ties go to the lowest index. NaN scores
        never win; a row whose scores are all NaN gives 0.

    Raises:
        TypeError, ValueError: the message names the argument, the expected value and the given value.

    Example:
        >>> x = torch.tensor([[0.9, 0.2], [-1.0, 3.0]])
        >>> weight = torch.tensor([[1.0, 0.0], [0.0, 2.0], [5.0, 5.0]])
        >>> linear_argmax(x, weight)
        tensor([2, 2])
        >>> linear_argmax(x, weight, torch.tensor([0.0, 0.0, -torch.inf]))
        tensor([0, 1])
    """
    dim = _check_operands(x, "weight", weight, bias, dim)
    _check.choice("precision", precision, PRECISIONS)
    _check.backend(backend)
    x, weight = _as_linear(x, weight, precision)
    return _ops.linear_argmax(x, weight, bias, dim, precision, backend)


def linear_sample(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    temperature: float = 1.0,
    seed: int = 0,
    dim: int = -1,
    backend: str | None = None,
) -> Tensor:
    """Draws one token per row from ``softmax(logits / temperature)`` of a linear layer, without storing the logits.

    The Gumbel-max method: the argmax of ``logits / temperature - log(-log(u))`` with u uniform in (0, 1). u is a hash
    of (seed, row, token), not a stream: a draw depends neither on chunking nor on the data of other rows, and the same
    seed gives the same draw on one backend. Rows are numbered in the order of the result.

    Args:
        x, weight, bias, dim, backend: as in `linear_argmax`. A token with the logit -inf is never drawn while another
            logit is finite.
        temperature: above 0. `linear_argmax` is the limit 0.
        seed: 0 <= seed < 2^63.

    Returns:
        int64 indices in 0..V-1, with the shape of x without `dim`. No gradient. A token with a NaN logit is never
        drawn; a row whose logits are all NaN gives 0.

    Raises:
        TypeError, ValueError: the message names the argument, the expected value and the given value.

    Example:
        >>> linear_sample(torch.zeros(6, 2), torch.ones(3, 2), torch.tensor([0.0, -torch.inf, 0.0]), seed=0)
        tensor([0, 2, 2, 0, 0, 2])
    """
    dim = _check_operands(x, "weight", weight, bias, dim)
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be positive and finite, got {temperature} (linear_argmax is the limit 0)")
    _check.integer("seed", seed)
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be in 0..2^63-1, got {seed}")
    _check.backend(backend)
    x, weight = _as_linear(x, weight, None)
    return _ops.linear_sample(x, weight, bias, temperature, seed, dim, backend)


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None = None,
    *,
    dim: int = -1,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    backend: str | None = None,
) -> Tensor:
    """Computes ``F.cross_entropy(F.linear(x, weight, bias), target)`` and its gradients without storing all logits.

    Args:
        x: floating tensor with C features along `dim`, any strides.
        weight: (V, C) floating.
        target: integer class ids with the shape of x without `dim`. As in PyTorch an id outside 0..V-1 that is not
            `ignore_index` is an error: an exception on CPU, a device assertion on CUDA.
        bias: (V,) floating or None.
        dim: the feature dimension of x.
        ignore_index: rows with this target have the loss 0 and the gradient 0, and do not count in the mean.
        label_smoothing: in 0..1, the weight of the uniform distribution that is mixed into the target.
        reduction: "mean" over the rows that are not ignored (NaN if there are none, as in PyTorch), "sum", or "none".
        backend: None for the fastest one available, or "reference", "native", "triton".

    Returns:
        float32 (float64 for float64 input): a scalar, or the shape of `target` for "none". Products of half precision
        input are accumulated in float32. The gradients of x, weight and bias have the dtypes of these tensors.

    Raises:
        TypeError, ValueError: the message names the argument, the expected value and the given value.
        NotImplementedError: a second derivative is asked for.

    Example:
        >>> x = torch.tensor([[0.9, 0.2], [-1.0, 3.0]])
        >>> weight = torch.tensor([[1.0, 0.0], [0.0, 2.0], [5.0, 5.0]])
        >>> linear_cross_entropy(x, weight.requires_grad_(), torch.tensor([0, 1])).backward()
        >>> weight.grad
        tensor([[-0.4456, -0.0990],
                [ 0.4937, -1.4724],
                [-0.0482,  1.5714]])
    """
    dim = _check_operands(x, "weight", weight, bias, dim)
    _check.labels("target", target)
    _check.same_device("target", target, "x", x)
    rows = (*x.shape[:dim], *x.shape[dim + 1 :])
    if tuple(target.shape) != rows:
        raise ValueError(f"target must have the shape of x without dim, {rows}, got {tuple(target.shape)}")
    _check.integer("ignore_index", ignore_index)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in 0..1, got {label_smoothing}")
    _check.choice("reduction", reduction, ("mean", "sum", "none"))
    _check.backend(backend)
    x, weight = _as_linear(x, weight, None)
    arguments = (x, weight, target, bias, dim, ignore_index, label_smoothing, reduction)
    gradients = [t is not None and t.requires_grad for t in (x, weight, bias)]
    if not (torch.is_grad_enabled() and any(gradients)):
        return _ops.linear_cross_entropy(*arguments, backend)
    in_forward = gradients if reduction != "none" else [False, False, False]
    return _ops.linear_cross_entropy_with_gradients(*arguments, in_forward, backend)[0]


def code_statistics(
    x: Tensor, codes: Tensor, num_codes: int, *, dim: int = -1, backend: str | None = None
) -> tuple[Tensor, Tensor]:
    """Counts the rows of each code and sums them, for the exponential moving average of a codebook.

    Args:
        x: floating tensor with D features along `dim`, any strides.
        codes: integer code ids with the shape of x without `dim`. Rows with an id outside 0..V-1 are left out.
        num_codes: V.
        dim: the feature dimension of x.
        backend: None for the fastest one available, or "reference", "native", "triton".

    Returns:
        counts (V,) int64 and sums (V, D) float32 (float64 for float64 input), accumulated in at least float32.
        Deterministic: the same input gives the same bits on one backend and device. No gradient.

    Raises:
        TypeError, ValueError: the message names the argument, the expected value and the given value.

    Example:
        >>> x = torch.tensor([[0.9, 0.2], [-1.0, 3.0]])
        >>> code_statistics(x, torch.tensor([2, 2]), num_codes=3)
        (tensor([0, 0, 2]), tensor([[ 0.0000,  0.0000],
                [ 0.0000,  0.0000],
                [-0.1000,  3.2000]]))
    """
    dim = _check.feature_dim(x, dim)
    _check.labels("codes", codes)
    _check.same_device("codes", codes, "x", x)
    _check.positive("num_codes", num_codes)
    rows = (*x.shape[:dim], *x.shape[dim + 1 :])
    if tuple(codes.shape) != rows:
        raise ValueError(f"codes must have the shape of x without dim, {rows}, got {tuple(codes.shape)}")
    _check.backend(backend)
    return _ops.code_statistics(_check.constant(x), codes, num_codes, dim, backend)


def _check_operands(x: Tensor, name: str, table: Tensor, bias: Tensor | None, dim: int) -> int:
    dim = _check.feature_dim(x, dim)
    _check.matrix(name, table, x.shape[dim])
    _check.same_device(name, table, "x", x)
    if bias is not None:
        _check.tensor("bias", bias, _check.FLOATS)
        _check.same_device("bias", bias, "x", x)
        if tuple(bias.shape) != (table.shape[0],):
            raise ValueError(f"bias must have shape ({table.shape[0]},), got {tuple(bias.shape)}")
    return dim


def _as_linear(x: Tensor, weight: Tensor, precision: str | None) -> tuple[Tensor, Tensor]:
    """Converts the operands to the dtype that F.linear would compute in; an explicit precision overrides autocast."""
    # torch.is_autocast_enabled refuses the meta device, which torch uses to compute shapes.
    autocast = precision is None and x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)
    if autocast and torch.float64 not in (x.dtype, weight.dtype):
        dtype = torch.get_autocast_dtype(x.device.type)
    elif x.dtype is weight.dtype:
        return x, weight
    else:
        dtype = torch.promote_types(x.dtype, weight.dtype)
    return x.to(dtype), weight.to(dtype)
