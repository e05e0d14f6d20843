"""Category trees that replace the corpus's own: with label noise, or made for a catalogue without categories."""
