"""Figures of a sheet of scores, drawn with matplotlib (extra `figures`)."""
