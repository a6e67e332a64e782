"""The public API for the page docs/api.md, read off the source by griffe: nothing is imported, so that no torch is needed.

`<!-- api: NAME [MEMBER ...] -->` becomes the signature and the docstring of `sslbench.NAME`, and of these members.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import griffe
from sphinx.ext.napoleon import Config, GoogleDocstring

_MARKER = re.compile(r"^<!-- api: ([\w ]+) -->$", re.MULTILINE)


def filled(text: str, root: Path) -> str:
    """The page with every marker replaced. Raises ValueError for public names that it lacks or that are not public."""
    package = griffe.load("sslbench", search_paths=[root])
    wanted = [found[1].split() for found in _MARKER.finditer(text)]
    public, shown = set(map(str, package.exports or ())), {name for name, *_ in wanted}
    if public != shown:
        raise ValueError(f"docs/api.md: not shown {sorted(public - shown)}, not public {sorted(shown - public)}")

    def block(match: re.Match[str]) -> str:
        name, *members = match[1].split()
        return "\n".join(["```{eval-rst}", *_described(package[name], f"sslbench.{name}", members), "```"])

    return _MARKER.sub(block, text)


def _described(thing: griffe.Object | griffe.Alias, name: str, members: list[str]) -> Iterator[str]:
    target = thing.final_target if isinstance(thing, griffe.Alias) else thing
    if isinstance(target, griffe.Function):
        yield f".. py:function:: {name}{_signature(target)}"
    elif isinstance(target, griffe.Class):
        yield f".. py:class:: {name}"
    elif isinstance(target, griffe.Attribute):
        yield f".. py:property:: {name}"
    else:
        raise ValueError(f"{name}: expected a function, a class or a property, got {target.kind}")
    if target.docstring is None:
        raise ValueError(f"{name} is public and has no docstring")
    # Docstrings write code as Markdown does, in single backticks.
    text = re.sub(r"(?<!`)`([^`\n]+)`(?!`)", r"``\1``", target.docstring.value)
    body = GoogleDocstring(text, Config(napoleon_use_rtype=False))
    yield from ("", indent(str(body), "   "), "")
    for member in members:
        # Methods are named after their class alone.
        lines = "\n".join(_described(target[member], f"{name.rpartition('.')[2]}.{member}", []))
        yield indent(lines.replace("py:function::", "py:method::"), "   ")


def _signature(function: griffe.Function) -> str:
    shown, kinds = [], griffe.ParameterKind
    for parameter in function.parameters:
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is kinds.keyword_only and "*" not in shown:
            shown.append("*")
        text = parameter.name + (f": {parameter.annotation}" if parameter.annotation else "")
        shown.append(text + (f" = {parameter.default}" if parameter.default is not None else ""))
    return f"({', '.join(shown)})" + (f" -> {function.returns}" if function.returns else "")
