import pytest

from sslbench.errors import DataError, SslbenchError, UnknownNameError
from sslbench.registry import Registry


def test_names_come_sorted_and_items_in_the_order_of_registration() -> None:
    things: Registry[int] = Registry("thing")
    things.add("b", 1)
    things.add("a1", 2)
    things.add("a2", 3)
    assert list(things) == ["b", "a1", "a2"]
    assert things.names() == ["a1", "a2", "b"]
    assert things.names("a*") == ["a1", "a2"]
    assert things["a2"] == 3
    assert "b" in things and "c" not in things and len(things) == 3


def test_an_unknown_name_is_told_with_the_nearest_and_the_hint() -> None:
    things: Registry[int] = Registry("thing", hint="Ask for one")
    things.add("linear", 1)
    with pytest.raises(UnknownNameError, match=r"unknown thing 'liner'; nearest: linear\. Ask for one"):
        things["liner"]


def test_the_same_item_again_is_welcome_and_another_is_not() -> None:
    things: Registry[int] = Registry("thing", clash=DataError)
    assert things.add("one", 1) == things.add("one", 1) == 1
    with pytest.raises(DataError, match="the thing 'one' is already registered; choose another name"):
        things.add("one", 2)
    assert things["one"] == 1
    assert issubclass(Registry("thing").clash, SslbenchError)
