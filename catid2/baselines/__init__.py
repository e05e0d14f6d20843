"""Search methods without document identifiers, for comparison."""
