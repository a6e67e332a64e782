"""Features: extraction, and the content-keyed cache on disk."""
