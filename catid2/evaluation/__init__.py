"""Runs to figures: metrics, intervals, significance."""
