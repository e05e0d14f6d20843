"""From scores to ranked documents: trie, beam search, exact search over vectors."""
