"""Raw files to a corpus: products with their category tree, queries and judgements."""
