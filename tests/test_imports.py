"""What importing costs: every pytest run in an environment that has sslbench pays for the plugin."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "timm", "torchvision", "numpy", "pandas", "scipy", "sklearn", "PIL"}


def loaded(code: str) -> set[str]:
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sorted(sys.modules))"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_loads_next_to_nothing():
    modules = loaded("import sslbench; dir(sslbench); sslbench.__version__")
    assert "sslbench" in modules
    assert not {name for name in modules if name.startswith("sslbench.")}
    assert not HEAVY & modules


@pytest.mark.parametrize(
    "module", ["sslbench.plugin", "sslbench.cli", "sslbench.tasks", "sslbench.backbones", "sslbench.training"]
)
def test_modules_that_only_know_names_load_no_network_library(module):
    modules = loaded(f"import {module}")
    assert module in modules
    assert not {"torch", "timm", "torchvision", "pandas", "scipy", "sklearn"} & modules


def test_listing_and_registering_load_no_network_library():
    modules = loaded(
        "import sslbench\nsslbench.list_tasks(); sslbench.list_backbones(); sslbench.list_datasets()\n"
        "sslbench.register_backbone('mine', lambda: None); sslbench.Settings()"
    )
    assert not {"torch", "timm", "pandas", "scipy", "sklearn"} & modules


def test_every_public_name_is_there():
    import sslbench

    for name in sslbench.__all__:
        assert getattr(sslbench, name) is not None
        assert name in dir(sslbench)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = sslbench.nothing
