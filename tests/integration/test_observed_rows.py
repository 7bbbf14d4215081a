"""Which rows a real server holds, and what a write comes to at one that was the primary before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Observation
from dr.drivers.postgres.servers import attempt_write, read_markers
from dr.evidence.shapes import misfit
from tests.servers import LocalServer, local_server, physical_copy
from tests.support import eventually

TABLE = "markers_writes_20261124"
MADE = (
    f"create table dr.{TABLE} (n bigint, attempt smallint, sent_at timestamptz not null, primary key (n, attempt));"
    f" alter table dr.{TABLE} owner to dr_harness"
)


@pytest.fixture(scope="module")
def new() -> Iterator[LocalServer]:
    """The primary that took over: writes 0 to 9 and 12, and 12 once more by its repetition."""
    with local_server() as server:
        with server.superuser() as connection:
            connection.execute(MADE)
            connection.execute(f"insert into dr.{TABLE} select n, 0, now() from generate_series(0, 9) n")
            connection.execute(f"insert into dr.{TABLE} values (12, 0, now()), (12, 1, now())")
        yield server


@pytest.fixture
def old(new: LocalServer) -> Iterator[LocalServer]:
    with physical_copy(new) as server:
        yield server


def attempt(old: LocalServer, new: LocalServer) -> dict[str, object]:
    value = attempt_write(old.address, new.address, new.database(), TABLE)
    assert misfit(Observation("old-primary", "source", value)) == ""
    return value


def rewritten(server: LocalServer, settings: str) -> None:
    """Start it anew with ``settings``."""
    server.stop("immediate")
    with (server.data / "postgresql.conf").open("a") as file:
        file.write(settings)
    server.start()


def test_rows_are_read_as_ranges_of_each_attempt(new: LocalServer) -> None:
    found = read_markers(new.address, new.database(), TABLE)
    assert found == {"table": True, "present": {"0": [[0, 9], [12, 12]], "1": [[12, 12]]}}


def test_a_table_that_did_not_arrive_holds_nothing(new: LocalServer) -> None:
    assert read_markers(new.address, new.database(), "markers_nowhere") == {"table": False, "present": {}}


def test_an_old_primary_that_takes_a_write_is_told_with_the_row_it_took(old: LocalServer, new: LocalServer) -> None:
    accepted = {"outcome": "accepted", "rows": [f"dr.{TABLE} n=-1"]}
    assert attempt(old, new) == accepted
    assert attempt(old, new) == accepted
    with old.superuser() as connection:
        assert connection.execute(f"select count(*) from dr.{TABLE} where n = -1").fetchone() == (1,)
    assert read_markers(new.address, new.database(), TABLE)["present"]["0"][0] == [0, 9]


def test_a_write_that_waits_for_a_standby_that_is_gone_was_taken(old: LocalServer, new: LocalServer) -> None:
    rewritten(old, "synchronous_standby_names = 'gone'\n")
    assert attempt(old, new)["outcome"] == "accepted"


def test_an_old_primary_that_is_read_only_says_so(old: LocalServer, new: LocalServer) -> None:
    rewritten(old, "default_transaction_read_only = on\n")
    assert attempt(old, new) == {"outcome": "read-only"}


def test_an_old_primary_that_became_a_hidden_standby_refuses(old: LocalServer, new: LocalServer) -> None:
    old.stop("immediate")
    (old.data / "standby.signal").touch()
    with (old.data / "postgresql.conf").open("a") as file:
        file.write("hot_standby = off\n")
    # pg_ctl waits for what never comes: such a server takes no session
    old.run("pg_ctl", "-D", old.data, "-l", old.log_file, "-W", "start")
    if old.front:
        old.front.start()
    assert eventually(lambda: answered(old, new), 20) == {"outcome": "refused"}


def answered(old: LocalServer, new: LocalServer) -> dict[str, object] | None:
    """What an attempt comes to, once the old primary has started."""
    try:
        found = attempt(old, new)
    except ProviderError:
        return None
    return found if found["outcome"] != "unreachable" else None


def test_an_old_primary_that_has_no_room_now_refuses_nothing_and_is_asked_again(
    old: LocalServer, new: LocalServer
) -> None:
    rewritten(old, "max_connections = 5\nsuperuser_reserved_connections = 1\nmax_wal_senders = 0\n")
    with old.superuser() as first, old.superuser() as second, old.superuser() as third, old.superuser() as fourth:
        assert all((first, second, third, fourth))
        with pytest.raises(ProviderError, match="takes no write now") as caught:
            attempt(old, new)
        assert caught.value.transient
    assert eventually(lambda: answered(old, new), 20)["outcome"] == "accepted"


def test_an_old_primary_that_does_not_listen_is_unreachable(old: LocalServer, new: LocalServer) -> None:
    old.stop("immediate")
    try:
        assert attempt(old, new) == {"outcome": "unreachable"}
    finally:
        old.start()


def test_the_new_primary_is_not_taken_for_the_old_one(new: LocalServer) -> None:
    with pytest.raises(RefusedError, match="is the new one"):
        attempt(new, new)


def test_a_write_whose_end_is_not_known_proves_nothing(old: LocalServer, new: LocalServer) -> None:
    with old.superuser() as connection:
        connection.execute(f"drop table dr.{TABLE}")
    with pytest.raises(RefusedError, match="What became of a write at the old primary"):
        attempt(old, new)


def test_without_the_new_primary_nothing_can_be_told(old: LocalServer, new: LocalServer) -> None:
    old.stop("immediate")
    try:
        with pytest.raises(ProviderError, match="cannot be reached"):
            attempt_write(new.address, old.address, new.database(), TABLE)
    finally:
        old.start()
