"""Constant, idle, weekday-only, new and retired services of our own (`service.py`)."""

from __future__ import annotations

from infra.recorder.catalogue.entry import cache, service
from infra.recorder.rates import Cron, Profile

QUIET = (
    service("constant-poller", "standard", 0.05, 32, Profile(10, noise=0.02), "hash", 1),
    service("constant-encoder", "standard", 0.1, 32, Profile(6, noise=0.03), "zlib", 2),
    service("heartbeat-agent", "burstable", 0.02, 32, Profile(0.5, noise=0.1), "json", 0.5),
    service("config-watcher", "standard", 0.05, 32, Profile(0.2, noise=0.1), "json", 1),
    service(
        "license-daemon", "burstable", 0.02, 64, Profile(0.05, noise=0.1), "hash", 1, base_mb=8
    ),
    service(
        "hr-portal",
        "burstable",
        0.05,
        64,
        Profile(3, "office", 0.99, weekend=0.02, noise=0.3),
        "json",
        2.5,
        base_mb=14,
    ),
    service(
        "timesheet-app",
        "burstable",
        0.1,
        64,
        Profile(
            1.5, "office", 0.98, weekend=0.05, crons=(Cron(168, 112.5, factor=8, minutes=120),)
        ),
        "sqlite",
        2,
        base_mb=18,
    ),
    service(
        "internal-wiki",
        "burstable",
        0.05,
        96,
        Profile(1.2, "office", 0.9, weekend=0.1, noise=0.4),
        "regex",
        2,
        base_mb=24,
    ),
    service(
        "shop-campaign",
        "critical",
        0.15,
        64,
        Profile(2, "evening", 0.8, 20, steps=((4.5, 3.0), (6.5, 0.6))),
        "json",
        2,
        **cache(150, 40),
        base_mb=10,
    ),
    service(
        "retired-api",
        "standard",
        0.05,
        48,
        Profile(4, "sine", 0.6, 15, steps=((6.0, 0.1), (9.0, 0.0))),
        "json",
        2,
    ),
    service(
        "new-launch",
        "standard",
        0.1,
        64,
        Profile(3, "sine", 0.6, 17, steps=((0.0, 0.05), (3.5, 20.0), (7.0, 1.8))),
        "sort",
        1.5,
        **cache(100, 50),
    ),
)
