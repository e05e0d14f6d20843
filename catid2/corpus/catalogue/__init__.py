"""Your own catalogue, as CSV, JSON or parquet, to files in ESCI's format."""
