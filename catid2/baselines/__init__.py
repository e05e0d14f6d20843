"""Search methods that catid2 is compared with and that need no document identifiers."""
