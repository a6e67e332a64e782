"""One case that cannot run says why and leaves the others alone."""

from __future__ import annotations

import pytest

TASKS = "knn/digits,fewshot/digits/5shot"


def short(result: pytest.RunResult) -> str:
    text = result.stdout.str()
    assert "Traceback" not in text
    assert "site-packages" not in text
    assert "During handling" not in text
    return text


def test_nan_features_name_backbone_and_image_and_stop_one_backbone_only(project):
    result = project.run("--sslbench-backbones", "poisoned,tiny", "--sslbench-tasks", TASKS)
    result.assert_outcomes(errors=2, passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = short(result)
    assert "poisoned|knn/digits: FeatureError: poisoned gave NaN or infinite features for image 3 of digits:" in text
    assert set(project.records()) == {"tiny|knn/digits", "tiny|fewshot/digits/5shot"}
    assert "poisoned" not in (project.path / "results/chosen/summary.csv").read_text()
    # Nothing of it was cached: the next run says the same.
    project.run("--sslbench-backbones", "poisoned", "--sslbench-tasks", "knn/digits").assert_outcomes(errors=1)


def test_a_case_that_worked_before_keeps_its_record(project):
    chosen = ("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/pair")
    project.run(*chosen).assert_outcomes(passed=1)
    before = project.written()
    text = project.path.joinpath("conftest.py").read_text()
    project.conftest(
        text + '\nTiny.forward = lambda self, images: images.flatten(1) * float("inf")\nTiny.mean = (0, 0, 0)\n'
    )
    project.run(*chosen).assert_outcomes(errors=1)
    assert project.written() == before


def test_a_backbone_that_cannot_be_built(project):
    text = project.path.joinpath("conftest.py").read_text()
    project.conftest(text + '\nsslbench.register_backbone("odd", lambda: "no module")\n')
    result = project.run("--sslbench-backbones", "odd,tiny", "--sslbench-tasks", "knn/pair")
    result.assert_outcomes(errors=1, passed=1)
    assert "odd: expected an nn.Module or a Backbone, got str" in short(result)


def test_a_backbone_with_a_wrong_shape(project):
    text = project.path.joinpath("conftest.py").read_text()
    project.conftest(
        text
        + """
class Flat(Tiny):
    def forward(self, images):
        return images.mean()
sslbench.register_backbone("flat", Flat)
"""
    )
    result = project.run("--sslbench-backbones", "flat,tiny", "--sslbench-tasks", "knn/pair")
    result.assert_outcomes(errors=1, passed=1)
    assert "flat: expected embeddings (20, D), got ()" in short(result)


def test_a_class_with_too_few_images_for_the_shots(project):
    folder = project.folder(images=22, classes=5)
    for label in ("class1", "class3"):
        for index in range(3):
            (folder / f"{label}/{index:02}.png").unlink()
    tasks = f"fewshot/folder:{folder}/5shot,knn/folder:{folder}"
    result = project.run("--sslbench-backbones", "tiny", "--sslbench-tasks", tasks)
    result.assert_outcomes(errors=1, passed=1)
    told = "5 shots and 15 queries need 20 images of each class; fewer are there of 2 of 5 classes: 'class1' 19, 'class3' 19"
    assert told in short(result)
    assert set(project.records()) == {f"tiny|knn/folder:{folder}"}


def test_what_the_targets_tell_comes_before_the_pictures(project, monkeypatch):
    counter = project.path / "extracted.txt"
    monkeypatch.setenv("COUNT", str(counter))
    folder = project.folder(images=22, classes=5)
    result = project.run("--sslbench-backbones", "tiny", "--sslbench-tasks", f"fewshot/folder:{folder}/50shot")
    result.assert_outcomes(errors=1)
    assert "fewer are there of 5 of 5 classes" in short(result)
    assert not counter.exists()


def test_a_folder_of_one_class(project):
    folder = project.folder(classes=1)
    result = project.run("--sslbench-backbones", "tiny", "--sslbench-tasks", f"knn/folder:{folder},knn/pair")
    result.assert_outcomes(errors=1, passed=1)
    assert "found 1 class folders ['class0']; at least two are needed" in short(result)
    assert set(project.records()) == {"tiny|knn/pair"}


def test_a_folder_with_too_few_images(project):
    folder = project.folder(images=6)
    result = project.run("--sslbench-backbones", "tiny", "--sslbench-tasks", f"knn/folder:{folder}")
    result.assert_outcomes(errors=1)
    assert "knn needs at least 20 training images, got " in short(result)
