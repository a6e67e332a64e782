import pytest

from sslbench.compat import SWITCHES, parse_compat
from sslbench.config import Settings
from sslbench.errors import SslbenchError, UnknownNameError


def test_every_switch_has_a_default_and_another_choice() -> None:
    assert parse_compat({}) == {name: switch.default for name, switch in SWITCHES.items()}
    for switch in SWITCHES.values():
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
    ("switch", "protocol", "dataset", "study", "expected"),
    [
        ("linear-solver", "linear", "digits", False, True),
        ("linear-solver", "knn", "digits", False, False),
        ("caltech101-list", "fewshot", "caltech101", True, True),
        ("caltech101-list", "linear", "pets", True, False),
        ("fewshot-geometry", "fewshot", "eurosat", True, True),
        ("fewshot-geometry", "fewshot", "world-objects", False, False),
        ("fewshot-pool", "fewshot", "dtd", True, True),
        ("fewshot-pool", "linear", "dtd", True, False),
    ],
)
def test_whom_a_switch_concerns(switch: str, protocol: str, dataset: str, study: bool, expected: bool) -> None:
    assert SWITCHES[switch].concerns(protocol, dataset, study=study) is expected
