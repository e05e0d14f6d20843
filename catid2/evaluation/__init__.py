"""Runs to figures: recall, intervals, significance."""
