"""The network's parts do what their papers say, on inputs small enough to check."""

import pytest

pytest.importorskip("torch")

import torch
from official import tiny_network
from torch.nn import functional as F

from humanparse.model.deform_attn import DeformableAttention, cell_centres, sine_positions
from humanparse.model.m2fp import m2fp_r101
from humanparse.model.resnet import ResNet
from humanparse.model.transformer_decoder import MultiHeadAttention

CPU = torch.device("cpu")


@pytest.mark.parametrize("size_hw", [(32, 32), (64, 96), (160, 32)])
def test_every_query_gives_class_logits_and_a_mask_at_stride_four(size_hw):
    with torch.inference_mode():
        outputs = tiny_network()(torch.randn(2, 3, *size_hw))
    assert outputs["pred_logits"].shape == (2, 20, 22)
    assert outputs["pred_masks"].shape == (2, 20, size_hw[0] // 4, size_hw[1] // 4)
    assert all(torch.isfinite(value).all() for value in outputs.values())


def test_the_official_size_has_63_million_parameters_and_nine_layers():
    with torch.device("meta"):
        network = m2fp_r101()
    assert sum(one.numel() for one in network.parameters()) == pytest.approx(63.1e6, rel=0.002)
    assert len(network.transformer_decoder.layers) == 9
    assert network.transformer_decoder.class_embed.out_features == 22


def test_the_backbone_halves_at_every_stage():
    with torch.inference_mode():
        maps = ResNet(depth=50, width=8).eval()(torch.randn(1, 3, 64, 96))
    assert [tuple(one.shape[1:]) for one in maps] == [
        (32, 16, 24),
        (64, 8, 12),
        (128, 4, 6),
        (256, 2, 3),
    ]


def test_photos_of_one_batch_do_not_see_each_other():
    network, pixels = tiny_network(), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        together, alone = network(pixels), network(pixels[1:])
    assert torch.allclose(together["pred_masks"][1:], alone["pred_masks"], atol=1e-4)


def test_deformable_attention_is_the_weighted_sum_of_the_sampled_points():
    torch.manual_seed(0)
    sizes, heads, points, dim = [(2, 3), (4, 6)], 2, 3, 8
    attention = DeformableAttention(dim, heads, len(sizes), points)
    for layer in (attention.sampling_offsets, attention.attention_weights):
        torch.nn.init.normal_(layer.weight, std=0.5)
    count = sum(h * w for h, w in sizes)
    query, values, reference = (
        torch.randn(1, count, dim),
        torch.randn(1, count, dim),
        cell_centres(sizes, CPU),
    )
    with torch.inference_mode():
        got = attention(query, reference, values, sizes)
        wanted = attention.output_proj(one_by_one(attention, query[0], reference, values[0], sizes))
    assert torch.allclose(got[0], wanted, atol=1e-5)


def one_by_one(attention, query, reference, values, sizes):
    """The formula of the paper, point by point."""
    heads, levels, points = attention.num_heads, attention.num_levels, attention.num_points
    count, dim = query.shape
    offsets = attention.sampling_offsets(query).view(count, heads, levels, points, 2)
    weights = (
        attention.attention_weights(query)
        .view(count, heads, -1)
        .softmax(-1)
        .view(count, heads, levels, points)
    )
    out = torch.zeros(count, heads, dim // heads)
    start = 0
    for level, (h, w) in enumerate(sizes):
        cells = attention.value_proj(values)[start : start + h * w].T.reshape(
            heads, dim // heads, h, w
        )
        start += h * w
        for n in range(count):
            for head in range(heads):
                for point in range(points):
                    place = reference[n] + offsets[n, head, level, point] / torch.tensor([w, h])
                    sample = F.grid_sample(
                        cells[head : head + 1],
                        (2 * place - 1).view(1, 1, 1, 2),
                        align_corners=False,
                    )
                    out[n, head] += weights[n, head, level, point] * sample.flatten()
    return out.reshape(count, dim)


def test_attention_is_pytorchs_own():
    torch.manual_seed(0)
    ours, theirs = MultiHeadAttention(16, 4), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    query, key, value = torch.randn(2, 5, 16), torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    hidden = torch.rand(2, 5, 7) > 0.6
    hidden[..., 0] = False
    wanted = theirs(query, key, value, attn_mask=hidden.repeat_interleave(4, 0))[0]
    assert torch.allclose(ours(query, key, value, hidden), wanted, atol=1e-5)


def test_positions_run_from_the_top_left_and_differ_everywhere():
    positions = sine_positions(4, 5, 16, CPU)
    assert positions.shape == (16, 4, 5)
    assert torch.equal(positions[:8, :, 0], positions[:8, :, 3]) and torch.equal(
        positions[8:, 0], positions[8:, 2]
    )
    assert positions[0, :, 0].tolist() == pytest.approx(
        torch.sin(torch.arange(1, 5) / 4 * 2 * torch.pi).tolist(), abs=1e-4
    )
    assert len(torch.unique(positions.flatten(1).T.round(decimals=3), dim=0)) == 20
