"""`pla assess`: what a fleet is given, uses, wastes and risks, read from its metrics alone.

`discovery` finds the workloads, `history` reads them, `policies` replays what PLA and its peers
would have set on the newest part, `figures` scores and prices it, and `document`, `page` and
`charts` say it. Nothing here writes to a server or a platform.
"""
