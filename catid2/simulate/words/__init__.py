"""Word lists in English, Spanish and Japanese, written for the simulator."""
