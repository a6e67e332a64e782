"""The HTML pages: a run as a report, and two runs compared."""
