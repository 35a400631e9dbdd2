"""How each kind of workload is prepared, started and stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.recorder.corpus import PROGRAMS, write_bodies
from infra.recorder.executables import RecorderError, program
from infra.recorder.postgres import postgres_command, prepare_postgres
from infra.recorder.sites import Site

REPO = Path(__file__).resolve().parents[2]
AGENT = 'while IFS= read -r line; do eval "$line" < /dev/null; done'


def prepare(site: Site, seed: int) -> None:
    """Makes the workload's folder ready, before the recording starts."""
    kind, options = site.workload.kind, site.workload.options
    site.folder.mkdir(parents=True)
    if kind == "postgres":
        site.stop_signal = signal.SIGINT
        prepare_postgres(site, int(options["scale"]))
        return
    site.data.mkdir()
    if kind == "nginx":
        write_bodies(site.folder / "www", int(options["body_kb"]), seed)
    elif kind == "job":
        (site.data / "copy").mkdir()
    elif kind == "java":
        source = str(PROGRAMS / "HeapService.java")
        subprocess.run([program("javac"), "-d", str(site.folder), source], check=True)


def command(site: Site, options: Mapping[str, Any], service_spec: Mapping[str, Any]) -> list[str]:
    """The command line that starts the workload in the foreground."""
    kind = site.workload.kind
    if kind == "service":
        path = site.folder / "spec.json"
        path.write_text(json.dumps({**service_spec, **options, "data": str(site.data)}))
        return [sys.executable, "-m", "infra.recorder.service", str(path)]
    if kind not in _COMMANDS:
        raise RecorderError(f"workload {site.workload.name}: unknown kind {kind!r}")
    return _COMMANDS[kind](site, options)


def _job(site: Site, options: Mapping[str, Any]) -> list[str]:
    return [program("bash"), "-c", AGENT]


def _nginx(site: Site, options: Mapping[str, Any]) -> list[str]:
    conf = site.folder / "nginx.conf"
    conf.write_text(_nginx_conf(site, options))
    log = str(site.folder / "error.log")
    return [program("nginx"), "-p", str(site.folder), "-e", log, "-c", str(conf)]


def _redis(site: Site, options: Mapping[str, Any]) -> list[str]:
    flags = f"--port {site.port} --bind 127.0.0.1 --daemonize no --loglevel warning".split()
    return [program("redis-server"), *flags, "--save", "", "--dir", str(site.data)]


def _memcached(site: Site, options: Mapping[str, Any]) -> list[str]:
    flags = f"-l 127.0.0.1 -p {site.port} -U 0 -t 1 -m {options['megabytes']}".split()
    return [program("memcached"), *(["-u", "root"] if os.geteuid() == 0 else []), *flags]


def _java(site: Site, options: Mapping[str, Any]) -> list[str]:
    heap = [f"-Xmx{options['heap_mb']}m", "-Xms24m", "-XX:+UseSerialGC"]
    arguments = [str(options[key]) for key in ("session_kb", "ttl_s", "work")]
    classes = ["-cp", str(site.folder), "HeapService"]
    return [program("java"), *heap, *classes, str(site.port), *arguments]


_COMMANDS: Mapping[str, Callable[[Site, Mapping[str, Any]], list[str]]] = {
    "job": _job,
    "nginx": _nginx,
    "postgres": postgres_command,
    "redis": _redis,
    "memcached": _memcached,
    "java": _java,
}


def _nginx_conf(site: Site, options: Mapping[str, Any]) -> str:
    temporary = "\n".join(
        f"  {kind}_temp_path {site.folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    return f"""{user}daemon off;
worker_processes 1;
pid {site.folder}/nginx.pid;
events {{ worker_connections 64; }}
http {{
{temporary}
  types {{ application/json json; }}
  access_log {site.data}/access.log;
  keepalive_requests 100000;
  gzip on; gzip_types application/json; gzip_comp_level {options["gzip_level"]};
  server {{ listen 127.0.0.1:{site.port}; root {site.folder}/www; }}
}}
"""
