"""Detection from names to a record: what is trained and what stands still, interrupts, precision, other networks, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import nn

from sslbench.backbones import load_backbone
from sslbench.config import Settings
from sslbench.datasets import ImageFiles, Objects
from sslbench.errors import BackboneError, DataError, DataWarning, TrainingError, UnknownNameError
from sslbench.features.originals import open_originals
from sslbench.features.pictures import Pictures
from sslbench.heads.detector import Detector
from sslbench.metrics.detection import detection_scores
from sslbench.metrics.detection_samples import DetectionSamples
from sslbench.protocols import _detection_training
from sslbench.protocols._detection_options import ADAMW, RECIPES, SMALL, STUDY, Options, Recipe
from sslbench.protocols._detection_training import DetectionLearner, Setting, restored
from sslbench.results.runs import Run
from sslbench.runner import Case, Runner
from sslbench.tasks import Task, expand_tasks, parse_task
from sslbench.training.loop import Plan, Step, train
from tests.protocols.detecting import QUICK, Sets, Stages, backbone, run, scenes

pytestmark = pytest.mark.usefixtures("one_thread")


def setting(variant: str = "frozen+batch=4", *, network: object = None, recipe: Recipe = SMALL) -> Setting:
    options, own = Options.parse(variant), network or backbone()
    assert options is not None
    return Setting(own, options, recipe, own.levels(), 3, {"case": "test"})  # type: ignore[arg-type, union-attr]


def learner(variant: str = "frozen+batch=4", **given: object) -> DetectionLearner:
    from sslbench.datasets import ImageArray
    from sslbench.protocols._detection_pictures import annotated
    from tests.protocols.test_detection_pictures import part

    pixels, objects = scenes(16, 3)
    pictures = annotated(part(ImageArray("scenes", pixels), objects), 64)
    return setting(variant, **given).learner(pictures, seed=1)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::sslbench.errors.DataWarning")
def test_a_detector_learns_to_find_rectangles(boxed: Sets, tmp_path: Path) -> None:
    boxed.sizes = {"train": 60, "val": 20, "test": 20}
    record = run(tmp_path, "finetune+recipe=small+steps=60+batch=8", results=Run(tmp_path / "run"))
    assert record.main_score == "AP"
    scores = {name: score["value"] for name, score in record.scores.items()}
    assert set(scores) == {"AP", "AP50", "AP75", "AP_coco", "AP50_coco", "AP75_coco"}
    assert scores["AP50"] > 15
    told = record.hyperparameters
    assert (told["recipe"], told["steps"], told["batch"], told["sizes"]) == ("small", 60, 8, [[64], 128])
    assert sum(told["pictures"].values()) + told["without_objects"] == 80 and told["without_objects"] > 0
    # Beside the record lies enough to score it again.
    assert record.samples is not None
    arrays = load_file(tmp_path / "run" / "records" / record.samples["path"])
    samples = DetectionSamples.from_arrays(arrays)
    again = detection_scores(samples.found, samples.truth, 3)
    assert samples.classes == ("red", "green", "blue") and samples.sizes.tolist() == [[64, 64]] * 20
    assert {name: score.value for name, score in again.scores.items()} == pytest.approx(scores, abs=1e-12)
    assert set(record.paired["others"]) == set(scores) - {"AP"} and record.paired["images"] == 20
    # The frozen network that other cases see is as it was.
    own = backbone()
    before = own.digest
    run(tmp_path / "other", network=own)
    assert own.digest == before


@pytest.mark.parametrize("variant", ["frozen+batch=4", "finetune+batch=4"])
def test_what_is_trained_and_what_stands_still(variant: str) -> None:
    network = backbone()
    made = learner(variant, network=network)
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    train(made, Plan(5, 5), schedule=lambda progress: 1.0, begun_with={})
    changed = {name for name, value in made.model.state_dict().items() if not torch.equal(value, before[name])}
    convolutions = {"body.stem.0", "body.layer1.0", "body.layer2.0", "body.layer3.0", "body.layer4.0"}
    trained = {"body.layer4.0"} if variant.startswith("frozen") else convolutions
    assert {name for name in changed if name.startswith("body")} == {
        f"{name}.{kind}" for name in trained for kind in ("weight", "bias")
    }
    # BatchNorm: affine and statistics, to the last bit, in both settings.
    norms = [name for name in before if ".1." in name and name.startswith("body")]
    assert len(norms) == 25 and not changed & set(norms)
    assert all(not part.training for part in made.model.body.modules() if isinstance(part, nn.BatchNorm2d))
    heads = {name for name in before if not name.startswith("body")}
    assert heads <= changed


def test_the_studys_frozen_detector() -> None:
    """Golden values for ResNet-50: 26 trained tensors of network and pyramid, 32.9 M of 41.4 M parameters."""
    own = load_backbone("random-init:resnet50")
    for variant, tensors, millions in (("frozen", 26, 32.9), ("finetune", 69, 41.4)):
        made = Setting(own, Options(variant), STUDY, own.levels(), 20, {}).detector(0)
        trained = [p for part in (made.body, made.pyramid) for p in part.parameters() if p.requires_grad]
        assert len(trained) == tensors
        count = sum(p.numel() for p in made.parameters() if p.requires_grad)
        assert count / 1e6 == pytest.approx(millions, abs=0.05)
    # All that is left are BatchNorm's weights and biases.
    left = sum(p.numel() for p in made.parameters() if not p.requires_grad)
    assert left == sum(
        p.numel() for part in made.modules() if isinstance(part, nn.BatchNorm2d) for p in part.parameters()
    )


def test_a_resumed_training_has_the_same_bits(tmp_path: Path) -> None:
    """Also where the generator is seeded anew for every second step only, as in a training of more than 100,000."""
    plan = Plan(8, 2, seed=3, reseed_every=2)

    def trained(folder: Path | None, stop: int | None = None) -> dict[str, torch.Tensor]:
        made = learner()
        real = made.batch

        def batch(step: Step) -> object:
            if step.number == stop:
                raise KeyboardInterrupt
            return real(step)

        made.batch = batch  # type: ignore[method-assign]
        train(made, plan, schedule=setting().schedule(), begun_with={}, folder=folder)
        return dict(made.model.named_parameters())

    whole = trained(None)
    for stop in (5, 7):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, stop)
    resumed = trained(tmp_path)
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


def test_an_interrupted_case_ends_as_an_undisturbed_one(
    boxed: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_detection_training, "CHECKPOINT_SECONDS", 0.0)
    variant = "frozen+recipe=small+steps=24+batch=2"
    whole = run(tmp_path / "whole", variant)
    real, stop, drawn = DetectionLearner.batch, 17, list[int]()

    def batch(self: DetectionLearner, step: Step) -> object:
        if step.number == stop:
            raise KeyboardInterrupt
        drawn.append(step.number)
        return real(self, step)

    monkeypatch.setattr(DetectionLearner, "batch", batch)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", variant)
    drawn.clear()
    stop = -1
    again = run(tmp_path / "broken", variant)
    assert drawn == list(range(10, 24))
    assert again.scores == whole.scores and again.paired == whole.paired
    weights = [sorted((tmp_path / name / "trials").glob("*.safetensors")) for name in ("whole", "broken")]
    assert [path.read_bytes() for path in weights[0]] == [path.read_bytes() for path in weights[1]] and len(
        weights[0]
    ) == 1


def test_another_recipe_of_the_same_name_is_trained_anew(
    boxed: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path)
    for change in ({"warmup": 3}, {"design": {**SMALL.design, "hidden": 64}}):
        monkeypatch.setitem(RECIPES, "small", replace(SMALL, **change))
        other = run(tmp_path)
        assert other.key != first.key and other.hyperparameters["loss"] != first.hyperparameters["loss"]
    made = setting()
    with pytest.raises(TrainingError, match="the kept weights are of another detector"):
        restored(made, {"body.layer4.0.weight": torch.zeros(1)})


def test_what_each_recipe_is_optimised_by() -> None:
    sgd = learner("frozen+batch=4", recipe=STUDY).optimiser
    assert isinstance(sgd, torch.optim.SGD)
    (group,) = sgd.param_groups
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.0025, 0.9, False, 1e-4)
    # Biases decay too.
    assert any(parameter.ndim == 1 for parameter in group["params"])
    for recipe, rate, decay in ((ADAMW, 1e-4, 0.1), (SMALL, 2e-3, 0.05)):
        adamw = learner("frozen+batch=4", recipe=recipe).optimiser
        assert isinstance(adamw, torch.optim.AdamW)
        matrices, vectors = adamw.param_groups
        assert (matrices["lr"], matrices["weight_decay"], vectors["weight_decay"]) == (rate, decay, 0.0)
        assert all(parameter.ndim == 1 for parameter in vectors["params"])
    schedule = setting("frozen+steps=9000", recipe=STUDY).schedule()
    assert [schedule(step / 9000) for step in (0, 100, 5999, 6000, 7999, 8000)] == pytest.approx(
        [0.001, 1, 1, 0.1, 0.1, 0.01]
    )


def test_heads_follow_from_case_and_hyperparameters() -> None:
    drawn = {}
    for seed in (1, 2):
        made = learner()
        drawn[seed] = setting().learner(made._pictures, seed=seed).model.head.roi_heads.box_head.fc6.weight
    assert not torch.equal(drawn[1], drawn[2])


def test_dropout_of_a_frozen_stage_is_still() -> None:
    class Dropping(Stages):
        def __init__(self) -> None:
            super().__init__()
            for stage in (self.layer1, self.layer4):
                stage.append(nn.Dropout(0.5))

    made = setting(network=backbone(Dropping(), "dropping")).detector(0).train()
    assert [part.training for part in made.body.modules() if isinstance(part, nn.Dropout)] == [False, True]


def test_detections_are_scaled_to_the_full_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that are not square and were reduced when they were kept; the detector says where on what it is shown."""
    paths = []
    for number, size in enumerate([(400, 100), (90, 60)]):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", size).save(paths[-1])
    images = ImageFiles("files", paths)
    originals = open_originals(images, 64, extraction="exact", pictures=Pictures(tmp_path, 1 << 20), device="cpu")
    made = setting()
    detector = made.detector(0)
    seen = []

    def found(images: torch.Tensor, sizes: list[tuple[int, int]]) -> list[dict[str, torch.Tensor]]:
        seen.extend(sizes)
        high, wide = sizes[0]
        box = torch.tensor([[0.25 * wide, 0.5 * high, wide, high]])
        return [{"boxes": box, "scores": torch.ones(1), "labels": torch.tensor([3])}] * len(sizes)

    monkeypatch.setattr(detector, "detections", found)
    boxes = made.detect(detector, originals, "test")
    # The longer side is twice the shorter one at most.
    assert sorted(seen) == [(32, 128), (64, 96)]
    order = boxes.image.argsort()
    assert boxes.boxes[order].tolist() == [[100, 50, 400, 100], [22.5, 30, 90, 60]]
    assert boxes.labels.tolist() == [2, 2]


def test_a_finished_training_is_not_trained_again(boxed: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path)
    monkeypatch.setattr(_detection_training, "trained", None)
    second = run(tmp_path)
    assert second.scores == first.scores and second.paired == first.paired
    assert second.hyperparameters == first.hyperparameters


def test_a_batch_in_parts_has_the_gradient_of_the_whole() -> None:
    made = learner()
    images, shapes, truth = made.batch(Step(0, 0.0, torch.Generator()))
    parts = made.divide((images, shapes, truth), 3)
    assert parts is not None and [share for share, _ in parts] == [0.5, 0.25, 0.25]
    assert torch.equal(torch.cat([part[0] for _, part in parts]), images)
    assert [size for _, part in parts for size in part[1]] == shapes
    assert made.divide((images, shapes, truth), 5) is None
    # With every anchor and region sampled nothing is random, and the losses are means over pictures.
    whole = made.model.train()
    for head in (whole.head.rpn, whole.head.roi_heads):
        head.fg_bg_sampler = type("All", (), {
            "batch_size_per_image": 64, "__call__": lambda self, labels: ([x == 1 for x in labels], [x == 0 for x in labels]),
        })()  # fmt: skip
    whole.head.roi_heads.select_training_samples = _first_regions(whole)

    def gradient(batches: list[tuple[float, object]]) -> torch.Tensor:
        whole.zero_grad()
        for share, batch in batches:
            (share * made.loss(batch)).backward()  # type: ignore[arg-type]
        return torch.cat([p.grad.flatten() for p in whole.parameters() if p.grad is not None])

    one, other = gradient([(1.0, (images, shapes, truth))]), gradient(list(parts))
    torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)


def _first_regions(whole: Detector) -> object:
    """As many regions of every picture: its objects, ten times over."""

    def select(proposals: object, targets: list[dict[str, torch.Tensor]]) -> object:
        own = [each["boxes"].repeat(30, 1)[:12] * 0.9 for each in targets]
        labels = [each["labels"].repeat(30)[:12] for each in targets]
        wanted = whole.head.roi_heads.box_coder.encode([each["boxes"].repeat(30, 1)[:12] for each in targets], own)
        return own, None, labels, wanted

    return select


def test_bfloat16_is_near_and_losses_stay_in_float32() -> None:
    found = {}
    for precision in ("float32", "bfloat16"):
        made = learner(f"frozen+batch=4+precision={precision}" if precision != "float32" else "frozen+batch=4")
        torch.manual_seed(0)
        batch = made.batch(Step(0, 0.0, torch.Generator()))
        losses = made.model.train().losses(*batch)
        assert all(loss.dtype == torch.float32 for loss in losses.values())
        found[precision] = {name: loss.item() for name, loss in losses.items()}
    assert found["float32"] != found["bfloat16"]
    # Not the boxes of regions: which of them are sampled depends on the last bits of the maps.
    for losses in found.values():
        losses.pop("loss_box_reg")
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=0.05, abs=0.01)


def test_bfloat16_leaves_proposals_and_objects_as_they_are() -> None:
    made = setting("frozen+precision=bfloat16").detector(0).train()
    pooled, seen = made.head.roi_heads.select_training_samples, []

    def noted(proposals: list[torch.Tensor], targets: object) -> object:
        seen.extend(proposals)
        return pooled(proposals, targets)

    made.head.roi_heads.select_training_samples = noted
    box = torch.tensor([[3.3, 5.7, 901.1, 640.9]])
    kept = pooled.__self__.add_gt_proposals
    appended = []
    pooled.__self__.add_gt_proposals = lambda proposals, boxes: appended.extend(boxes) or kept(proposals, boxes)
    made.losses(torch.rand(1, 3, 960, 1024), [(960, 1024)], [{"boxes": box, "labels": torch.tensor([1])}])
    assert seen[0].dtype == torch.float32 and torch.equal(appended[0], box)


@pytest.mark.parametrize(
    ("name", "kind", "frozen"),
    [
        ("random-init:test_vit?size=64", "simple feature pyramid", 16),
        ("random-init:test_convnext?size=64", "feature pyramid network", None),
        ("random-init:swin_tiny_patch4_window7_224?size=224", "feature pyramid network", None),
        ("random-init:test_efficientnet?size=64", "feature pyramid network", None),
    ],
)
def test_other_networks_are_shown_pictures_of_any_shape(name: str, kind: str, frozen: int | None) -> None:
    own = load_backbone(name)
    made = setting(network=own).detector(0).eval()
    assert made.pyramid.kind.startswith(kind)
    divisor = made.pyramid.divisor
    shape = (3 * divisor, 4 * divisor)
    with torch.no_grad():
        maps = made.pyramid(made._network.feature_maps(torch.zeros(1, 3, *shape)))
        assert [each.shape[2:] for each in maps[:-1]] == [
            (shape[0] / stride, shape[1] / stride) for stride in made.pyramid.strides[:-1]
        ]
        made.detections(torch.zeros(1, 3, *shape), [shape])
    trained = [name for name, p in made.body.named_parameters() if p.requires_grad]
    assert trained and len(trained) < len(list(made.body.parameters()))
    if own.name.startswith("random-init:test_efficientnet"):
        # What lies behind the last map is not what the maps are made of.
        assert not any(name.startswith(("conv_head", "bn2")) for name in trained)


def test_recipes_follow_dataset_and_network(boxed: Sets, tmp_path: Path) -> None:
    boxed.sizes = {"train": 4, "val": 2, "test": 2}
    shown = "+steps=1+size=64"
    assert run(tmp_path, f"frozen{shown}").hyperparameters["recipe"] == "study"
    without = load_backbone("random-init:test_vit?size=64")
    assert run(tmp_path, f"frozen{shown}", network=without).hyperparameters["recipe"] == "adamw"
    boxed.recipes = {"detection": "small"}
    assert run(tmp_path, "frozen+steps=1", network=without).hyperparameters["recipe"] == "small"
    boxed.recipes = {"detection": "huge"}
    with pytest.raises(DataError, match="names the recipe 'huge' for detection; expected one of study, adamw, small"):
        run(tmp_path)


def test_tasks_are_named() -> None:
    assert parse_task("detection/world-boxes/frozen").variant == "frozen"
    assert parse_task("detection/world-boxes/finetune+steps=5+batch=2").variant == "finetune+steps=5+batch=2"
    for wrong, told in {
        "detection/world-boxes": "names no task|unknown task",
        "detection/world-boxes/frozn": "it begins with frozen or finetune",
        "detection/world-boxes/frozen+stps=3": "'stps=3' of the variant",
        "detection/world-boxes/frozen+steps=0": "expected a whole number from 1",
        "detection/world-boxes/frozen+recipe=smal": "did you mean small|expected study",
        "detection/world-boxes/frozen+steps=3+steps=4": "has steps twice",
        "detection/digits/frozen": "takes boxes, but digits has one class an image",
    }.items():
        with pytest.raises(UnknownNameError, match=told):
            parse_task(wrong)
    # It takes hours elsewhere, so that a star for the protocol does not stand for it.
    with pytest.raises(
        UnknownNameError, match=r"\* does not stand for detection, .*, as in detection/voc:pictures/frozen"
    ):
        expand_tasks(["*/voc:pictures*"], "embedded")
    with pytest.raises(
        UnknownNameError, match="knn takes one class an image, but voc: has boxes, for which there is detection"
    ):
        expand_tasks(["knn/voc:pictures"], "embedded")
    assert [task.id for task in expand_tasks(["detection/voc:pictures/frozen"], "embedded")] == [
        "detection/voc:pictures/frozen"
    ]


def test_what_cannot_be_learned_or_scored_is_told(boxed: Sets, tmp_path: Path) -> None:
    empty = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    boxed.objects = {"train": [empty] * 10, "val": [empty] * 4}
    with pytest.raises(DataError, match="no picture of train and val has an object to learn from"):
        run(tmp_path)
    hard = Objects(np.array([[1, 1, 20, 20]], np.float32), np.zeros(1, np.int64), np.ones(1, bool))
    boxed.objects = {"test": [hard] * 6}
    with pytest.raises(DataError, match="no test picture has an object that counts"):
        run(tmp_path)
    red = Objects(np.array([[1, 1, 20, 20]], np.float32), np.zeros(1, np.int64), np.zeros(1, bool))
    boxed.objects = {"train": [red] * 10, "val": [red] * 4, "test": [red] * 6}
    with pytest.warns(DataWarning, match="no object of green, blue is in train or val"):
        record = run(tmp_path)
    assert record.hyperparameters["classes_without_test_object"] == ["green", "blue"]


def test_a_training_that_diverges_is_told(boxed: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DetectionLearner, "loss", lambda self, batch: sum(self.model.losses(*batch).values()) * np.nan)
    with pytest.raises(TrainingError, match=r"diverged at step 1 of 6, with the recipe small at rate 0\.002"):
        run(tmp_path)


def test_networks_that_cannot_be_trained_on_are_told_before_a_picture_is_read(boxed: Sets, tmp_path: Path) -> None:
    boxed.images = {"train": ImageFiles("none", [tmp_path / f"{n}.jpg" for n in range(10)])}

    class Detached(Stages):
        def feature_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
            with torch.no_grad():
                return [images[:, :, ::4, ::4], images[:, :, ::8, ::8]]

    with pytest.raises(BackboneError, match="no gradient reaches its maps"):
        run(tmp_path, network=backbone(Detached(), "detached"))

    class Fixed(Stages):
        def feature_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
            assert images.shape[-1] == 64, "64 pixels wide"
            return [self.layer1(self.stem(images)), self.layer2(self.layer1(self.stem(images)))]

    with pytest.raises(BackboneError, match=r"gives no maps of pictures of .* \(AssertionError: 64 pixels wide\)"):
        run(tmp_path, network=backbone(Fixed(), "fixed"))
    with pytest.raises(BackboneError, match="Pixels has no feature maps"):
        run(tmp_path, network=load_backbone("pixels"))
    with pytest.raises(BackboneError, match=r"gives no maps of pictures of its own size, 72 x 72 .*\?size=N"):
        run(tmp_path, network=load_backbone("random-init:test_vit?size=72"))


def test_unreadable_test_pictures_are_left_out(boxed: Sets, tmp_path: Path) -> None:
    from PIL import Image

    pixels, _ = scenes(6, 2)
    paths = []
    for number, each in enumerate(pixels):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(each).save(paths[-1])
    paths[2].write_bytes(b"no picture")
    boxed.images = {"test": ImageFiles("files", paths, "skip")}
    record = run(tmp_path / "cache", results=Run(tmp_path / "run"))
    assert record.task["details"]["skipped_images"] == {"test": 1}
    assert record.samples is not None
    arrays = load_file(tmp_path / "run" / "records" / record.samples["path"])
    assert arrays["rows"].tolist() == [0, 1, 3, 4, 5]
    assert record.scores["AP"]["n"] == 5
    assert json.loads(arrays["classes"].tobytes()) == ["red", "green", "blue"]


def test_a_dtype_of_features_is_none_of_a_detector(boxed: Sets, tmp_path: Path) -> None:
    with pytest.warns(DataWarning, match="the dtype bfloat16 is that of extracted features"):
        record = run(tmp_path, dtype="bfloat16")
    assert record.backbone["dtype"] == "float32"


def test_a_single_test_picture_has_no_interval(boxed: Sets, tmp_path: Path) -> None:
    boxed.sizes, boxed.most = {"train": 10, "val": 4, "test": 1}, 1
    red = Objects(np.array([[1, 1, 20, 20]], np.float32), np.zeros(1, np.int64), np.zeros(1, bool))
    boxed.objects = {"test": [red]}
    score = run(tmp_path).scores["AP"]
    assert (score["n"], score["stderr"], score["ci95"]) == (1, None, [None, None])


def test_another_recipe_of_the_dataset_is_another_case(boxed: Sets, tmp_path: Path) -> None:
    keys: list[str] = []
    for recipes in ({}, {"detection": "small"}):
        boxed.recipes = recipes
        runner = Runner(Settings(cache_dir=tmp_path, device="cpu"))
        runner.add_backbone(backbone())
        keys += [runner.prepare(Case("stages", Task("detection", "boxed", each))).key for each in ("frozen", QUICK)]
    assert keys[0] != keys[2]
    # A task that names its recipe is the same whatever the dataset says.
    assert keys[1] == keys[3]
