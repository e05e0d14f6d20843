"""Category trees other than the corpus's: with label noise, or made where a catalogue has none."""
