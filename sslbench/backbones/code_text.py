"""Functions and classes as text: what they compute, in words that are the same in every process."""

from __future__ import annotations

import builtins
import hashlib
import inspect
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import nn

_SOURCES: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()
_FOREIGN = frozenset(("torch", "sslbench", *sys.stdlib_module_names))


def own_classes(cls: type) -> Iterator[type]:
    """The class and its bases that are neither torch's, Python's nor of this package."""
    for base in cls.__mro__:
        # Code that is run without a module's name makes classes that seem to be Python's.
        nameless = base.__module__ == "builtins" and not hasattr(builtins, base.__name__)
        if nameless or not is_foreign(base.__module__):
            yield base


def is_foreign(module: str | None) -> bool:
    """Whether a module's code is told by a version in the record: torch's, Python's and our own."""
    return (module or "").partition(".")[0] in _FOREIGN


def class_text(cls: type) -> str:
    """The source of a class; without it, the code of its functions. Empty for a class of neither, such as one in C."""
    if cls not in _SOURCES:
        # Read once: the file may be edited while the class stays what it was.
        _SOURCES[cls] = _short(_source(cls))
    return _SOURCES[cls]


def _source(cls: type) -> str:
    # torch.hub forgets the module of a class it loaded; its functions still know their file.
    places = (cls, vars(cls)["forward"]) if isinstance(vars(cls).get("forward"), FunctionType) else (cls,)
    for place in places:
        try:
            return inspect.getsource(place)
        except (OSError, TypeError):
            continue
    return "\n".join(f"{name} {code_text(function.__code__)}" for name, function in functions(cls))


def functions(cls: type) -> Iterator[tuple[str, FunctionType]]:
    """The functions of a class by name, those behind properties and class methods too."""
    for name, value in sorted(vars(cls).items()):
        found: Any = value
        if isinstance(found, property):
            found = found.fget
        elif isinstance(found, staticmethod | classmethod):
            found = found.__func__
        if isinstance(found, FunctionType):
            yield name, found


def replaced_functions(cls: type) -> Iterator[tuple[str, FunctionType]]:
    """Functions that were not written in the body of the class, which its source therefore does not tell of."""
    for name, function in functions(cls):
        if function.__code__.co_qualname != f"{cls.__qualname__}.{name}":
            yield name, function


def code_text(code: CodeType) -> str:
    """What a function computes: its instructions, constants and names, without places in files."""
    code = _as_written(code)
    constants = [code_text(item) if isinstance(item, CodeType) else _constant(item) for item in code.co_consts]
    return _short(f"{code.co_code.hex()}|{constants}|{code.co_names}|{code.co_varnames}|{code.co_freevars}")


def _as_written(code: CodeType) -> CodeType:
    """The code without what pytest makes of its assertions in conftest.py: other processes load that file as it is."""
    if not any(name.startswith("@py") for name in (*code.co_names, *code.co_varnames)):
        return code
    try:
        whole = compile(Path(code.co_filename).read_bytes(), code.co_filename, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return code
    place = (code.co_qualname, code.co_firstlineno)
    # The file may have been edited since; then there is no better text than that of what runs.
    return next((found for found in _inner(whole) if (found.co_qualname, found.co_firstlineno) == place), code)


def _inner(code: CodeType) -> Iterator[CodeType]:
    for item in code.co_consts:
        if isinstance(item, CodeType):
            yield item
            yield from _inner(item)


def _constant(item: Any) -> str:
    # Sets have no order of their own.
    return f"frozenset{sorted(map(repr, item))}" if isinstance(item, frozenset) else repr(item)


def function_text(function: FunctionType) -> str:
    """The function without what it closes over."""
    if is_foreign(function.__module__):
        return f"{function.__module__}.{function.__qualname__}"
    return code_text(function.__code__)


def used_globals(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Globals that a function reads, by name, and what it may read out of modules among them."""
    names = sorted(_names(function.__code__))
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) and not is_foreign(value.__name__):
            yield from ((f"{name}.{inner}", vars(value)[inner]) for inner in names if inner in vars(value))
        elif name in function.__globals__:
            yield name, value


def _names(code: CodeType) -> set[str]:
    code = _as_written(code)
    inner = [_names(item) for item in code.co_consts if isinstance(item, CodeType)]
    return set(code.co_names).union(*inner)


def closure(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function closes over, by name."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:
            # Not assigned yet.
            continue


def shown_code(module: nn.Module) -> str:
    """The code of scripted and traced modules, which belongs to the object and not to its class."""
    try:
        code: Callable[..., Any] | str | None = getattr(module, "code", None)
    except RuntimeError:
        return ""
    return _short(code) if isinstance(code, str) else ""


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32] if text else ""
