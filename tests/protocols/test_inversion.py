"""Feature inversion from names to a record: what is painted and told, interrupts, other networks, bad input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from sslbench.backbones import Backbone, load_backbone
from sslbench.config import Settings
from sslbench.datasets import ImageFiles, Masks
from sslbench.errors import BackboneError, DataError, RecordError, UnknownNameError
from sslbench.metrics.reconstruction import colour_errors, error_of_constant
from sslbench.protocols import _inversion_training, protocol_spec
from sslbench.protocols._inversion_options import QUICK, RECIPES, Options
from sslbench.protocols._inversion_training import InversionLearner, last_map, seed_for
from sslbench.results.pairing import compare_records
from sslbench.results.record import Record
from sslbench.results.runs import Run
from sslbench.runner import Case, Runner
from sslbench.tasks import Task, expand_tasks, list_tasks, parse_task
from tests.protocols.dense import Sets
from tests.protocols.detecting import Stages, backbone, scenes

pytestmark = pytest.mark.usefixtures("one_thread", "mapped")
VARIANT = "recipe=quick+pictures=2+steps=3"
# As the quick one, with as little to compute as there can be.
TINY = replace(QUICK, channels=(2, 4), kernels=(3, 3), inputs=2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "quick", TINY)


def run(folder: Path, variant: str = VARIANT, *, network: Backbone | None = None, **settings: Any) -> Record:
    """One case on pictures with masks; caches and results below `folder`."""
    own = network or backbone()
    runner = Runner(Settings(cache_dir=folder / "cache", device="cpu", **settings), Run(folder / "results"))
    runner.add_backbone(own)
    return runner.prepare(Case(own.name, Task("inversion", "masked", variant))).execute()


def samples(folder: Path) -> dict[str, np.ndarray]:
    (path,) = (folder / "results" / "samples").iterdir()
    return load_file(path)


def test_every_kind_of_targets_is_taken_and_star_does_not_stand_for_it() -> None:
    known = list_tasks("inversion/*")
    assert {"inversion/digits", "inversion/world-boxes", "inversion/world-normals", "inversion/voc2007"} <= set(known)
    assert parse_task("inversion/world-masks/recipe=quick").variant == "recipe=quick"
    assert not any(task.protocol == "inversion" for task in expand_tasks(["*/folder:/p"], "embedded"))
    assert [task.id for task in expand_tasks(["inversion/folder:/p"], "embedded")] == ["inversion/folder:/p"]


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("", ""), ("recipe=study", ""), ("steps=10+recipe=quick", "recipe=quick+steps=10"), ("pictures=3", "pictures=3"),
        ("other", None), ("recipe=quick+pictures=8+steps=50", "recipe=quick"), ("pictures=1+steps=3000", ""),
        ("recipe=quick+pictures=1+steps=3000", "recipe=quick+pictures=1+steps=3000"),
    ],
)  # fmt: skip
def test_a_variant_has_one_spelling(text: str, spelt: str | None) -> None:
    assert protocol_spec("inversion").variant(text) == spelt


@pytest.mark.parametrize("text", ["recipe=slow", "pictures=0", "steps=3+steps=4", "recipe=quick+size=3"])
def test_what_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UnknownNameError):
        Options.parse(text)


def test_a_case_tells_what_it_did(tmp_path: Path) -> None:
    own = backbone()
    before = {name: tensor.clone() for name, tensor in own.network.module.state_dict().items()}
    record, kept = run(tmp_path, network=own), samples(tmp_path)
    # BatchNorm's statistics among them.
    for name, tensor in own.network.module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not any(parameter.requires_grad for parameter in own.network.module.parameters())

    # Seven test pictures, of which two lie evenly.
    assert kept["rows"].tolist() == record.hyperparameters["rows"] == [0, 3]
    pixels, _ = scenes(7, 2)
    np.testing.assert_array_equal(kept["pictures"], pixels[[0, 3]])
    assert kept["reconstructions"].dtype == np.uint8
    errors = colour_errors(kept["pictures"], kept["reconstructions"])
    assert {name: score["value"] for name, score in record.scores.items() if not name.startswith("lpips")} == {
        name: pytest.approx(values.mean()) for name, values in errors.items()
    }
    assert record.main_score == "mse" and record.scores["mse"]["n"] == 2
    assert not record.scores["mse"]["higher_is_better"]
    assert record.task["guess"] == pytest.approx(error_of_constant(pixels[[0, 3]]))
    assert record.task["version"] == "1" and record.task["compat"]["inversion-output"] == "normalised"
    told = record.hyperparameters
    assert (told["recipe"], told["size"], told["steps"]) == ("quick", 64, 3)
    assert record.paired["kind"] == "resamples" and record.paired["images"] == 2
    assert set(record.paired["others"]) == record.scores.keys() - {"mse"}


def test_the_loss_falls_and_the_same_comes_twice(tmp_path: Path) -> None:
    first = run(tmp_path / "a", "recipe=quick+pictures=1+steps=25")
    ((begun, ended),) = first.hyperparameters["loss"]
    assert ended < begun / 2
    again = run(tmp_path / "b", "recipe=quick+pictures=1+steps=25")
    np.testing.assert_array_equal(
        samples(tmp_path / "a")["reconstructions"], samples(tmp_path / "b")["reconstructions"]
    )
    assert first.key == again.key and first.scores == again.scores


def test_noise_and_first_weights_follow_from_seed_and_row_alone() -> None:
    pixels = scenes(1, 0)[0][0]

    def state(seed: int, width: int) -> list[Tensor]:
        own = backbone(Stages(width))
        made = InversionLearner(
            last_map(own), own.preprocessing, pixels, TINY, output="normalised", seed=seed, device=own.device
        )
        return [made._noise, *made.model.parameters()]

    same = [torch.equal(*pair) for pair in zip(state(seed_for(0, 5), 8), state(seed_for(0, 5), 4), strict=True)]
    assert all(same)
    assert len({seed_for(0, 5), seed_for(0, 6), seed_for(1, 5)}) == 3
    assert not torch.equal(state(1, 8)[0], state(2, 8)[0])


def test_a_single_picture_is_paired_with_nothing(tmp_path: Path) -> None:
    record = run(tmp_path, "recipe=quick+pictures=1+steps=2")
    assert record.hyperparameters["rows"] == [0] and record.scores["mse"]["stderr"] is None
    assert not record.paired and "single picture" in record.hyperparameters["paired"]
    with pytest.raises(RecordError, match="no outcomes of single items"):
        compare_records(record, record)


def test_networks_are_paired_over_pictures(tmp_path: Path) -> None:
    records = [run(tmp_path, network=backbone(Stages(width), f"stages-{width}")) for width in (4, 8)]
    found = compare_records(*records, "mse_chroma")
    values = [record.scores["mse_chroma"]["value"] for record in records]
    assert found.difference == pytest.approx(values[0] - values[1]) and found.n == 2


@pytest.mark.parametrize("at", [0, 1])
def test_an_interrupt_loses_no_finished_picture_and_no_bit(at: int, tmp_path: Path, monkeypatch: Any) -> None:
    variant = "recipe=quick+pictures=2+steps=14"
    monkeypatch.setattr(_inversion_training, "CHECKPOINT_SECONDS", 0.0)
    run(tmp_path / "whole", variant)
    loss, steps = InversionLearner.loss, list[int]()

    def counted(self: InversionLearner, batch: None) -> Tensor:
        steps.append(1)
        if len(steps) == 14 * at + 13:
            raise KeyboardInterrupt
        return loss(self, batch)

    monkeypatch.setattr(InversionLearner, "loss", counted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", variant)
    run(tmp_path / "cut", variant)
    # The two steps behind the last checkpoint are taken again, and the one that was not finished.
    assert len(steps) == 2 * 14 + 3
    for name, values in samples(tmp_path / "whole").items():
        np.testing.assert_array_equal(samples(tmp_path / "cut")[name], values)


def test_the_faster_way_is_the_plain_loop() -> None:
    """Three steps, in float32: to 1e-4 of the loss. Later both drift apart, as two numbers of threads do."""
    own, pixels = backbone(), scenes(1, 0)[0][0]

    def losses(**way: Any) -> list[float]:
        made = InversionLearner(
            last_map(own), own.preprocessing, pixels, TINY, output="normalised", seed=1, device=own.device, **way
        )
        if way:
            made.model.to(memory_format=torch.contiguous_format)
            made.optimiser = torch.optim.Adam(made.model.parameters(), TINY.rate, foreach=False, fused=False)
        found = []
        for _ in range(3):
            made.optimiser.zero_grad()
            value = made.loss(None)
            value.backward()
            made.optimiser.step()
            found.append(float(value.detach()))
        return found

    assert losses() == pytest.approx(losses(plain=True), rel=1e-4)


def test_tokens_are_a_map_without_the_class_token(tmp_path: Path) -> None:
    own = load_backbone("random-init:test_vit?size=64")
    images = torch.randn(1, 3, 64, 64)
    taken: list[Tensor] = []
    module: Any = own.network.module
    module.blocks[-1].register_forward_hook(lambda *call: taken.append(call[2]))
    with torch.no_grad():
        module.forward_features(images)
    found = last_map(own)(images)
    assert found.shape[2:] == (4, 4)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), taken[0][:, -16:], rtol=1e-4, atol=1e-5)
    record = run(tmp_path, network=load_backbone("random-init:test_vit?size=64"))
    assert np.isfinite(record.scores["mse"]["value"])


class Detached(Stages):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [self.stem(images).detach()]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: load_backbone("pixels"), "Pixels has no feature maps; use random-init"),
        (lambda: backbone(Detached()), "stages: no gradient flows from its last map to the picture"),
        (lambda: backbone(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4))), "gives no feature maps"),
    ],
)
def test_a_network_that_cannot_be_inverted_is_refused_before_a_picture_is_read(
    make: Callable[[], Backbone], message: str, tmp_path: Path, mapped: Sets
) -> None:
    mapped.images["test"] = ImageFiles("none", [tmp_path / "absent.png"] * 7)
    with pytest.raises(BackboneError, match=message):
        run(tmp_path, network=make())


def test_pictures_that_are_not_there_are_told(tmp_path: Path, mapped: Sets) -> None:
    with pytest.raises(
        DataError, match="expected 8 pictures in the split test of masked to invert, got 7; choose fewer"
    ):
        run(tmp_path, "recipe=quick")
    mapped.images["test"] = ImageFiles("none", [tmp_path / "absent.png"] * 7, bad_images="skip")
    with pytest.raises(DataError, match=r"none of the test pictures to be inverted can be read \(rows \[0, 3\]\)"):
        run(tmp_path)


@pytest.mark.filterwarnings("ignore::sslbench.errors.DataWarning")
def test_a_skipped_picture_is_left_out(tmp_path: Path, mapped: Sets) -> None:
    from PIL import Image

    path = tmp_path / "one.png"
    Image.fromarray(scenes(1, 0)[0][0]).save(path)
    mapped.images["test"] = ImageFiles("one", [path] * 3 + [tmp_path / "absent.png"] * 4, bad_images="skip")
    record = run(tmp_path)
    assert record.hyperparameters["rows"] == [0] and not record.paired


def test_a_strip_that_no_resize_can_hold_is_refused(tmp_path: Path, mapped: Sets) -> None:
    """Its shorter side becomes 64 first, so that a file of some kB would take gigabytes."""
    from PIL import Image

    path = tmp_path / "strip.png"
    Image.new("RGB", (40_000, 1)).save(path)
    mapped.images["test"] = ImageFiles("strip", [path] * 7)
    with pytest.raises(DataError, match=r"test picture 0: its 40000 x 1 pixels would become 2560000 x 64"):
        run(tmp_path)


def test_a_set_without_a_test_split_is_inverted_from_all_it_has(mapped: Sets) -> None:
    spec = protocol_spec("inversion")
    assert parse_task("inversion/eurosat").dataset == "eurosat"
    mapped.sizes = {"all": 4}
    whole = mapped.load("masked", Masks, Settings())
    whole = replace(whole, pool=("all",))
    assert spec.scored_on(whole) == ("all",)
    spec.check(whole)
    spec.build("recipe=quick+pictures=4").check(whole)
    with pytest.raises(DataError, match="expected 5 pictures in the split all"):
        spec.build("recipe=quick+pictures=5").check(whole)
    mapped.sizes = {"train": 2, "test": 3}
    assert spec.scored_on(mapped.load("masked", Masks, Settings())) == ("test",)


def test_switches_change_what_they_say(tmp_path: Path) -> None:
    keys, told = set(), {}
    for name, choice in {"output": "sigmoid", "resize": "256", "steps": "3001", "levels": "float"}.items():
        compat = {f"inversion-{name}": choice}
        record = run(tmp_path / name, network=backbone(), compat=compat)
        keys.add(record.key)
        told[name] = record
        assert record.task["compat"][f"inversion-{name}"] == choice
    usual = run(tmp_path / "usual")
    assert len({usual.key, *keys}) == 5
    assert told["steps"].hyperparameters["steps"] == 4
    assert told["resize"].backbone["preprocessing"]["resize"] == 73
    assert usual.backbone["preprocessing"]["resize"] == 64
    # The same picture, not rounded: no pixel is off by more than half a level.
    difference = abs(told["levels"].scores["mse"]["value"] - usual.scores["mse"]["value"])
    assert 0 < difference < 10
    assert told["output"].scores["mse"]["value"] != usual.scores["mse"]["value"]


def test_a_sigmoid_paints_between_black_and_white() -> None:
    own, pixels = backbone(), scenes(1, 0)[0][0]
    made = InversionLearner(last_map(own), own.preprocessing, pixels, TINY, output="sigmoid", seed=0, device=own.device)
    painted = made.model(made._noise).sigmoid().detach()[0].permute(1, 2, 0) * 255
    torch.testing.assert_close(made.picture(), painted)
    shown = (painted / 255 - 0.5) / 0.25
    expected = nn.functional.mse_loss(
        last_map(own)(shown.permute(2, 0, 1)[None]),
        last_map(own)(own.preprocessing.normalise(torch.from_numpy(pixels)[None])),
    )
    torch.testing.assert_close(made.loss(None).detach(), expected, rtol=1e-4, atol=1e-6)
