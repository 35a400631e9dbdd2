"""The warm worker's parts: one process that keeps model, window and connections between runs.

`host` is what flows find in such a process; `polling` runs scheduled flow runs in it;
`reconcile` cleans up after a dead predecessor; `metronome` ticks while Prefect is away.
"""
