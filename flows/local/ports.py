"""Free ports: the wanted one if it can be had, else any, unless people fixed it."""

from __future__ import annotations

import socket


class PortTaken(Exception):
    """A port that was fixed in the configuration is in use. Names key, port and cure."""


def free_port(host: str, wanted: int = 0) -> int:
    """`wanted` if nothing listens there, otherwise some free port.

    It is free when this returns; who starts a server on it late may find it taken after all.
    """
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                if port == 0:
                    raise
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise AssertionError("unreachable: port 0 binds or raises")


def choose(key: str, host: str, wanted: int, fixed: bool) -> int:
    """The port for the server that `key` configures.

    Raises:
        PortTaken: it is fixed, and in use.
    """
    port = free_port(host, wanted)
    if fixed and port != wanted:
        raise PortTaken(
            f"{key}: port {wanted} on {host} is in use; stop what listens there, choose another, "
            f"or leave the key out to take any free one"
        )
    return port
