"""The lab's Prometheus, a real one: scrapes the prediction service and evaluates the platform's alert rules.

It keeps its samples over that, and loses them with the lab's directory. What it answers is read by whoever asks its
API, as they would ask the platform's own.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from dr.domain.errors import ProviderError
from dr.lab.asked import is_ready
from dr.lab.beside import companion
from dr.lab.beside.companion import Companion, Program
from dr.lab.servers.binaries import environment
from dr.lab.servers.site import Site

NAME = "prometheus"
JOB = "readmission-api"
"""The label ``job`` of the service's samples: the name of platform.md's ServiceMonitor."""
INTERVAL = 1
"""Seconds between two scrapes; platform.md has 15, of which a failover of a minute would show four."""
WITHOUT = "There is no Prometheus: what a drill measures is not corroborated."
CHECK_LIMIT = 30.0
SMALL = {"GOMAXPROCS": "1", "GOGC": "50", "GOMEMLIMIT": "96MiB"}
"""It shares the machine with the databases that are measured."""


def find(site: Site) -> Program | None:
    """The machine's Prometheus; None where there is none, which is ``WITHOUT``."""
    return companion.find(NAME, site.binaries.account)


class Prometheus(Companion):
    """Prometheus in one directory, scraping the service at ``service``. ``port`` stays the same over restarts."""

    title = "Prometheus"
    extra = SMALL

    def __init__(self, site: Site, program: Program, directory: Path, port: int, service: str) -> None:
        super().__init__(site, program, directory, port)
        self.url = f"http://127.0.0.1:{port}"
        self._service = service

    @property
    def configuration(self) -> Path:
        return self.directory / "prometheus.yml"

    def start(self) -> None:
        """Write its files, start it, and return when it answers. Raises ProviderError with its own reason."""
        self._site.make_directory(self.directory)
        rules = self.directory / "rules.yaml"
        self._site.write(rules, Path(__file__).with_name("rules.yaml").read_text())
        self._site.write(self.configuration, render(self._service, rules))
        self._check()
        self.launch()

    def command(self) -> list[str]:
        options = {
            "config.file": self.configuration,
            "storage.tsdb.path": self.directory / "data",
            "storage.tsdb.retention.time": "12h",
            "storage.tsdb.retention.size": "128MB",
            "storage.tsdb.wal-segment-size": "10MB",
            "web.listen-address": f"127.0.0.1:{self.port}",
            "log.level": "warn",
        }
        return [str(self._program.path), *(f"--{name}={value}" for name, value in options.items())]

    def answers(self) -> bool:
        return is_ready(f"{self.url}/-/ready", 2)

    def _check(self) -> None:
        """Let promtool, where it stands beside, read the configuration and the rules. Raises ProviderError."""
        tool = self._program.path.with_name("promtool")
        if not tool.exists():
            return
        command = [str(tool), "check", "config", str(self.configuration)]
        try:
            answer = subprocess.run(
                command, env=environment(), capture_output=True, text=True, check=False, timeout=CHECK_LIMIT
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProviderError(
                f"promtool could not check Prometheus' configuration: {type(error).__name__}."
            ) from None
        if answer.returncode:
            said = " ".join((answer.stdout + answer.stderr).split())
            raise ProviderError(f"Prometheus' configuration is not valid: {said}")


def render(service: str, rules: Path) -> str:
    """prometheus.yml's text: scrape the service at this URL, evaluate these rules. Pure."""
    every = f"{INTERVAL}s"
    return yaml.safe_dump(
        {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": [urlsplit(service).netloc]}]}],
        },
        sort_keys=False,
    )
