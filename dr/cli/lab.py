"""``dr lab``: install, up, status, env, logs, down."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import click

from dr.app.cleanup import abandon
from dr.app.lock import locked
from dr.app.survey import forget, take
from dr.cli import common
from dr.cli.streams import echo
from dr.config.load import LAB
from dr.domain.errors import DrError, RefusedError

EXTRA = ("moto", "trustme")
"""What every command of the lab imports, and dr without its extra does not bring."""


@click.group()
def lab() -> None:
    """The embedded environment: a whole platform that is broken and restored, all on loopback."""
    lacking = [name for name in EXTRA if find_spec(name) is None]
    if lacking:
        raise RefusedError(
            f"The lab needs {' and '.join(lacking)}, not installed here.", "Install it: pip install 'dr[lab]'."
        )


@lab.command()
@click.option("--patients", type=click.IntRange(1), default=2000, show_default=True, help="Synthetic patients.")
@click.option("--load", type=click.Path(path_type=Path), help="A dump of your own (pg_dump, plain or custom) instead.")
@click.option("--single", is_flag=True, help="Single-AZ and without read replicas, for a small machine.")
@click.option(
    "--without",
    type=click.Choice(["kubernetes"]),
    multiple=True,
    envvar="DR_LAB_WITHOUT",
    help="Leave it out: the databases and what stands beside them are enough for most drills.",
)
@click.option(
    "--node-grace",
    type=click.FloatRange(2),
    default=40,
    show_default=True,
    help="Seconds after which a silent node of the cluster is not ready.",
)
@click.option(
    "--node-toleration",
    type=click.IntRange(0),
    default=300,
    show_default=True,
    help="Seconds for which pods stay on a node that is not ready.",
)
def up(
    patients: int,
    load: Path | None,
    single: bool,
    without: tuple[str, ...],
    node_grace: float,
    node_toleration: int,
) -> None:
    """Start the lab, or find it running."""
    from dr.lab import control
    from dr.lab.cluster.timings import Timings

    common.make_ready()
    with suppress(RefusedError), locked(LAB):  # a run that is under way on a lab that died ends by itself
        if not control.is_running():
            _tell_abandoned()
    outcome = control.up(
        patients,
        load,
        lambda: take(LAB),
        single=single,
        without=without,
        timings=Timings(node_grace, node_toleration),
        say=lambda phase: click.echo(f"{phase} ...", err=True),
    )
    for sentence in outcome.sentences():
        echo(sentence)
    click.echo('Use it with stock tools: eval "$(dr lab env)"', err=True)


@lab.command()
def install() -> None:
    """Build the programs of the lab's cluster, once for all labs of this user."""
    from dr.lab.cluster.install import install as build

    echo(build(lambda sentence: click.echo(sentence, err=True)).sentence())


@lab.command()
def status() -> None:
    """What runs, and where. Exit code 3 if the lab is not up."""
    from dr.lab import control

    condition = control.status()
    for line in condition.lines():
        echo(line)
    if condition.presence.phase != "ready":
        raise RefusedError("The lab is not up yet.", "Wait for 'dr lab up', or repeat it.")


@lab.command()
def env() -> None:
    """Print shell exports for stock aws, psql and chaos: eval "$(dr lab env)"."""
    from dr.lab import control

    echo(control.exports())
    problem = control.psql_problem()
    if problem:
        click.echo(
            f"{problem} psql will not work against the lab: install PostgreSQL's client programs"
            " (Debian: postgresql-client).",
            err=True,
        )


@lab.command()
@click.argument("pod")
@click.option("--namespace", "-n", default="", help="Of the pod, where several have one of this name.")
@click.option("--container", "-c", default="", help="Of the pod, where it has several.")
@click.option("--previous", "-p", is_flag=True, help="What its process before the last restart wrote.")
def logs(pod: str, namespace: str, container: str, previous: bool) -> None:
    """Print what a pod of the cluster wrote: its nodes have no kubelet that 'kubectl logs' could ask."""
    from dr.lab import control

    click.echo(control.logs(pod, namespace, container, previous=previous).read_bytes(), nl=False)


@lab.command()
def down() -> None:
    """Stop everything of the lab and remove its state; the evidence of runs stays."""
    from dr.lab import control

    common.make_ready()
    with locked(LAB):
        forget(LAB)
        echo("The lab is down." if control.down() else "The lab was not running.")
        _tell_abandoned()


def _tell_abandoned() -> None:
    """End the runs that were not finished on a lab that is gone, and say so."""
    common.tell_unreadable()
    for run, ended in abandon(LAB):
        if isinstance(ended, DrError):
            click.echo(f"dr: run {run.id} went with its lab, and could not be ended: {ended}", err=True)
        else:
            click.echo(f"Run {run.id} was not finished; it went with its lab: {ended.verdict.status}.", err=True)
