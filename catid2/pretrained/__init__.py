"""Pretrained models: fetched from a hub or read from a folder."""
