"""An index over HTTP: a page for people, JSON for programs."""
