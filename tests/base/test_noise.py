import math

import numpy as np
import pytest
import torch

from scorefield.base import Level, Seeded, Zero
from scorefield.base.noise import GAMMA, mix, normals, words
from tests.refusal import fails, refused

HERE, THERE = Level.of(0.6, 0.8), Level.of(0.8, 0.6)


def interval(i: int, count: int = 1000) -> tuple[Level, Level]:
    """Interval number i of a grid whose ratio falls from 80 by the same factor each step."""
    ratio = [80 * (1e-5) ** (k / count) for k in (i, i + 1)]
    return Level.of(1.0, ratio[0]), Level.of(1.0, ratio[1])


def keys(seeds, here: Level = HERE, there: Level = THERE) -> np.ndarray:
    return Seeded(seeds)._keys(here, there)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


# --- the generator --------------------------------------------------------------------------------


def splitmix64(seed: int, count: int) -> list[int]:
    """The published generator, in Python's own integers."""
    state, found, mask = seed, [], 2**64 - 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        found.append(z ^ (z >> 31))
    return found


KNOWN = [*(6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431)]
KNOWN += [16408922859458223821]


def test_known_answers():
    assert splitmix64(1234567, 5) == KNOWN
    assert words(np.array([1234567], np.uint64), 5)[0].tolist() == KNOWN


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
def test_words_are_splitmix64_for_any_key(seed):
    assert words(np.array([seed], np.uint64), 7)[0].tolist() == splitmix64(seed, 7)


def test_the_key_is_what_the_page_says():
    """mix(mix(seed + G) ^ interval + G), the interval being two float32 bit patterns."""

    def finalise(z: int) -> int:
        return splitmix64((z - int(GAMMA)) % 2**64, 1)[0]

    bits = [int(np.float32(r).view(np.uint32)) for r in (0.8 / 0.6, 0.6 / 0.8)]
    for seed in (0, 7, -1):
        inner = finalise((seed + int(GAMMA)) % 2**64) ^ (bits[0] << 32 | bits[1])
        assert int(keys([seed])[0]) == finalise((inner + int(GAMMA)) % 2**64)


def test_mix_is_a_bijection_on_a_sample():
    z = np.arange(2**20, dtype=np.uint64)
    assert len(np.unique(mix(z))) == 2**20


# --- normality ------------------------------------------------------------------------------------


def kolmogorov(z: np.ndarray) -> float:
    """sqrt(n) times the largest distance of the empirical distribution from the normal one."""
    z = np.sort(z.ravel())
    cdf = torch.special.ndtr(torch.from_numpy(z).double()).numpy()
    n = len(z)
    steps = np.arange(n + 1) / n
    return math.sqrt(n) * max(np.abs(cdf - steps[1:]).max(), np.abs(cdf - steps[:-1]).max())


def check_normal(z: np.ndarray) -> None:
    """Moments within five standard errors; Kolmogorov-Smirnov below 2 (probability 7e-4)."""
    n, z = z.size, z.astype(np.float64).ravel()
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        error = abs(float((z**power).mean()) - mean)
        assert error < 5 * math.sqrt(variance / n), f"moment {power} off by {error:.2e}"
    assert kolmogorov(z) < 2


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("layout", [(1, 400_000), (4000, 101), (400_000, 1)], ids=str)
def test_draws_are_standard_normal(double, layout):
    rows, count = layout
    z = normals(keys(range(rows)), count, double)
    assert z.dtype == (np.float64 if double else np.float32)
    check_normal(z)


def test_planted_departures_from_the_normal():
    z = normals(keys([0]), 400_000, True)
    for wrong in (z + 0.01, 1.01 * z, np.clip(z, -3, 3), np.round(z, 1)):
        fails("", check_normal, wrong)


def test_tails():
    """P(|z| > 4) = 6.33e-5, P(|z| > 5) = 5.73e-7: Poisson counts within five deviations; nothing
    beyond 6.8, where 31 random bits end."""
    n = 4_000_000
    z = np.abs(normals(keys(range(4)), n // 4))
    for bound, p in ((3, 2.6998e-3), (4, 6.3342e-5), (4.5, 6.7953e-6)):
        count = int((z > bound).sum())
        assert abs(count - n * p) < 5 * math.sqrt(n * p), f"{count} beyond {bound}"
    assert float(z.max()) < 6.8


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_ends_of_the_uniform_are_finite(dtype):
    """The two halves of a word at their extremes: u of 0, -2^31 and 2^31 - 1."""
    bits = np.array([0, -(2**31), 2**31 - 1, 1, -1], np.int32)
    u = np.abs(bits.astype(dtype)) * dtype(2.0**-31) + dtype(2.0**-33)
    radius = np.sqrt(np.maximum(dtype(-2) * np.log(u), 0))
    assert np.isfinite(radius).all()
    assert float(radius.max()) == pytest.approx(math.sqrt(66 * math.log(2)))


def test_float32_and_float64_draws_are_the_same_numbers():
    """z = r cos(phi): u and phi are rounded to 2^-24, so r^2 is off by 2^-23 and z by
    2^-23 (1/r + 2 pi r) at most, twice that with the library functions' own roundings. Where u is
    near 1 (r near 0) that is 1e-4, in the far tail 1e-6."""
    wide = normals(keys([3, 4]), 200_000, True)
    narrow = normals(keys([3, 4]), 200_000)
    half = wide.shape[1] // 2
    radius = np.hypot(wide[:, :half], wide[:, half:])
    limit = 2.0**-22 * (1 / radius + 2 * math.pi * radius)
    error = np.abs(wide - narrow)
    assert (error[:, :half] <= limit).all()
    assert (error[:, half:] <= limit).all()
    assert np.quantile(error, 0.99) < 1e-6


# --- independence ---------------------------------------------------------------------------------


def check_independent(a: np.ndarray, b: np.ndarray) -> None:
    """Correlation of the draws and of their squares within five standard errors, joint signs even,
    and no draw of one repeated near the same place of the other."""
    n = a.size
    assert abs(correlation(a, b)) < 5 / math.sqrt(n)
    assert abs(correlation(a**2, b**2)) < 5 / math.sqrt(n)
    signs = [((a > 0) == i).ravel() & ((b > 0) == j).ravel() for i in (0, 1) for j in (0, 1)]
    counts = np.array(signs).sum(1)
    assert ((counts - n / 4) ** 2 / (n / 4)).sum() < 25  # chi-square, 3 degrees: 1.5e-5
    for shift in (-2, -1, 0, 1, 2):
        moved = np.roll(b.reshape(len(b), -1), shift, axis=-1)
        assert abs(correlation(a.reshape(len(a), -1), moved)) < 5 / math.sqrt(n)


def test_neighbouring_seeds():
    z = normals(keys(range(2001)), 100, True)
    check_independent(z[:-1], z[1:])


def test_neighbouring_intervals():
    for pairs in (
        [interval(i) for i in range(0, 1000, 10)],
        [interval(i, 10**6) for i in range(100)],
    ):
        z = np.stack([normals(keys(range(20), *pair), 100, True).ravel() for pair in pairs])
        check_independent(z[:-1], z[1:])


def test_seed_against_interval():
    """Seed s on interval i against seed s+1 on i-1: a key that is their sum would repeat."""
    one = np.stack([normals(keys([s], *interval(10 - s)), 20_000, True)[0] for s in range(9)])
    check_independent(one[:-1], one[1:])


def test_positions():
    z = normals(keys(range(4000)), 100, True)
    check_independent(z[:, ::2].copy(), z[:, 1::2].copy())
    check_independent(z[:, :50].copy(), z[:, 50:].copy())  # the two halves of Box and Muller


def test_planted_key_of_seed_plus_interval():
    """The slip the generator must not make: key = seed + interval index (streams coincide) or
    key = seed + interval index times the counter's stride (streams are shifted)."""
    seeds = np.arange(9, dtype=np.uint64)
    sums = normals(seeds + seeds[::-1], 20_000, True)
    fails("", check_independent, sums[:-1], sums[1:])
    strided = normals(7 + seeds * GAMMA, 20_000, True)
    fails("", check_independent, strided[:-1], strided[1:])


# --- keys -----------------------------------------------------------------------------------------


def flips(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many of the 64 bits differ."""
    return np.unpackbits((a ^ b).view(np.uint8).reshape(len(a), 8), axis=1).sum(1)


def check_avalanche(key_of) -> None:
    """Every one of the 64 seed bits, and of the bits of either ratio, flips half of the key: 32 of
    64 with deviation 4; means over 2000 seeds within five standard errors, .45."""
    rng = np.random.default_rng(0)
    seeds = rng.integers(-(2**63), 2**63, 2000, dtype=np.int64)
    base = key_of(seeds, HERE, THERE)
    for bit in range(64):
        changed = seeds ^ np.int64(-(2**63) if bit == 63 else 1 << bit)
        mean = flips(base, key_of(changed, HERE, THERE)).mean()
        assert abs(mean - 32) < 0.45, f"seed bit {bit} flips {mean:.2f}"
    ratio = np.float32(HERE.ratio.item())
    for bit in range(0, 31):
        other = (ratio.view(np.uint32) ^ np.uint32(1 << bit)).view(np.float32)
        if not np.isfinite(other):
            continue
        mean = flips(base, key_of(seeds, Level.of(1.0, float(other)), THERE)).mean()
        assert abs(mean - 32) < 0.45, f"ratio bit {bit} flips {mean:.2f}"


def test_avalanche():
    check_avalanche(lambda seeds, here, there: keys(torch.from_numpy(seeds), here, there))


def test_planted_key_without_a_finaliser():
    def xor(seeds, here, there):
        bits = np.float32(here.ratio.item()).view(np.uint32).astype(np.uint64) << np.uint64(32)
        return seeds.view(np.uint64) * GAMMA ^ bits

    fails("", check_avalanche, xor)


def test_no_key_repeats_in_a_million():
    """2^20 keys: a repeat has probability 3e-8. Dense seeds on neighbouring intervals are the
    likeliest to meet."""
    found = [keys(range(1024), *interval(i)) for i in range(1024)]
    assert len(np.unique(np.concatenate(found))) == 2**20


# --- Seeded ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_alone_or_in_a_batch_to_the_bit_at_any_size(dtype):
    """Also at sizes where a vector unit has a remainder, and for a batch of single numbers."""
    for count in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 257):
        whole = Seeded(range(100))(torch.zeros(100, count, dtype=dtype), HERE, THERE)
        for i in (0, 1, 50, 99):
            alone = Seeded([i])(torch.zeros(1, count, dtype=dtype), HERE, THERE)
            assert torch.equal(alone[0], whole[i]), f"{count} numbers, sample {i}"
        few = Seeded([99, 3, 3])(torch.zeros(3, count, dtype=dtype), HERE, THERE)
        assert torch.equal(few, whole[[99, 3, 3]])


def test_the_interval_is_the_ratio_and_not_the_scale():
    """x -> c x changes (alpha, sigma) and nothing that matters: the draw stays."""
    x = torch.zeros(2, 3)
    twice = [Level.of(2 * float(a), 2 * float(s)) for a, s in (HERE, THERE)]
    assert torch.equal(Seeded([1, 2])(x, HERE, THERE), Seeded([1, 2])(x, *twice))


def test_each_sample_has_its_own_interval():
    here = Level.of(torch.tensor([0.6, 0.5, 0.6]), torch.tensor([0.8, 0.5, 0.8]))
    there = Level.of(torch.tensor([0.8, 0.8, 0.9]), torch.tensor([0.6, 0.6, 0.1]))
    whole = Seeded([5, 5, 5])(torch.zeros(3, 4), here, there)
    for i in range(3):
        alone = Seeded([5])(torch.zeros(1, 4), here.at(i), there.at(i))
        assert torch.equal(alone[0], whole[i])
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole[0], whole[2])


def test_direction_matters_and_equal_seeds_agree():
    x = torch.zeros(2, 5)
    down, up = Seeded([1, 1])(x, HERE, THERE), Seeded([1, 1])(x, THERE, HERE)
    assert not torch.equal(down, up)
    assert torch.equal(down[0], down[1])


def test_last_digits_of_a_level_do_not_change_the_draw():
    x = torch.zeros(1, 3)
    shaken = Level.of(HERE.alpha * (1 + 1e-15), HERE.sigma)
    assert torch.equal(Seeded([1])(x, HERE, THERE), Seeded([1])(x, shaken, THERE))


@pytest.mark.parametrize("shape", [(), (1,), (3,), (3, 5, 7), (1, 1, 1), (0,), (2, 0)])
def test_odd_and_empty_shapes(shape):
    z = Seeded([1, 2])(torch.zeros(2, *shape), HERE, THERE)
    assert z.shape == (2, *shape)
    assert z.isfinite().all()


def test_an_interval_of_no_length_and_both_ends():
    x = torch.zeros(1, 9)
    pure, clean = Level.of(0.0, 1.0), Level.of(1.0, 0.0)
    pairs = (HERE, HERE), (pure, pure), (clean, clean), (pure, clean), (clean, pure)
    draws = [Seeded([1])(x, *pair) for pair in pairs]
    assert all(d.isfinite().all() for d in draws)
    assert len({tuple(d.ravel().tolist()) for d in draws}) == 5


def test_negative_and_largest_seeds():
    seeds = [-1, -(2**63), 2**63 - 1, 0]
    z = Seeded(seeds)(torch.zeros(4, 8), HERE, THERE)
    assert len({tuple(row.tolist()) for row in z}) == 4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_dtype_follows_x(dtype):
    z = Seeded([1])(torch.zeros(1, 1000, dtype=dtype), HERE, THERE)
    assert z.dtype == dtype
    assert abs(float(z.double().std()) - 1) < 0.15


def test_zero_is_zero():
    x = torch.ones(2, 3, dtype=torch.float64)
    assert torch.equal(Zero()(x, HERE, THERE), torch.zeros_like(x))


@pytest.mark.parametrize("seeds", [[1.5], [[1, 2]], [2**64], [True, False], 3.0 * torch.ones(2)])
def test_bad_seeds_are_refused(seeds):
    refused("", Seeded, seeds)


def test_seeds_must_fit_the_batch():
    refused("3 samples meet 2 seeds", Seeded([1, 2]), torch.zeros(3, 2), HERE, THERE)


# --- start ----------------------------------------------------------------------------------------


def test_start_is_the_draw_from_pure_noise_scaled():
    grid = Level.of(torch.tensor([0.1, 0.9]), torch.tensor([3.0, 0.2]))
    x = Seeded([4, 5]).start((3,), grid, dtype=torch.float64)
    z = Seeded([4, 5])(torch.zeros(2, 3).double(), Level.of(0.0, 1.0), grid.at(0))
    assert torch.equal(x, grid.sigma[0] * z)
    assert torch.equal(x, Seeded([4, 5]).start((3,), grid.at(0), dtype=torch.float64))


SHAPES = [(), (3,), (1, 16), (3, 16), (1, 4, 4), (3, 4, 4), (1, 2, 3, 4), (3, 2, 3, 4)]
"""A number, vectors, series, pictures and volumes, of one channel and of three."""


def check_start(start, shape, n) -> None:
    """Shaped `(n, *shape)` whatever n, and sample i the same as alone."""
    level = Level.of(0.0, 1.0)
    x = start(Seeded(range(n)), shape, level)
    assert x.shape == (n, *shape)
    for i in range(n):
        assert torch.equal(x[i : i + 1], start(Seeded([i]), shape, level))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("n", range(1, 5))
def test_start_takes_the_shape_of_one_sample(shape, n):
    check_start(Seeded.start, shape, n)


@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) in (2, 4)], ids=str)
def test_a_planted_guess(shape):
    """Shapes of two or four axes whose first is the number of seeds, read as a batch's."""

    def guessing(noise, shape, level):
        return noise.start(shape[1:] if shape[0] == len(noise) else shape, level)

    fails("", check_start, guessing, shape, shape[0])


def test_start_per_sample_levels():
    grid = Level.of(1.0, torch.tensor([[80.0, 40.0], [0.0, 0.0]]))
    x = Seeded([4, 5]).start((1000,), grid, dtype=torch.float64)
    deviation = x.std(1)
    assert abs(float(deviation[0]) / 80 - 1) < 0.12
    assert abs(float(deviation[1]) / 40 - 1) < 0.12
    alone = Seeded([5]).start((1000,), Level.of(1.0, 40.0), dtype=torch.float64)
    assert torch.equal(alone[0], x[1])


def test_start_is_independent_of_the_first_step():
    """On a schedule that begins at pure noise the start and the first draw are different draws."""
    pure, next_level = Level.of(0.0, 1.0), Level.of(0.3, 0.7)
    x = Seeded(range(2000)).start((10,), pure, dtype=torch.float64)
    z = Seeded(range(2000))(x, pure, next_level)
    assert abs(correlation(x.numpy(), z.numpy())) < 5 / math.sqrt(20_000)
