"""Ways between latents."""

import math

import pytest
import torch

from scorefield.base import BadInput
from scorefield.likelihood import direction, lerp, slerp

torch.set_num_threads(1)
A, B = (torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
SHARE = torch.linspace(0, 1, 5)


@pytest.mark.parametrize("way", [lerp, slerp])
def test_ends(way):
    z = way(A, B, SHARE)
    assert z.shape == (5, 3, 1, 8, 8)
    torch.testing.assert_close(z[0], A)
    torch.testing.assert_close(z[-1], B)


def test_slerp_goes_at_one_speed_and_keeps_the_norm():
    z = slerp(A, B, SHARE).flatten(2)
    norm = z.norm(dim=2)
    torch.testing.assert_close(norm, torch.lerp(norm[0], norm[-1], SHARE[:, None]))
    unit = z / norm[..., None]
    angle = (unit[1:] * unit[:-1]).sum(2).acos()
    torch.testing.assert_close(angle, angle[:1].expand(4, -1), atol=1e-4, rtol=0)
    # lerp, its twin, cuts the corner
    assert float(lerp(A, B, SHARE).flatten(2).norm(dim=2)[2].mean()) < 0.8 * float(norm[2].mean())


def test_slerp_of_neighbours_is_lerp():
    near = A + 1e-6 * B
    torch.testing.assert_close(slerp(A, near, SHARE), lerp(A, near, SHARE))
    torch.testing.assert_close(slerp(A, A, SHARE), A.expand(5, -1, -1, -1, -1))


def test_direction_is_the_difference_of_means():
    has = torch.tensor([True, False, True])
    torch.testing.assert_close(direction(A, has), (A[0] + A[2]) / 2 - A[1])


@pytest.mark.parametrize(
    "call",
    [
        lambda: slerp(A, -A, SHARE),
        lambda: slerp(A, 0 * A, SHARE),
        lambda: slerp(A, B[:2], SHARE),
        lambda: lerp(A, B, torch.tensor(0.5)),
        lambda: direction(A, torch.ones(3, dtype=torch.bool)),
        lambda: direction(A, torch.tensor([1, 0, 1])),
    ],
)
def test_bad_input(call):
    with pytest.raises(BadInput):
        call()


def test_right_angle():
    z = slerp(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]]), torch.tensor([1 / 3]))
    assert z[0, 0].tolist() == pytest.approx([2 * math.cos(math.pi / 6), 1.0])
