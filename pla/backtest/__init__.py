"""Replays a trace through the very same tick code, and every peer's policy beside it."""
