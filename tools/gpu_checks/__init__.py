"""What `tools/gpu_check.py` runs; a further check is one function, and a line in `CHECKS` there.

A check takes a `Bench`, which times on the device, and a `Found`, which takes rows, bars and faults as they come.
"""
