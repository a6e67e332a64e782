"""What sets of scores say together: functions of a `Sheet`, whether its scores come from records or from published tables."""

from sslbench.analyses.sheet import Cell, Item, Sheet, sheet_of_records, sheet_of_study

__all__ = ["Cell", "Item", "Sheet", "sheet_of_records", "sheet_of_study"]
