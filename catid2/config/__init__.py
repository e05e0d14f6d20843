"""Configuration: one pydantic model per stage, the single source of defaults, limits and documentation.

Each stage imports only its own module, so that a new option of one stage reruns no other stage.
"""
