"""The core speaks of no provider: by the names of those that are here, and by the words of what they speak to."""

from __future__ import annotations

import ast
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dr
from dr.config.plugins import plugins

HOME = Path(dr.__file__).parent
CORE = ("*.py", *(f"{part}/**/*.py" for part in ("app", "cli", "config", "domain", "engine", "evidence", "host")))
CORE += ("judge/**/*.py", "meter/**/*.py", "report/**/*.py")
ALIKE = frozenset({"clients", "faults", "measuring", "observing", "service"})
"""Providers whose name is a word that anybody needs."""
THEIRS = frozenset(
    {"amazonaws", "aws", "boto3", "botocore", "ec2", "s3", "dbinstanceclass", "cloudwatch"}
    | {"amcheck", "libpq", "pg", "pgbouncer", "postgresql", "psql", "psycopg", "wal", "lsn", "pq"}
    | {"gpu", "gpus", "kubeconfig", "kubectl", "kubelet", "pod", "pods", "promql"}
)
"""Words of what the drivers speak to."""
SPARED = {
    "cli/lab.py": "the lab's own command line: what it starts is what it is of",
    "config/former.py": "the keys of a target as it was written before each provider had a section",
    "evidence/former.py": "runs of a time when there was one provider, whose words the core spoke",
}
"""Where they may stand, and why."""
CONTAINED = re.compile(r"[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*(?![a-z])")


def words(text: str) -> Iterator[tuple[int, str]]:
    """Each word of a source text, those within a name, too, with its line."""
    for number, line in enumerate(text.splitlines(), 1):
        for name in re.findall(r"[A-Za-z][A-Za-z0-9]*", line):
            yield from ((number, word.lower()) for word in {name, *CONTAINED.findall(name)})


def spoken() -> frozenset[str]:
    return THEIRS | plugins().keys() - ALIKE


@pytest.mark.parametrize("part", CORE)
def test_the_core_says_no_providers_word(part: str) -> None:
    files = [file for file in sorted(HOME.glob(part)) if str(file.relative_to(HOME)) not in SPARED]
    found = [
        f"{file.relative_to(HOME)}:{line}: {word}"
        for file in files
        for line, word in words(file.read_text())
        if word in spoken()
    ]
    assert files
    assert found == [], "say it in the driver, and let its plugin tell the core what it needs"


SHARED = {"psycopg": {"drivers/clients", "drivers/postgres", "drivers/service"}, "kubernetes": {"drivers/clients"}}
"""Client libraries that stand in other folders, too: of whom a database's server is a pooler, or a row is asked."""


def imported(file: Path) -> Iterator[str]:
    """The packages that a file imports, at whatever place."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def packages(distribution: str) -> set[str]:
    """What a distribution is imported as."""
    return {name for name, of in importlib.metadata.packages_distributions().items() if distribution in of}


def test_a_client_library_is_imported_in_the_folder_of_the_provider_whose_part_it_is() -> None:
    """Of all the folders there are, so that a new one needs no list."""
    libraries: dict[str, set[str]] = {"botocore": {"drivers/aws", "drivers/rds"}}
    for name, plugin in plugins().items():
        for part in plugin.parts:
            for package in packages(part):
                libraries.setdefault(package, set()).update({f"drivers/{name}", *SHARED.get(package, ())})
    strange = [
        f"{file.relative_to(HOME)} imports {package}"
        for file in sorted(HOME.rglob("*.py"))
        if (place := file.relative_to(HOME)).parts[0] != "lab"
        for package in imported(file)
        if package in libraries and "/".join(place.parts[:2]) not in libraries[package]
    ]
    assert {"boto3", "psycopg", "kubernetes"} <= libraries.keys()
    assert strange == []


@pytest.mark.parametrize("name", SPARED)
def test_what_is_spared_needs_to_be(name: str) -> None:
    told = {word for _, word in words((HOME / name).read_text())}
    assert told & spoken(), "take it out of SPARED"


def test_a_word_is_found_within_a_name() -> None:
    told = {word for _, word in words("class RdsClient: pg_authid = PgBouncer(EC2_CLIENT, awsRegion)")}
    assert {"rds", "pg", "ec2", "aws"} <= told
