"""What is recorded: every workload with its program, tier, static request and demand.

All of it was declared before the recording. The request is what an ordinary careful team would
have written into the manifest: round figures with headroom for the busiest hour they remember;
some are far too large, a few tight. It limits nothing while recording.
"""

from __future__ import annotations

from infra.recorder.catalogue.business import BUSINESS
from infra.recorder.catalogue.databases import DATABASES
from infra.recorder.catalogue.entry import Event, Workload
from infra.recorder.catalogue.jobs import JOBS
from infra.recorder.catalogue.pipelines import PIPELINES
from infra.recorder.catalogue.quiet import QUIET
from infra.recorder.catalogue.web import WEB

__all__ = ["Event", "Workload", "workloads"]


def workloads() -> tuple[Workload, ...]:
    """The whole catalogue, sorted by name."""
    tables = (*BUSINESS, *DATABASES, *JOBS, *PIPELINES, *QUIET, *WEB)
    return tuple(sorted(tables, key=lambda workload: workload.name))
