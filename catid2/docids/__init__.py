"""Codes to unique DocIDs."""
