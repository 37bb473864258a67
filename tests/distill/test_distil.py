"""One call for every method: from exact teachers, data, networks, and students of students."""

from functools import partial
from typing import Any

import pytest
import torch

from scorefield import generate
from scorefield.denoise import Denoiser, Gaussian
from scorefield.distill import METHODS, Consistency, Knowledge, distil
from scorefield.nets import MLP, UNet
from scorefield.process import VP, Flow
from tests.refusal import refused

DATA = Gaussian(torch.zeros(2), torch.eye(2))
FEW = {"knowledge": partial(Knowledge, pairs=64)}
SMALL = {"shape": (2,), "schedule": VP(), "images": 32, "batch": 16}


def small(method, teacher: Any = DATA, **more) -> Denoiser:
    net = MLP((2,), width=8, blocks=1)
    return distil(method, teacher, **{"net": net, **SMALL, **more})


def teacher(**about) -> Denoiser:
    return Denoiser(MLP((2,), width=8, blocks=1), schedule=VP(), shape=(2,), **about)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_a_student_that_is_sampled(name):
    student = small(FEW.get(name, name))
    assert generate(student, 3).shape == (3, 2)
    assert not student.training
    assert all(torch.isfinite(weight).all() for weight in student.parameters())


def test_a_seed_gives_one_student():
    a, b, c = (small("consistency", net=None, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_a_student_begins_as_its_teacher_and_may_teach_another():
    first = teacher()
    student = distil("consistency", first, data=DATA.sample(64), images=1, batch=16, lr=1e-9)
    x, level = torch.randn(4, 2), VP()(torch.full((4,), 0.5))
    assert torch.allclose(student(x, level), first(x, level), atol=1e-5)
    again = distil("progressive", student, data=DATA.sample(64), images=32, batch=16)
    assert again.net.config == first.net.config  # type: ignore[union-attr]


def test_data_alone_teach():
    student = small("meanflow", None, data=DATA.sample(64))
    assert student.sigma_data == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"method": "consistancy"}, "consistency"),
        ({"teacher": None, "data": torch.randn(8, 2)}, "Consistency has no teacher"),
        ({"teacher": DATA.denoise.__func__}, "not known"),
        ({"teacher": teacher(), "net": None}, "there are none"),
        ({"teacher": teacher(), "schedule": Flow()}, "the teacher's schedule is VP"),
        ({"teacher": teacher(), "shape": (3,)}, r"shape is \(2,\), not \(3,\)"),
        ({"teacher": teacher(classes=("a",)), "data": torch.randn(8, 2)}, "classes"),
        ({"data": torch.zeros(8, 3)}, "the data's shape"),
        ({"shape": (1, 4, 4), "data": torch.zeros(8, 1, 4, 4), "net": None}, "no network"),
        ({"net": torch.nn.Linear(2, 2)}, "Linear cannot hear"),
        ({"shape": None}, "no shape"),
        ({"guidance": 0.5}, "guidance is 0.5"),
        ({"method": partial(Consistency, way=0)}, "over 0 steps at a time"),
    ],
)
def test_what_cannot_be_distilled_is_refused(given, says):
    refused(says, small, **{"method": "consistency", **given})


def test_pictures_are_learned_along_their_flow():
    net = UNet((1, 8, 8), width=8, multipliers=(1,), blocks=1)
    data = torch.randn(32, 1, 8, 8)
    for name in ("trigflow", "meanflow"):
        student = small(name, None, shape=(1, 8, 8), schedule=Flow(), data=data, net=net)
        assert generate(student, 2).isfinite().all()
