"""An index: a folder with everything that a search needs, and what is done with it after training."""
