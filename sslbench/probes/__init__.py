"""Linear probes for a whole path of penalties, solved together and certified."""

from sslbench.probes.binary import binary_path
from sslbench.probes.result import BinaryPath, ProbePath, SoftmaxPath, Work
from sslbench.probes.softmax import softmax_path

__all__ = ["BinaryPath", "ProbePath", "SoftmaxPath", "Work", "binary_path", "softmax_path"]
