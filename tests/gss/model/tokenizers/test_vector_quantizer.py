import pytest
import torch

from gss.model.tokenizers.vector_quantizer import VectorQuantizer, code_logits, perplexity


def as_map(rows: torch.Tensor) -> torch.Tensor:
    """(N, D) -> (1, D, N, 1), the layout the quantiser takes."""
    return rows.T[None, :, :, None].contiguous()


def test_tokens_are_the_nearest_codes() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(7, 5).eval()
    x = torch.randn(2, 5, 3, 4)
    distances = torch.cdist(x.permute(0, 2, 3, 1).reshape(-1, 5).double(), quantizer.codebook.double())
    assert torch.equal(quantizer.tokens(x).flatten(), distances.argmin(1))
    tokens = quantizer.tokens(x)
    assert torch.equal(quantizer.lookup(tokens)[1, :, 2, 3], quantizer.codebook[tokens[1, 2, 3]])


def test_one_update_is_the_exponential_moving_average_of_the_statistics() -> None:
    quantizer = VectorQuantizer(2, 2, decay=0.9, dead_share=0.0)
    quantizer.initialised.fill_(True)
    quantizer.codebook.copy_(torch.tensor([[0.0, 0.0], [10.0, 10.0]]))
    quantizer.smoothed_counts.copy_(torch.tensor([4.0, 4.0]))
    quantizer.smoothed_sums.copy_(quantizer.codebook * 4)
    quantizer.train()(as_map(torch.tensor([[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])))
    assert torch.allclose(quantizer.smoothed_counts, torch.tensor([4 * 0.9 + 2 * 0.1, 4 * 0.9 + 1 * 0.1]))
    first = torch.tensor([0.1, 0.1]) / 3.8
    second = (torch.tensor([40.0, 40.0]) * 0.9 + torch.tensor([9.0, 9.0]) * 0.1) / 3.7
    assert torch.allclose(quantizer.codebook, torch.stack([first, second]))


def test_gradient_passes_straight_through_and_commitment_pulls_to_the_code() -> None:
    quantizer = VectorQuantizer(4, 3).eval()
    x = torch.randn(1, 3, 2, 2, requires_grad=True)
    out = quantizer(x)
    upstream = torch.randn_like(x)
    (out.vectors * upstream).sum().backward(retain_graph=True)
    assert torch.equal(x.grad, upstream)
    x.grad = None
    out.commitment.backward()
    assert torch.allclose(x.grad, 2 * (x.detach() - out.vectors.detach()) / x.numel(), atol=1e-6)


def test_evaluation_leaves_the_codebook_alone() -> None:
    quantizer = VectorQuantizer(4, 3).eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(torch.randn(2, 3, 4, 4))
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


def test_dead_codes_restart_where_the_error_is() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(3, 2, decay=0.5)
    quantizer.initialised.fill_(True)
    # Codes 1 and 2 are far from everything: they die, and have to restart at the one badly served vector.
    quantizer.codebook.copy_(torch.tensor([[0.0, 0.0], [1e4, 0.0], [0.0, 1e4]]))
    rows = torch.cat([torch.zeros(50, 2), torch.tensor([[8.0, 8.0]])])
    for _ in range(12):
        quantizer.train()(as_map(rows))
    quantizer.eval()
    assert (quantizer.lookup(quantizer.tokens(as_map(rows))) - as_map(rows)).abs().max() < 0.1


def test_finds_the_clusters_of_separated_data() -> None:
    torch.manual_seed(1)
    centres = torch.randn(16, 8) * 5
    quantizer = VectorQuantizer(16, 8, decay=0.8)
    for _ in range(60):
        rows = centres[torch.randint(16, (256,))] + 0.05 * torch.randn(256, 8)
        out = quantizer.train()(as_map(rows))
    assert out.tokens.unique().numel() == 16
    assert torch.cdist(centres, quantizer.codebook).min(1).values.max() < 0.1


def test_health_tells_how_evenly_codes_are_used_and_how_many_restarted() -> None:
    quantizer = VectorQuantizer(4, 2, decay=0.5, dead_share=0.2)
    quantizer.smoothed_counts.copy_(torch.tensor([8.0, 8.0, 8.0, 0.5]))
    health = quantizer.health()
    share = torch.tensor([8.0, 8.0, 8.0, 0.5]) / 24.5
    torch.testing.assert_close(health["perplexity"], torch.exp(-(share * share.log()).sum()))
    assert health["codes_used"] == 3 and health["codes_restarted"] == 0

    quantizer.initialised.fill_(True)
    quantizer.codebook.copy_(torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [1e4, 1e4]]))
    quantizer.smoothed_sums.copy_(quantizer.codebook * quantizer.smoothed_counts[:, None])
    quantizer.train()(as_map(torch.tensor([[0.0, 0.1], [5.0, 0.1], [0.1, 5.0]])))
    health = quantizer.health()
    assert health["codes_restarted"] == 1 and health["codes_used"] == 4


def test_perplexity_is_the_number_of_codes_used_alike() -> None:
    assert perplexity(torch.tensor([3.0, 3.0, 0.0, 3.0])).item() == pytest.approx(3)
    assert perplexity(torch.tensor([0.0, 9.0])).item() == pytest.approx(1)


def test_code_logits_are_minus_the_squared_distances() -> None:
    torch.manual_seed(0)
    x, codebook = torch.randn(2, 5, 3, 4), torch.randn(7, 5)
    wanted = -torch.cdist(x.movedim(1, -1).reshape(2, -1, 5), codebook).square().movedim(2, 1).reshape(2, 7, 3, 4)
    torch.testing.assert_close(code_logits(x, codebook), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("codes", "dim", "decay", "message"), [(0, 3, 0.9, "codes and dim"), (4, 3, 1.0, "decay")])
def test_bad_arguments_are_named(codes: int, dim: int, decay: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VectorQuantizer(codes, dim, decay=decay)
