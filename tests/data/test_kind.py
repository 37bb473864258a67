import numpy as np
import pytest
import torch

from scorefield.base import BadInput
from scorefield.data import load
from scorefield.data.info import DataInfo
from scorefield.data.kind import KINDS, PICTURE, SERIES, VECTOR, VOLUME, Kind
from scorefield.report.picture import frames, picture
from scorefield.run.config import network
from tests.refusal import fails, refused

RNG = np.random.default_rng(0)
SHAPES = {"vector": (3,), "series": (2, 12), "picture": (1, 6, 5), "volume": (1, 4, 6, 5)}


def saved(tmp_path, shape, dtype=np.float64, **more):
    file = tmp_path / "x.npz"
    x = RNG.normal(size=(30, *shape)) if dtype != np.uint8 else RNG.integers(0, 256, (30, *shape))
    np.savez(file, x=x.astype(dtype), **more)
    return str(file)


def test_a_kind_is_read_off_the_shape():
    assert [Kind.of(shape) for shape in SHAPES.values()] == list(KINDS)
    assert [kind.name for kind in KINDS] == list(SHAPES)
    for kind, shape in zip(KINDS, SHAPES.values()):
        kind.check(shape, "this is")
        assert kind.spatial == len(kind.places(shape)) * (kind is not VECTOR)
    refused(r"shape \(1, 1, 1, 1, 1\) are of no kind", Kind.of, (1,) * 5)
    refused(r"views are of pictures \(C, H, W\), and samples of shape \(3, 9\) are series",
            PICTURE.check, (3, 9), "views are")  # fmt: skip


@pytest.mark.parametrize(
    "shape, dtype, options, kind, found",
    [
        ((3, 12), np.float32, {}, SERIES, (3, 12)),
        ((12, 3), np.float32, {}, SERIES, (3, 12)),  # the shorter are the channels
        ((12, 3), np.uint8, {}, PICTURE, (1, 12, 3)),
        ((12, 11), np.float32, {}, PICTURE, (1, 12, 11)),
        ((12, 11), np.float32, {"kind": "series"}, SERIES, (12, 11)),
        ((12, 11), np.float32, {"kind": "series", "channels": 11}, SERIES, (11, 12)),
        ((3, 12), np.float32, {"kind": "picture"}, PICTURE, (1, 3, 12)),
        ((5, 6, 7), np.float32, {"kind": "volume"}, VOLUME, (1, 5, 6, 7)),
        ((5, 6, 7, 2), np.float32, {}, VOLUME, (2, 5, 6, 7)),
        ((4,), np.float32, {}, VECTOR, (4,)),
    ],
)
def test_arrays_of_a_file(tmp_path, shape, dtype, options, kind, found):
    data = load(saved(tmp_path, shape, dtype), **options)
    assert (data.kind, data.shape) == (kind, found)
    x0 = data.batch(data.train, torch.arange(len(data.train)))[0]
    if kind.bounded:
        assert x0.abs().max() <= 1
    else:
        over = [axis for axis in range(x0.ndim) if axis != 1]
        torch.testing.assert_close(x0.mean(over), torch.zeros(found[0]), atol=1e-5, rtol=0)
        torch.testing.assert_close(x0.std(over, correction=0), torch.ones(found[0]))
    u = data.train.x.float()
    torch.testing.assert_close(data.scaling.decode(x0).float(), u, atol=1e-4, rtol=1e-5)
    assert bool(data.done) == (len(shape) == 2 and dtype != np.uint8 and not options)


def test_what_is_no_such_kind_is_refused(tmp_path):
    file = saved(tmp_path, (3, 12))
    refused("kind of data 'serie'. Did you mean 'series'", load, file, kind="serie")
    refused(r"shape \(30, 3, 12\), and the kind is volume", load, file, kind="volume")
    refused("neither axis is of 5 channels", load, file, kind="series", channels=5)
    refused("takes no `data.kind`", load, "digits", kind="series")


def test_a_constant_channel_of_a_series(tmp_path):
    x = RNG.normal(size=(20, 2, 9))
    x[:, 1] = 7
    np.savez(tmp_path / "x.npz", x=x)
    scaling = load(str(tmp_path / "x.npz")).scaling
    assert scaling.constant == (1,)
    u = torch.from_numpy(x)
    assert (scaling.encode_alike(u, "x")[:, 1] == 0).all()
    torch.testing.assert_close(scaling.decode(scaling.encode(u)).double(), u, atol=1e-5, rtol=0)
    u[3, 1, 4] = 8
    with pytest.raises(BadInput, match="coordinate 1 of x is 8, .* trained on 7"):
        scaling.encode_alike(u, "x")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_network_and_is_drawn(kind, tmp_path):
    shape = SHAPES[kind.name]
    data = load(
        saved(tmp_path, shape), **({} if kind in (VECTOR, PICTURE) else {"kind": kind.name})
    )
    assert data.kind is kind
    info = DataInfo.of(data)
    assert info.kind is kind
    assert network("auto:width=16", info).name == kind.network
    x0 = data.batch(data.test, torch.arange(2))[0]
    sheet = picture(x0, 2, captions=("a", "b"))
    assert np.asarray(sheet.convert("L")).std() > 5
    seen = frames(iter([x0 * 0, x0]), 2, None)
    assert seen[0].size == seen[1].size
    if kind is VOLUME:  # its planes move, at the end of the way
        assert len(seen) == shape[1]
    else:
        assert np.asarray(seen[0]).std() < np.asarray(seen[1]).std()


def scale_law(decode):
    """A volume change: of what `log_det` says."""
    from scorefield.data import Scaling

    scaling = Scaling((1.0, -2.0), (0.5, 3.0))
    x0 = torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(0)).double()
    jacobian = torch.autograd.functional.jacobian(decode(scaling), x0[:1]).view(10, 10)
    torch.testing.assert_close(
        scaling.log_det(x0), torch.linalg.slogdet(jacobian)[1].double().expand(4)
    )


def test_the_volume_of_a_scaling():
    scale_law(lambda s: lambda x: s.decode(x).double())


def test_twin_a_scale_once_for_each_channel_fails():
    """The volume of a channel counts once for each moment."""
    fails("", scale_law, lambda s: lambda x: s.decode(x).double() * 1.01)
