"""Category trees other than the corpus's: with label noise, or made for a catalogue without one."""
