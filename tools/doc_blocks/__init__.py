"""What the pages of the documentation show of the committed baseline; `tools/doc_tables.py` writes it into them."""
