"""The engines, one file each with its `ENGINE`."""
