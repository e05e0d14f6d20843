"""The models that write DocIDs, their training, and search with them."""
