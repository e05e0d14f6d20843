"""CAT-ID²: category-tree integrated document identifiers for generative retrieval (arXiv 2511.01461)."""
