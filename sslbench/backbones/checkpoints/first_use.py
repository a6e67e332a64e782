"""What is remembered of a checkpoint after its first use: which file it was, and what it was converted to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sslbench.errors import BackboneError
from sslbench.files import write_atomic


@dataclass(frozen=True)
class FirstUse:
    """The first file that was used for a name.

    sha256: of the file. converted: name of the converted file beside the pin. path, stamp: where the file was last seen, and
    what its file system said of it; the same again is not read again.
    """

    name: str
    sha256: str
    converted: str
    path: str
    stamp: list[list[int]]


def first_use_path(directory: Path, name: str) -> Path:
    """Where the pin of a checkpoint is."""
    return directory / f"{name}.pin.json"


def read_first_use(directory: Path, name: str) -> FirstUse | None:
    """The pin of a checkpoint; None before its first use. Raises BackboneError for one that cannot be read."""
    path = first_use_path(directory, name)
    try:
        data = json.loads(path.read_bytes())
        pin = FirstUse(**data)
        if pin.name != name or not all(isinstance(value, str) for value in (pin.sha256, pin.converted, pin.path)):
            raise ValueError(f"expected {', '.join(field.name for field in fields(FirstUse))} of {name}, got {data}")
        return pin
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise BackboneError(f"cannot read {path}: {error}; remove it to pin the next file of {name}") from error


def write_first_use(directory: Path, pin: FirstUse) -> None:
    """Remember a checkpoint. Raises OSError."""
    write_atomic(
        first_use_path(directory, pin.name), (json.dumps(asdict(pin), indent=1, sort_keys=True) + "\n").encode()
    )


def check_first_use(directory: Path, pin: FirstUse, sha256: str, path: Path) -> None:
    """Raise BackboneError when another file was used for the name before."""
    if pin.sha256 != sha256:
        raise BackboneError(
            f"{pin.name}: {path} is not the file that was used first: expected SHA-256 {pin.sha256} (from {pin.path}), got "
            f"{sha256}. Fetch it again if it is damaged; to accept it from now on, remove {first_use_path(directory, pin.name)}"
        )
