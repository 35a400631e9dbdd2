"""What `pla up` is made of: child processes and their servers, ports, the lock, the display."""
