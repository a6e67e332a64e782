"""Results: records, references and verdicts, statistics, tables and reports."""
