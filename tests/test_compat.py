import pytest

from sslbench.compat import concerning, parse_compat, switches
from sslbench.config import Settings
from sslbench.errors import SslbenchError, UnknownNameError


def test_every_switch_has_a_default_and_another_choice() -> None:
    assert parse_compat({}) == {name: switch.default for name, switch in switches().items()}
    for switch in switches().values():
        assert len(set(switch.choices)) == len(switch.choices) >= 2
        assert switch.summary


def test_a_choice_is_kept_beside_the_defaults() -> None:
    chosen = parse_compat({"caltech101-list": "unique"})
    assert chosen["caltech101-list"] == "unique"
    assert chosen["caltech101-background"] == "keep"
    assert Settings(compat={"caltech101-list": "unique"}).choice("caltech101-list") == "unique"


def test_unknown_switch_and_choice() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown compat switch 'caltech-list'; nearest: caltech101-list"):
        parse_compat({"caltech-list": "unique"})
    with pytest.raises(SslbenchError, match="compat switch caltech101-list: expected 2021 or unique, got '2023'"):
        parse_compat({"caltech101-list": "2023"})


@pytest.mark.parametrize(
    ("protocol", "study", "declared", "expected"),
    [
        ("linear", False, (), ["linear-solver", "linear-selection"]),
        ("knn", False, (), []),
        ("fewshot", False, (), []),
        ("fewshot", True, (), ["fewshot-geometry"]),
        ("fewshot", True, ("fewshot-pool",), ["fewshot-geometry", "fewshot-pool"]),
        ("linear", True, ("fewshot-pool",), ["linear-solver", "linear-selection"]),
        (
            "linear",
            True,
            ("voc2007-difficult", "voc2007-penalty"),
            ["linear-solver", "linear-selection", "voc2007-difficult", "voc2007-penalty"],
        ),
        ("knn", True, ("caltech101-list", "caltech101-background"), ["caltech101-list", "caltech101-background"]),
    ],
)
def test_whom_a_switch_concerns(protocol: str, study: bool, declared: tuple[str, ...], expected: list[str]) -> None:
    assert concerning(protocol, "pets" if study else "digits", declared) == expected
