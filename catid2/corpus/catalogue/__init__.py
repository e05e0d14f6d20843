"""A catalogue of one's own, as CSV, JSON or parquet, to ESCI-shaped files."""
