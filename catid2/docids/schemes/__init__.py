"""ID schemes: each is a function from the documents of a corpus to their codes; `registry` lists them."""
