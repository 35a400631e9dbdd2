"""Learning from history. The heavier imports live here; the tick never imports it."""
