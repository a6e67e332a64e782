"""What PIL warns of is told once, by the names of the pictures, and is an error of a picture where warnings are errors."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.backbones import load_backbone
from sslbench.config import Settings
from sslbench.datasets import ImageFiles
from sslbench.datasets.decoding import read_image
from sslbench.datasets.picture_warnings import picture_warnings
from sslbench.errors import DataError, DataWarning
from sslbench.features.device_store import FeatureStore

PALETTE = "Palette images with Transparency expressed in bytes"
Warner = Callable[[Path], None]


def palette(path: Path) -> None:
    image = Image.new("P", (8, 8))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.save(path, "PNG", transparency=bytes([0, 128]))


def corrupt_exif(path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description of some length"
    Image.new("RGB", (8, 8)).save(path, "TIFF", exif=exif)
    content = bytearray(path.read_bytes())
    # The description says that it is longer than the file.
    place = content.index(b"\x0e\x01\x02\x00") + 4
    content[place : place + 4] = (1 << 24).to_bytes(4, "little")
    path.write_bytes(content)


def plain(path: Path) -> None:
    Image.new("RGB", (8, 8), (1, 2, 3)).save(path, "PNG")


def source(folder: Path, makers: list[Warner], bad_images: str = "fail") -> ImageFiles:
    paths = [folder / f"{number:02}.png" for number in range(len(makers))]
    for path, make in zip(paths, makers, strict=True):
        make(path)
    return ImageFiles(f"warned:{folder}:{bad_images}", paths, bad_images)


def features(folder: Path, made: ImageFiles) -> list[int]:
    return (
        FeatureStore(Settings(cache_dir=folder / "cache", device="cpu"))
        .get(load_backbone("pixels"), made)
        .rows.tolist()
    )


def test_the_warnings_of_all_pictures_are_one_with_names_and_a_count(tmp_path: Path) -> None:
    made = source(tmp_path, [palette, plain, palette, corrupt_exif, palette, palette])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        assert features(tmp_path, made) == [0, 1, 2, 3, 4, 5]
    (warning,) = seen
    assert warning.category is DataWarning
    told = str(warning.message)
    assert told.startswith(f"PIL warned of pictures of {made.fingerprint}, which were used as decoded (5 in all). ")
    assert told.endswith("; and 2 more")
    for number, text in (
        ("00", PALETTE),
        ("02", PALETTE),
        ("03", "Possibly corrupt EXIF data|Tag data larger than file"),
    ):
        assert re.search(rf"{number}\.png: ({text})", told)
    # Features that are there already say nothing.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features(tmp_path, made)


def test_where_warnings_are_errors_the_picture_is_bad_and_named(tmp_path: Path) -> None:
    makers = [plain, palette, plain, corrupt_exif]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            DataError, match=rf"PIL warns of the image .*01\.png, and warnings are errors in .*{PALETTE}"
        ):
            features(tmp_path, source(tmp_path, makers))
        assert features(tmp_path, source(tmp_path, makers, "skip")) == [0, 2]


@pytest.mark.parametrize(
    ("rule", "rows"),
    [
        (("ignore", "Palette images"), [0, 1, 2]),
        (("error", "Something else"), [0, 1, 2]),
        (("error", "Palette images"), [0, 2]),
    ],
)
def test_the_users_filters_decide(rule: tuple, rows: list[int], tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.filterwarnings(*rule, category=UserWarning)
        assert features(tmp_path, source(tmp_path, [plain, palette, plain], "skip")) == rows
    assert len(seen) == (rule == ("error", "Something else"))


def test_a_module_and_a_category_are_looked_at_too(tmp_path: Path) -> None:
    made = source(tmp_path, [palette])
    for kind, module, message in (
        (UserWarning, r"PIL\.Image$", "are errors"),
        (UserWarning, r"PIL\.TiffImagePlugin", ""),
        (DeprecationWarning, r"PIL\.Image$", ""),
    ):
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            warnings.filterwarnings("error", category=kind, module=module)
            if message:
                with pytest.raises(DataError, match=message):
                    features(tmp_path, made)
            else:
                assert features(tmp_path / module[-5:] / kind.__name__, made) == [0]


def test_a_picture_that_pil_thinks_too_large_is_bad_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    def large(path: Path) -> None:
        Image.new("RGB", (15, 10)).save(path, "PNG")

    for action in ("default", "error"):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter(action)
            with pytest.raises(DataError, match=r"01\.png: its 15 x 10 pixels are more than the 100 of PIL"):
                features(tmp_path, source(tmp_path, [plain, large]))
            assert features(tmp_path / action, source(tmp_path, [plain, large], "skip")) == [0]
        assert not seen


def test_other_warnings_go_their_way_and_everything_is_put_back(tmp_path: Path) -> None:
    palette(tmp_path / "a.png")
    before = warnings.showwarning, list(warnings.filters)
    with pytest.warns(UserWarning) as seen, picture_warnings() as said:
        warnings.warn("mine", UserWarning, stacklevel=1)
        read_image(tmp_path / "a.png")
        with picture_warnings() as inner:
            read_image(tmp_path / "a.png")
        inner.tell("inner")
    assert [str(warning.message).partition(" of ")[0] for warning in seen] == ["mine", "PIL warned"]
    with pytest.warns(DataWarning, match=r"PIL warned of pictures of outer, .*1 in all.*a\.png: Palette"):
        said.tell("outer")
    assert (warnings.showwarning, list(warnings.filters)) == before


def test_reading_one_picture_by_itself_needs_no_hook(tmp_path: Path) -> None:
    palette(tmp_path / "a.png")
    with pytest.warns(UserWarning, match=PALETTE):
        assert np.asarray(read_image(tmp_path / "a.png")).shape == (8, 8, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=rf"cannot read the image .*a\.png: {PALETTE}"):
            read_image(tmp_path / "a.png")
