"""From codes to unique DocIDs."""
