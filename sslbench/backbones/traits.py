"""What a network is beside its registered weights, read off without running it: attributes, hooks, code."""

from __future__ import annotations

import functools
import hashlib
import re
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sslbench.backbones.code_text import (
    class_text,
    closure,
    function_text,
    functions,
    is_foreign,
    own_classes,
    replaced_functions,
    shown_code,
    used_globals,
)
from sslbench.backbones.digest import checksum, tensors_digest

_HOOKS = {
    "_forward_hooks": "_forward_hooks_with_kwargs",
    "_forward_pre_hooks": "_forward_pre_hooks_with_kwargs",
    "_backward_hooks": "",
    "_backward_pre_hooks": "",
}
# Hooks have a reading of their own; the rest concerns neither features nor what they depend on.
_INTERNAL = frozenset(vars(nn.Module())) | {"_compiled_call_impl"}
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
# Deeper than this, an attribute is no setting of a network.
_DEPTH = 6
# Objects that a network knows may know everything, such as the trainer and its data: they are read less deep, and not
# tensors of this many bytes.
_OBJECTS, _LARGE = 2, 1 << 24


@dataclass
class Traits:
    """What was read, by place.

    texts: the same in every process. tensors: weights and all others. helpers: functions and numbers outside the network
    that its code uses. Which of them it does use for pictures is not known, so they are looked at and not in the digest.
    """

    texts: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    helpers: dict[str, str] = field(default_factory=dict)

    def without(self, places: Collection[str]) -> Traits:
        """The same but for some places."""
        return Traits(
            {place: text for place, text in self.texts.items() if place not in places},
            {place: tensor for place, tensor in self.tensors.items() if place not in places},
            self.helpers,
        )

    def looks(self) -> dict[str, str]:
        """Text by place, tensors by their checksum: quick to take and to compare."""
        return self.texts | self.helpers | {place: checksum(tensor) for place, tensor in self.tensors.items()}

    def digest(self) -> str:
        """Of texts and tensors; the same whatever the layout of the tensors."""
        texts = "".join(f"|{place}={text}" for place, text in sorted(self.texts.items()))
        return tensors_digest(self.tensors, hashlib.sha256(texts.encode("utf-8", "surrogatepass")).hexdigest())


def quick_traits(module: nn.Module) -> Traits:
    """What people change in place in a network that a recipe describes: plain attributes, hooks, classes, `forward`.

    Containers that can be written into, and tensors other than the weights, are left out: some architectures keep results in
    them.
    """
    reader = _Reader(module)
    for name, part in module.named_modules():
        reader.note(f"{name}:class", type(part).__qualname__)
        reader.hooks(name, part)
        for attribute, value in vars(part).items():
            if attribute not in _INTERNAL and isinstance(value, (*_PLAIN, tuple, FunctionType, MethodType)):
                reader.read(f"{name}.{attribute}", value)
    state = module.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            reader.read(f"state {name}", value)
    return Traits(reader.found.texts, {name: value for name, value in state.items() if isinstance(value, Tensor)})


def all_traits(module: nn.Module, *objects: object) -> Traits:
    """Everything that code can show: of the module, and attributes of further objects that take part."""
    reader = _Reader(module)
    for place in objects:
        reader.attributes(type(place).__qualname__, place, skip={"module"})
        reader.classes(type(place))
    reader.tree("", module)
    return reader.found


class _Reader:
    def __init__(self, module: nn.Module) -> None:
        self.found = Traits()
        self._registered = {id(part): name for name, part in module.named_modules()}
        # Unregistered modules may refer to each other in a circle.
        self._visited: set[int] = set()

    def note(self, place: str, text: str) -> None:
        self.found.texts[place] = text

    def tree(self, prefix: str, module: nn.Module) -> None:
        """A module with its children, its tensors included."""
        # Some descriptions hold the address of a function.
        self.note(f"{prefix}:structure", re.sub(r" at 0x[0-9a-fA-F]+", "", repr(module)))
        for name, part in module.named_modules(prefix=prefix):
            if id(part) in self._visited:
                continue
            self._visited.add(id(part))
            self.classes(type(part))
            self.hooks(name, part)
            self.attributes(name, part, skip=_INTERNAL)
            self.note(f"{name}:code", shown_code(part))
        for name, tensor in (*module.named_parameters(prefix), *module.named_buffers(prefix)):
            self.found.tensors[name] = tensor
        for name, value in module.state_dict(prefix=f"{prefix}." if prefix else "").items():
            # Quantised layers keep packed weights, and others any state, where a state dict alone finds them.
            if name not in self.found.tensors:
                self.read(name, value.detach() if isinstance(value, Tensor) else value)

    def attributes(self, name: str, owner: object, skip: Collection[str]) -> None:
        for attribute, value in getattr(owner, "__dict__", {}).items():
            if attribute not in skip:
                self.read(f"{name}.{attribute}", value)

    def hooks(self, name: str, part: nn.Module) -> None:
        for kind, kwargs in _HOOKS.items():
            for place, (number, hook) in enumerate(getattr(part, kind, {}).items()):
                with_kwargs = number in getattr(part, kwargs, ()) if kwargs else False
                self.read(f"{name}:{kind}:{place}:{with_kwargs}", hook)

    def classes(self, cls: type) -> None:
        for own in own_classes(cls):
            if id(own) in self._visited:
                continue
            self._visited.add(id(own))
            place = f"class {own.__qualname__}"
            self.note(place, class_text(own))
            for name, function in replaced_functions(own):
                self.read(f"{place}.{name}", function)
            for name, function in functions(own):
                self.helpers(f"{place}.{name}", function)
            for name, value in vars(own).items():
                if not name.startswith("__") and isinstance(value, (*_PLAIN, tuple, list, dict, Tensor)):
                    self.read(f"{place}.{name}", value)

    def helpers(self, place: str, function: FunctionType) -> None:
        """What a function uses of its module, and what the functions there use."""
        if id(function) in self._visited or is_foreign(function.__module__):
            return
        self._visited.add(id(function))
        for name, value in used_globals(function):
            if isinstance(value, FunctionType):
                self.found.helpers[f"helper {place}.{name}"] = function_text(value)
                self.helpers(name, value)
            elif isinstance(value, (*_PLAIN, tuple, list)):
                self.found.helpers[f"helper {place}.{name}"] = repr(value)
            elif isinstance(value, Tensor) and not value.is_meta:
                self.found.helpers[f"helper {place}.{name}"] = checksum(value)

    def read(self, place: str, value: object) -> None:
        self.note(place, self._text(place, value, 0, 0))

    def _text(self, place: str, value: Any, depth: int, objects: int) -> str:
        if isinstance(value, Enum):
            return f"{type(value).__qualname__}.{value.name}"
        if isinstance(value, _PLAIN):
            return f"{type(value).__name__} {value!r}"
        if depth > _DEPTH:
            return type(value).__qualname__
        if isinstance(value, Tensor | np.ndarray | np.generic):
            return self._numbers(place, value, objects)
        if isinstance(value, nn.Module):
            return self._module(place, value)
        if isinstance(value, Mapping):
            return self._items(place, value.items(), type(value), depth, objects)
        if isinstance(value, list | tuple | deque):
            return self._items(place, enumerate(value), type(value), depth, objects)
        if isinstance(value, set | frozenset):
            return f"set {sorted(self._text(place, item, depth + 1, objects) for item in value)}"
        if isinstance(value, torch.dtype | torch.layout | torch.memory_format | PurePath):
            return str(value)
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, type):
            self.classes(value)
            return value.__qualname__
        return self._callable(place, value, depth, objects)

    def _items(self, place: str, items: Iterable[tuple[Any, Any]], cls: type, depth: int, objects: int) -> str:
        texts = []
        for number, (key, value) in enumerate(items):
            # A key may be anything that has a hash, such as a parameter.
            name = str(key) if isinstance(key, _PLAIN) else f"{type(key).__qualname__} {number}"
            texts.append(f"{name}: {self._text(f'{place}.{name}', value, depth + 1, objects)}")
        return f"{cls.__name__} [{', '.join(texts)}]"

    def _numbers(self, place: str, value: Any, objects: int) -> str:
        if isinstance(value, np.generic):
            return f"{value.dtype} {value.item()!r}"
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biufc":
                return f"array {value.tolist()!r}"
            value = torch.from_numpy(np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("=")))
        if value.is_meta or nn.parameter.is_lazy(value):
            return f"tensor {value.dtype}"
        if objects and value.nbytes > _LARGE:
            return f"tensor {value.dtype} {tuple(value.shape)}"
        self.found.tensors[place] = value
        return "tensor"

    def _module(self, place: str, module: nn.Module) -> str:
        if id(module) in self._registered:
            return f"module {self._registered[id(module)]}"
        if id(module) not in self._visited:
            self.tree(place, module)
        return f"module {type(module).__qualname__}"

    def _callable(self, place: str, value: Any, depth: int, objects: int) -> str:
        if isinstance(value, functools.partial):
            parts = {"function": value.func, "arguments": value.args, "keywords": value.keywords}
            return self._items(place, parts.items(), functools.partial, depth, objects)
        if isinstance(value, MethodType):
            parts = {"function": value.__func__, "self": value.__self__}
            return self._items(place, parts.items(), MethodType, depth, objects)
        if isinstance(value, BuiltinFunctionType):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, FunctionType):
            kept = {"defaults": value.__defaults__, "keywords": value.__kwdefaults__, **dict(closure(value))}
            held = self._items(place, kept.items(), FunctionType, depth, objects)
            self.helpers(place, value)
            return f"{function_text(value)} {held}"
        return self._object(place, value, depth, objects)

    def _object(self, place: str, value: Any, depth: int, objects: int) -> str:
        cls = type(value)
        # What Python and torch keep in their own objects (locks, loggers, streams) is no setting and changes by itself.
        known = cls.__module__.partition(".")[0] in ("torch", *sys.stdlib_module_names)
        settings = isinstance(value, SimpleNamespace | Namespace)
        if objects >= _OBJECTS or not hasattr(value, "__dict__") or (known and not settings):
            return cls.__qualname__
        self.classes(cls)
        return self._items(place, vars(value).items(), cls, depth, objects + 1)
