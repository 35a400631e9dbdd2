"""The pure heart: numpy arithmetic on columns. No I/O, clock, randomness or logging in here."""
