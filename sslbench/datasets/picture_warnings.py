"""What PIL warns of while pictures are decoded in threads, told once for all of them and by name.

Python's warnings belong to the process: a thread cannot catch its own. So the thread that extracts puts one hook in place, and
each decoding thread says which picture it is at.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import PIL
from PIL.Image import DecompressionBombWarning

from sslbench.errors import DataError, tell

NAMED = 3
_FROM_PIL = str(Path(PIL.__file__).parent)
# One extraction at a time: what two of them put in place could not be taken away in any order.
_HOOK = threading.RLock()
_thread = threading.local()


class PictureWarnings:
    """The first warning of each picture that was used all the same."""

    def __init__(self) -> None:
        self._filters = list(warnings.filters)
        self._said: dict[str, str] = {}

    def tell(self, source: str) -> None:
        """One DataWarning with the number of pictures and some of them; nothing where PIL had nothing to say."""
        if not self._said:
            return
        some = [f"{path}: {text}" for path, text in sorted(self._said.items())[:NAMED]]
        more = f"; and {len(self._said) - NAMED} more" if len(self._said) > NAMED else ""
        count = len(self._said)
        tell(
            f"PIL warned of pictures of {source}, which were used as decoded ({count} in all). {'; '.join(some)}{more}"
        )

    def take(self, message: Warning | str, category: type[Warning], filename: str) -> None:
        """A warning of PIL in a thread that is at a picture."""
        # A picture that is too large is refused by its size.
        if issubclass(category, DecompressionBombWarning):
            return
        text = " ".join(str(message).split())
        action = self._action(text, category, f"PIL.{Path(filename).stem}")
        if action == "error":
            _thread.refused = text
        elif action != "ignore":
            self._said.setdefault(_thread.path, text)

    def _action(self, text: str, category: type[Warning], module: str) -> str:
        """What the filters that the user has set say, as `warnings` itself would go through them."""
        for action, message, wanted, where, line in self._filters:
            if (
                (message is None or message.match(text))
                and issubclass(category, wanted)
                and (where is None or where.match(module))
                and line == 0
            ):
                return action
        return "default"


@contextmanager
def picture_warnings() -> Iterator[PictureWarnings]:
    """Collect what PIL warns of in every thread that decodes meanwhile; other warnings go their way."""
    with _HOOK:
        collected = PictureWarnings()
        with warnings.catch_warnings():
            show = warnings.showwarning

            def showwarning(
                message: Warning | str,
                category: type[Warning],
                filename: str,
                lineno: int,
                file: TextIO | None = None,
                line: str | None = None,
            ) -> None:
                if getattr(_thread, "path", None) is not None and filename.startswith(_FROM_PIL):
                    collected.take(message, category, filename)
                else:
                    show(message, category, filename, lineno, file, line)

            warnings.filterwarnings("always", module=r"PIL\.")
            warnings.showwarning = showwarning
            yield collected


@contextmanager
def attributed(path: Path) -> Iterator[None]:
    """What PIL warns of in this thread is about this picture. Raises DataError where it is to be an error."""
    _thread.path, _thread.refused = str(path), None
    try:
        yield
        if _thread.refused is not None:
            raise DataError(f"PIL warns of the image {path}, and warnings are errors in this run: {_thread.refused}")
    finally:
        _thread.path = None
