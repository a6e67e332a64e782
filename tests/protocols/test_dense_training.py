"""One training of a dense head: what is trained, what counts in the loss, the same bits after an interrupt, what is predicted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sslbench.backbones import load_backbone
from sslbench.datasets import ImageArray, Masks
from sslbench.errors import TrainingError
from sslbench.protocols import _dense_training
from sslbench.protocols._dense_coding import Codewords
from sslbench.protocols._dense_options import NORMALS, SEGMENTATION
from sslbench.protocols._dense_pictures import padded, pictures_of, resized
from sslbench.protocols._dense_training import DenseLearner, restored
from sslbench.training.crops import resized_crops
from sslbench.training.loop import Plan, Step, train
from tests.protocols.dense import IGNORE, TASKS, coding_of, norms_of, part, pictures, setting
from tests.protocols.detecting import Stages, backbone

pytestmark = pytest.mark.usefixtures("one_thread")


def step(number: int = 0) -> Step:
    return Step(number, 0.0, torch.Generator())


@pytest.mark.parametrize("name", ["segmentation", "normals"])
def test_a_frozen_network_is_the_same_to_the_last_bit(name: str) -> None:
    task = TASKS[name]
    made = setting(task, "recipe=small+batch=4+encoder=frozen").learner(pictures(task), seed=1)
    before = {key: value.clone() for key, value in made.model.state_dict().items()}
    train(made, Plan(5, 5), schedule=lambda progress: 1.0, begun_with={})
    changed = {key for key, value in made.model.state_dict().items() if not torch.equal(value, before[key])}
    # BatchNorm's statistics among them.
    assert not {key for key in changed if key.startswith("body")}
    assert all(not norm.training for norm in norms_of(made.model.body))
    assert changed == {key for key in before if key.startswith("head")}
    assert set(made.model.learned()) == {key for key in before if key.startswith("head")}
    # Nothing is computed for gradients of it.
    assert all(parameter.grad is None for parameter in made.model.body.parameters())


@pytest.mark.parametrize("name", ["segmentation", "normals"])
def test_a_network_is_trained_with_its_statistics(name: str) -> None:
    task = TASKS[name]
    made = setting(task, "recipe=small+batch=4+encoder=finetune").learner(pictures(task), seed=1)
    before = {key: value.clone() for key, value in made.model.state_dict().items()}
    train(made, Plan(5, 5), schedule=lambda progress: 1.0, begun_with={})
    assert {key for key, value in made.model.state_dict().items() if not torch.equal(value, before[key])} == set(before)
    assert set(made.model.learned()) == set(before)


def test_statistics_go_back_as_far_as_a_training_is_long() -> None:
    for steps, momentum in ((150_000, 0.001), (10_000, 0.001), (250, 0.04), (10, 0.1)):
        made = setting(SEGMENTATION, f"steps={steps}+recipe=small").network(0)
        assert {norm.momentum for norm in norms_of(made)} == {momentum}
    # What stands still is left alone.
    made = setting(NORMALS, "steps=250+recipe=small").network(0)
    assert {norm.momentum for norm in norms_of(made.body)} == {0.1} and {x.momentum for x in norms_of(made.head)} == {
        0.04
    }


def test_the_studys_networks() -> None:
    """Golden numbers for ResNet-50: 23.1 M trained of 46.6 M for normals, all 64.0 M for segmentation."""
    own = load_backbone("random-init:resnet50")
    codewords = Codewords(np.eye(3)[np.arange(40) % 3], "made here")
    normals = replace(setting(NORMALS, "", network=own), coding=codewords).network(0)
    segmentation = setting(SEGMENTATION, "", network=own).network(0)
    counts = [[sum(p.numel() for p in made.parameters() if p.requires_grad or not trained) for trained in (True, False)]
              for made in (normals, segmentation)]  # fmt: skip
    assert counts == [[23_094_312, 46_602_344], [64_023_620, 64_023_620]]
    assert (normals.levels.strides, normals.divisor) == (((8, 8),), 8)
    assert ([stride for stride, _ in segmentation.levels.strides], segmentation.divisor) == ([4, 8, 16, 32], 32)
    spread = [
        part.dilation[0] for part in normals.body.modules() if isinstance(part, nn.Conv2d) and part.dilation[0] > 1
    ]
    assert spread == [2] * 6 + [4] * 2
    assert own.network.module.layer4[0].conv2.dilation == (1, 1)


def test_what_each_recipe_is_optimised_by() -> None:
    for name, task in TASKS.items():
        sgd = setting(task, "").learner(pictures(task), 0).optimiser
        assert isinstance(sgd, torch.optim.SGD)
        matrices, vectors = sgd.param_groups
        assert [(g["lr"], g["momentum"], g["weight_decay"]) for g in (matrices, vectors)] == [
            (0.02, 0.9, 1e-4),
            (0.02, 0.9, 0),
        ]
        assert {p.ndim for p in matrices["params"]} == {4} and {p.ndim for p in vectors["params"]} == {1}
        adamw = setting(task, "recipe=adamw").learner(pictures(task), 0).optimiser
        assert isinstance(adamw, torch.optim.AdamW)
        assert [(g["lr"], g["weight_decay"]) for g in adamw.param_groups] == [(1e-4, 0.05), (1e-4, 0)]
        # The study's rates: set before a step for segmentation, after it for normals.
        steps, lag = {"segmentation": (150_000, 0), "normals": (13_500, 1)}[name]
        schedule = setting(task, "").schedule()
        for number in (0, 1, 7000, steps - 1):
            assert schedule(number / steps) == pytest.approx((1 - max(0, number - lag) / steps) ** 0.9, rel=1e-9)
    # The first step of a rise has a rate.
    rise = setting(SEGMENTATION, "recipe=adamw").schedule()
    assert rise(0.0) == pytest.approx(1 / 1500) and rise(1500 / 150_000) == pytest.approx(0.99**0.9)


def test_batches_follow_from_the_steps_number() -> None:
    """The same ones in any order of asking; one size a batch, drawn from the recipe's."""
    recipe = replace(SEGMENTATION.recipes["small"], short=(32, 64, 96))
    made = setting(recipe=recipe).learner(pictures(), seed=3)
    wanted = [made.batch(step(number)) for number in range(8)]
    again = setting(recipe=recipe).learner(pictures(), seed=3).batch(step(5))
    assert all(torch.equal(one, other) for one, other in zip(again, wanted[5], strict=True))
    sides = {images.shape[2] for images, _ in wanted}
    assert sides == {32, 64, 96} and all(
        images.shape == (4, 3, images.shape[2], images.shape[2]) for images, _ in wanted
    )
    assert all(tuple(labels.shape[1:]) == (images.shape[2] // 4,) * 2 for images, labels in wanted)
    other = setting(recipe=recipe).learner(pictures(), seed=4).batch(step(5))
    assert other[0].shape != again[0].shape or not torch.equal(other[0], again[0])


def test_pictures_are_mirrored_for_segmentation_alone() -> None:
    for name, task in TASKS.items():
        made = setting(task).learner(pictures(task), seed=3)
        mirrored = 0
        for number in range(6):
            items = made._stream.batch(number)
            images, labels = made.batch(step(number))
            for item, image in zip(items, images, strict=True):
                plain = resized_crops(
                    made._pictures.pictures.take([item]), torch.tensor([[0, 0, 64, 64]]), torch.tensor([False]), (64, 64),
                    interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3,
                )[0]  # fmt: skip
                same = torch.allclose(image, plain, atol=1e-4)
                mirrored += not same
                assert same or torch.allclose(image, plain.flip(2), atol=1e-4)
            assert labels.dtype == torch.uint8
        assert (mirrored > 0) == (name == "segmentation")


class Given(nn.Module):
    """Logits that were given, whatever it is shown."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits, self.weight = logits, nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits * self.weight


def test_the_loss_is_the_mean_over_what_counts() -> None:
    torch.manual_seed(0)
    made = setting().learner(pictures(), seed=0)
    labels = torch.randint(0, 4, (2, 5, 6), dtype=torch.uint8)
    labels[0, 3:], labels[1, :, 2] = 255, 255
    logits = torch.randn(2, 4, 5, 6)
    found = []
    for other in (logits, torch.where(labels[:, None] == 255, 1e4 * torch.randn_like(logits), logits)):
        made.model = Given(other)  # type: ignore[assignment]
        found.append(made.loss((torch.zeros(2, 3, 20, 24), labels)))
    terms = [
        -logits[b, :, y, x].log_softmax(0)[labels[b, y, x].item()] for b, y, x in (labels != 255).nonzero().tolist()
    ]
    assert found[0].item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-6)
    assert torch.equal(*found)


def test_a_batch_of_which_nothing_counts_changes_nothing_by_its_loss() -> None:
    made = setting().learner(pictures(), seed=0)
    loss = made.loss((torch.randn(2, 3, 64, 64), torch.full((2, 16, 16), 255, dtype=torch.uint8)))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert all(not parameter.grad.any() for parameter in made.model.parameters() if parameter.grad is not None)


def test_padding_counts_as_the_first_codeword_where_the_official_code_is_followed() -> None:
    """44 lines are padded to 48, whose last row of cells has its middle at the picture's lower edge."""
    recipe = replace(NORMALS.recipes["small"], short=(44,), tested=44)
    found = {}
    for choice, outside in (("ignore", 255), ("class-0", 0)):
        made = setting(NORMALS, recipe=recipe, normals_padding=choice).learner(pictures(NORMALS), seed=0)
        images, labels = made.batch(step())
        assert images.shape == (4, 3, 48, 48) and labels.shape == (4, 6, 6)
        assert not images[:, :, 44:].any() and not images[:, :, :, 44:].any()
        assert (labels[:, 5] == outside).all() and (labels[:, :, 5] == outside).all()
        found[choice] = labels[:, :5, :5]
    assert torch.equal(found["ignore"], found["class-0"])


@pytest.mark.parametrize("name", ["segmentation", "normals"])
def test_a_resumed_training_has_the_same_bits(name: str, tmp_path: Path) -> None:
    """Dropout, BatchNorm's statistics and all; also where the generator is seeded anew for every second step only."""
    task, plan = TASKS[name], Plan(8, 2, seed=3, reseed_every=2)

    def trained(folder: Path | None, stop: int | None = None) -> dict[str, torch.Tensor]:
        own = setting(task)
        made = own.learner(pictures(task), seed=1)
        real = made.batch

        def batch(at: Step) -> object:
            if at.number == stop:
                raise KeyboardInterrupt
            return real(at)

        made.batch = batch  # type: ignore[method-assign, assignment]
        train(made, plan, schedule=own.schedule(), begun_with={}, folder=folder)
        return made.model.learned()

    whole = trained(None)
    for stop in (5, 7):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, stop)
    resumed = trained(tmp_path)
    assert resumed.keys() == whole.keys() and all(torch.equal(value, whole[key]) for key, value in resumed.items())


def ragged(shapes: list[tuple[int, int]], tmp_path: Path) -> Any:
    """Test pictures of several sizes."""
    from PIL import Image

    from sslbench.datasets import ImageFiles

    generator, paths = np.random.default_rng(0), []
    for number, (high, wide) in enumerate(shapes):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(generator.integers(0, 256, (high, wide, 3)).astype(np.uint8)).save(paths[-1])
    targets = Masks(lambda row: np.zeros(shapes[row], np.uint8), "made", np.arange(len(shapes)), ignore=IGNORE)
    return part(ImageFiles("files", paths), targets)


@pytest.mark.filterwarnings("ignore::sslbench.errors.CacheWarning")
@pytest.mark.parametrize("name", ["segmentation", "normals"])
def test_probabilities_are_averaged_over_scales_at_full_size(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TASKS[name]
    recipe = replace(task.recipes["small"], short=(32, 48, 64), tested=48, longest=80)
    own = setting(task, recipe=recipe)
    assert own.scales == ((32, 48, 64) if name == "segmentation" else (48,))
    network = own.network(5)
    shapes = [(50, 70), (40, 120), (50, 70)]
    test = pictures_of({"test": ragged(shapes, tmp_path)}, 64, coding_of(task))
    # Several rows at a time, so that bands have to meet.
    monkeypatch.setattr(_dense_training, "_TEST_VALUES", 7 * 2 * 70 * own.coding.classes)
    found = dict(own.predictions(network, test, "test"))
    assert sorted(found) == [0, 1, 2]
    network.eval()
    for place, size in enumerate(shapes):
        (picture,) = test.pictures.originals[0].take([place])
        means = []
        for short in own.scales:
            shape = padded(resized(size, short, 80), network.divisor)
            image = resized_crops(
                [picture], torch.tensor([[0, 0, *picture.shape[1:]]]), torch.tensor([False]), shape, interpolation="bilinear",
                mean=(0.5,) * 3, std=(0.25,) * 3,
            )  # fmt: skip
            with torch.no_grad():
                logits = F.interpolate(network(image), size, mode="bilinear", align_corners=False)
            means.append(logits.softmax(dim=1)[0])
        mean = sum(means) / len(means)
        assert found[place].shape[:2] == size
        if name == "segmentation":
            assert (torch.from_numpy(found[place]) == mean.argmax(0)).float().mean() > 0.999
        else:
            vectors = torch.einsum("khw,kd->hwd", mean, torch.from_numpy(own.coding.vectors).float())
            torch.testing.assert_close(
                torch.from_numpy(found[place]), F.normalize(vectors, dim=2), rtol=1e-3, atol=1e-4
            )
            assert np.linalg.norm(found[place], axis=2) == pytest.approx(1, abs=1e-5)


def test_a_single_scale_is_the_one_of_normals() -> None:
    assert setting(SEGMENTATION, "").scales == (300, 375, 450, 525, 600)
    assert setting(SEGMENTATION, "scales=single").scales == (450,) == setting(NORMALS, "").scales
    assert setting(SEGMENTATION, "scales=single+size=90").scales == (90,)


def test_bfloat16_is_near_and_the_loss_stays_in_float32() -> None:
    found = {}
    for precision in ("", "+precision=bfloat16"):
        made = setting(SEGMENTATION, f"recipe=small+batch=4{precision}").learner(pictures(), seed=1)
        loss = made.loss(made.batch(step()))
        assert loss.dtype == torch.float32
        found[precision] = loss.item()
    assert found[""] != found["+precision=bfloat16"]
    assert found[""] == pytest.approx(found["+precision=bfloat16"], rel=0.05)


def test_weights_of_another_network_are_told() -> None:
    with pytest.raises(TrainingError, match="the kept weights are of another network or head; remove the trial"):
        restored(setting(), {"head.classify.weight": torch.zeros(1)})
    own = setting()
    weights = own.network(3).learned()
    again = restored(own, {name: value.clone() for name, value in weights.items()})
    assert all(torch.equal(value, weights[name]) for name, value in again.learned().items())


def test_dropout_behind_the_maps_does_not_run() -> None:
    class Dropping(Stages):
        def __init__(self) -> None:
            super().__init__()
            self.layer4.append(nn.Dropout(0.5))
            self.tail = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5))

    own = backbone(Dropping(), "dropping")
    made = setting(SEGMENTATION, network=own).network(0).train()
    assert [layer.training for layer in made.body.modules() if isinstance(layer, nn.Dropout)] == [True, False]
    assert not any(parameter.requires_grad for parameter in made.body.tail.parameters())
    still = setting(NORMALS, network=own).network(0).train()
    assert not any(layer.training for layer in still.body.modules())


def test_a_learner_is_what_the_loop_takes() -> None:
    """With BatchNorm in the head a batch cannot be divided."""
    from sslbench.training.loop import Divisible

    assert not isinstance(setting().learner(pictures(), 0), Divisible)
    assert isinstance(setting().learner(pictures(), 0), DenseLearner)


@pytest.mark.parametrize("name", ["segmentation", "normals"])
@pytest.mark.parametrize(
    ("network", "stride", "kind"),
    [
        ("random-init:test_vit?size=64", {"segmentation": 4, "normals": 8}, "an extension"),
        ("random-init:test_resnet?size=64", {"segmentation": 4, "normals": 8}, "map"),
        ("random-init:test_convnext?size=64", {"segmentation": 4, "normals": 32}, "map"),
        ("random-init:test_efficientnet?size=64", {"segmentation": 4, "normals": 32}, "map"),
    ],
)
def test_other_networks_are_shown_pictures_of_any_shape(
    name: str, network: str, stride: dict[str, int], kind: str
) -> None:
    own = setting(TASKS[name], network=load_backbone(network))
    made = own.network(0)
    own.check_sizes(made, None)
    assert made.levels.strides[0] == (stride[name],) * 2 and kind in made.levels.kind
    shape = (2 * made.divisor, 3 * made.divisor)
    with torch.no_grad():
        logits = made.eval()(torch.zeros(1, 3, *shape))
    assert tuple(logits.shape) == (1, own.coding.classes, shape[0] // stride[name], shape[1] // stride[name])


def test_an_array_of_one_picture_is_a_stream_too() -> None:
    own = part(ImageArray("one", np.zeros((1, 64, 64, 3), np.uint8)),
               Masks(lambda row: np.zeros((64, 64), np.uint8), "one", np.arange(1)))  # fmt: skip
    made = setting().learner(pictures_of({"train": own}, 64, coding_of(SEGMENTATION)), seed=0)
    assert made.batch(step())[0].shape == (4, 3, 64, 64)
