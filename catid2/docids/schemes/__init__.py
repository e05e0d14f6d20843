"""ID schemes: a function each from the documents of a corpus to their codes; `registry` names them."""
