"""BatchNorm folded into the convolution before it, where the network's own graph shows that nothing is in between."""

from __future__ import annotations

import copy
from collections import Counter

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sslbench.backbones.backbone import Network
from sslbench.backbones.module_network import ModuleNetwork
from sslbench.backbones.timm_network import TimmNetwork
from sslbench.errors import SslbenchError

# What code meant for tensors raises when it is handed fx's stand-ins (TraceError is a ValueError), or when it is copied.
_UNSUITABLE = (ValueError, TypeError, RuntimeError, AttributeError, LookupError, AssertionError, SslbenchError)


def fold(network: Network) -> tuple[Network | None, str]:
    """A copy of the network with its BatchNorms folded and, if there is none, why.

    The copy gives what the network gives in evaluation mode, but for rounding. Only networks whose embedding is the
    module's own forward pass are looked at: what is proved of one pass says nothing about another.
    """
    if not isinstance(network, TimmNetwork | ModuleNetwork):
        return None, f"{type(network).__name__} need not embed by its module's forward pass"
    if network.pooling.startswith("last-"):
        return None, f"pooling {network.pooling} takes maps out of the middle of the network"
    try:
        twin = copy.deepcopy(network)
        twin.module.eval()
        pairs = adjacent_pairs(twin.module)
    except _UNSUITABLE as error:
        return None, f"the network cannot be traced: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    if not pairs:
        return None, "no BatchNorm follows a convolution"
    for conv, norm in pairs:
        first, second = twin.module.get_submodule(conv), twin.module.get_submodule(norm)
        assert isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d)
        _replace(twin.module, conv, fuse_conv_bn_eval(first, second))
        _replace(twin.module, norm, nn.Identity())
    return twin, ""


def adjacent_pairs(module: nn.Module) -> list[tuple[str, str]]:
    """Names of each Conv2d and of the BatchNorm2d that alone takes its output, both called once and free of hooks.

    Subclasses are left alone: they may do more than their names say (timm's BatchNormAct2d also activates). Raises
    what fx raises for a network that it cannot trace.
    """
    for name, part in module.named_modules():
        if "forward" in vars(part):
            # fx follows the class.
            raise TypeError(f"forward was replaced on {name or 'the network'} itself")
    graph = fx.Tracer().trace(module)
    calls = [node for node in graph.nodes if node.op == "call_module"]
    times = Counter(id(module.get_submodule(str(node.target))) for node in calls)
    # A module that is known by two names may be reached by the other one from code that the graph does not show.
    names = Counter(id(part) for _, part in module.named_modules(remove_duplicate=False))
    # A graph that reads a parameter itself would miss what was folded into it.
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}

    def is_plain(node: fx.Node, kind: type[nn.Module]) -> bool:
        if node.op != "call_module" or str(node.target) in read:
            return False
        part = module.get_submodule(str(node.target))
        hooks = part._forward_hooks or part._forward_pre_hooks
        return type(part) is kind and not hooks and times[id(part)] == names[id(part)] == 1

    pairs = []
    for node in calls:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or len(before.users) != 1:
            continue
        if is_plain(node, nn.BatchNorm2d) and is_plain(before, nn.Conv2d):
            norm = module.get_submodule(str(node.target))
            # Without running statistics BatchNorm takes those of the batch, in evaluation too.
            if norm.running_mean is not None:
                pairs.append((str(before.target), str(node.target)))
    return pairs


def _replace(root: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(root.get_submodule(parent), attribute, part)
