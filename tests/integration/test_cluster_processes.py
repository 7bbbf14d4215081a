"""How the lab starts, keeps and ends a control plane's processes, by scripts in their place.

The real ones are asked in test_lab_cluster.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import urllib3
import yaml
from cryptography import x509

from dr.domain.errors import ProviderError, RefusedError
from dr.lab.beside.companion import Companion, Program
from dr.lab.cluster import standing
from dr.lab.cluster.control import FOLDER, ControlPlane, open_cluster
from dr.lab.cluster.standing import Cluster, end_strays
from dr.lab.cluster.timings import USUAL, Timings
from dr.lab.servers.site import Site
from tests.integration.fake_components import noted, programs
from tests.lab_servers import site_at
from tests.support import eventually, open_directory

SHORT = Timings(6.0, 4)
MANAGERS = {"kube-controller-manager", "kube-scheduler"}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_directory("dr-test-") as directory:
        yield site_at(directory / "lab")


@contextmanager
def opened(site: Site, name: str, broken: tuple[str, ...] = ()) -> Iterator[ControlPlane]:
    """A control plane of scripts, ended afterwards."""
    plane = open_cluster(site, programs(site.directory / f"{name}-programs", broken), name)
    try:
        yield plane
    finally:
        plane.stop()


def notes(site: Site, name: str) -> list[tuple[str, ...]]:
    return [tuple(line.split()) for line in noted(site.directory / f"{name}-programs").read_text().splitlines()]


def pids(plane: ControlPlane) -> list[int]:
    return [pid for one in plane.components if (pid := one.pid()) is not None]


def test_the_store_begins_first_and_ends_last_and_the_api_stands_between(site: Site) -> None:
    with opened(site, "order") as plane:
        plane.start()
        assert len(pids(plane)) == 4
    began = [name for what, name in notes(site, "order") if what == "began"]
    ended = [name for what, name in notes(site, "order") if what == "ended"]
    assert (began[:2], {*began[2:]}) == (["etcd", "kube-apiserver"], MANAGERS)
    assert ({*ended[:2]}, ended[2:]) == (MANAGERS, ["kube-apiserver", "etcd"])


def test_one_that_ends_at_once_is_told_with_its_last_words(site: Site) -> None:
    with (
        opened(site, "broken", broken=("kube-apiserver",)) as plane,
        pytest.raises(ProviderError, match=r"kube-apiserver on port .* did not start: flags are wrong"),
    ):
        plane.start()


def test_an_api_server_that_gave_up_by_itself_is_started_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(site, "gives-up") as plane:
        launch, given_up = plane.server.launch, iter((True, True, False))

        def busy() -> None:
            launch()
            if next(given_up):
                plane.server.stop()
                raise ProviderError("A hook took too long.")

        monkeypatch.setattr(plane.server, "launch", busy)
        plane.start()
        assert len(pids(plane)) == 4


def test_what_died_is_started_again_and_what_was_taken_down_is_not(site: Site) -> None:
    with opened(site, "kept") as plane:
        plane.start()
        scheduler = plane.components[-1]
        before = scheduler.pid()
        assert before is not None
        psutil.Process(before).kill()
        eventually(lambda: plane.keep() or scheduler.pid() not in (None, before))
        plane.set_down("kube-apiserver")
        plane.keep()
        assert plane.server.pid() is None
        assert plane.server.asked("/readyz") == (0, b"")
        plane.set_down("kube-apiserver", down=False)
        assert plane.server.asked("/readyz")[0] == 200
        with pytest.raises(RefusedError, match=r"no component 'etcdd'.*It has etcd, kube-apiserver, "):
            plane.set_down("etcdd")


def test_how_long_a_silent_node_is_waited_for_is_told_to_whoever_waits(site: Site) -> None:
    usual, short = (open_cluster(site, programs(site.directory / "timed-programs"), "timed", t) for t in (USUAL, SHORT))

    def told(plane: ControlPlane, *names: str) -> list[str]:
        return [flag for one in plane.components for flag in one.command() if flag.split("=")[0].strip("-") in names]

    grace, tolerations = ("node-monitor-grace-period", "node-monitor-period"), "default-unreachable-toleration-seconds"
    assert told(usual, *grace) == ["--node-monitor-grace-period=40s", "--node-monitor-period=5s"]
    assert told(usual, tolerations) == [f"--{tolerations}=300"]
    assert told(short, *grace) == ["--node-monitor-grace-period=6s", "--node-monitor-period=1.5s"]
    assert told(short, tolerations) == [f"--{tolerations}=4"]


def test_what_a_killed_daemon_left_is_found_by_its_files_and_ended(site: Site) -> None:
    with opened(site, "stray") as plane:
        plane.start()
        found = [psutil.Process(pid) for pid in pids(plane)]
        assert len(found) == 4
        end_strays(site.directory)
        assert not [one for one in found if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_a_users_kubeconfig_holds_all_that_reaches_the_api_and_nobody_else_reads_it(site: Site, tmp_path: Path) -> None:
    with opened(site, "users") as plane:
        plane.start()
        path = plane.user("system:node:gpu-1", "system:nodes", site.directory / "gpu-1.kubeconfig")
        for one in (path, plane.kubeconfig):
            assert stat.S_IMODE(one.stat().st_mode) == 0o600
            assert stat.S_IMODE(plane.directory.stat().st_mode) == 0o700
            document = yaml.safe_load(one.read_text())
            assert document["current-context"] == "users"
            assert document["clusters"][0]["cluster"]["server"] == plane.server.url
        # Without a certificate nobody gets in.
        with (
            urllib3.PoolManager(ca_certs=str(plane.directory / "authority" / "ca.pem")) as pool,
            pytest.raises(urllib3.exceptions.HTTPError),
        ):
            pool.request("GET", f"{plane.server.url}/readyz", retries=False, timeout=5)


def test_every_certificate_has_a_name_without_which_the_real_programs_take_none(site: Site) -> None:
    with opened(site, "papers") as plane:
        files = [path for path in plane.directory.glob("*authority/*.pem") if path.name != "ca.pem"]
        assert len(files) >= 8
        for path in files:
            found = x509.load_pem_x509_certificate(path.read_bytes())
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert list(names), path


class Sleeper(Companion):
    """Its configuration does not stand in its command line, as of any process right after it was started."""

    title = "sleep"
    configuration = Path("/nowhere")

    def command(self) -> list[str]:
        return [str(self._program.path), "60"]


def test_one_is_known_by_whoever_started_it_before_its_command_line_is_there(site: Site) -> None:
    directory = site.make_directory(site.directory / "sleeper")
    sleeper, other = (Sleeper(site, Program(Path("/bin/sleep"), ""), directory, 1) for _ in range(2))
    sleeper.begin()
    pid = sleeper.pid()
    assert pid is not None
    assert other.pid() is None
    sleeper.stop()
    assert not psutil.pid_exists(pid)
    assert sleeper.pid() is None


def test_two_clusters_of_one_lab_share_nothing(site: Site) -> None:
    with opened(site, "one") as one, opened(site, "two") as two:
        assert not {part.port for part in one.components} & {part.port for part in two.components}
        authorities = [(plane.directory / "authority" / "ca.pem").read_bytes() for plane in (one, two)]
        assert authorities[0] != authorities[1]
        assert one.directory.parent == two.directory.parent == site.directory / FOLDER


def test_a_lab_begins_its_cluster_beside_what_else_it_makes_and_ends_it_also_meanwhile(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "find", lambda: programs(site.directory / "lab-programs"))
    cluster = Cluster(site)
    cluster.begin()
    cluster.stop()
    strays = [one for one in psutil.process_iter(["cmdline"]) if f"{site.directory}/{FOLDER}/lab" in str(one.info)]
    assert strays == []
    assert cluster.address[1] == str(site.directory / FOLDER / "lab" / "kubeconfig")


def test_a_lab_whose_cluster_does_not_start_says_how_to_do_without(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = programs(site.directory / "broken-lab-programs", broken=("etcd",))
    monkeypatch.setattr(standing, "find", lambda: broken)
    cluster = Cluster(site)
    cluster.begin()
    with pytest.raises(ProviderError, match=r"etcd on port .* did not start: .*--without kubernetes"):
        cluster.await_start()
    cluster.stop()


def test_a_lab_without_the_programs_says_in_one_line_how_to_have_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setenv("XDG_CACHE_HOME", str(site.directory / "nowhere"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    cluster = Cluster(site)
    cluster.begin()
    cluster.await_start()
    assert cluster.address == ("", "")
    (sentence,) = cluster.absent
    assert "'dr lab install'" in sentence
    with pytest.raises(RefusedError, match="has no Kubernetes"):
        cluster.set_down("etcd")
    cluster.keep()
    cluster.stop()
