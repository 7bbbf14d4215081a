"""Settings as they act: which have to be the source's, which may differ, and which are not looked at."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from dr.drivers.postgres import settings
from dr.drivers.postgres.settings import Compared

OF_ITS_PLACE = (
    *("port", "listen_addresses", "unix_socket_group", "bonjour", "bonjour_name", "cluster_name", "data_directory"),
    *("data_directory_mode", "config_file", "hba_file", "ident_file", "external_pid_file", "event_source"),
    *("log_directory", "log_filename", "log_file_mode", "syslog_ident", "stats_temp_directory", "ssl_cert_file"),
    *("ssl_crl_dir", "krb_server_keyfile", "dynamic_library_path", "temp_tablespaces", "primary_conninfo"),
    *("restore_command", "archive_mode", "recovery_target_time", "promote_trigger_file", "hot_standby"),
    *("hot_standby_feedback", "in_hot_standby", "synchronous_standby_names", "server_version", "server_version_num"),
    *("archive_command", "archive_library", "archive_cleanup_command"),
    *("rds.extensions", "rds.superuser_variables", "application_name", "transaction_isolation"),
)
OF_ITS_SIZE = (
    *("shared_buffers", "effective_cache_size", "max_connections", "maintenance_work_mem", "autovacuum_work_mem"),
    *("autovacuum_max_workers", "max_worker_processes", "max_parallel_workers", "max_wal_size", "min_wal_size"),
    *("huge_pages", "huge_page_size", "shared_memory_size", "shared_memory_size_in_huge_pages", "wal_buffers"),
)
ITS_OWN = (
    *("archive_timeout", "rds.force_ssl", "rds.logical_replication"),
    *("fsync", "work_mem", "log_statement", "ssl", "ssl_ciphers", "max_wal_senders", "default_transaction_isolation"),
    *(
        "checkpoint_timeout",
        "track_wal_io_timing",
        "synchronous_commit",
        "shared_preload_libraries",
        "hash_mem_multiplier",
    ),
)


def compared(copy: Mapping[str, str], *source: Mapping[str, str], one_size: bool = False) -> Compared:
    return settings.compared(copy, *source, one_size=one_size)


@pytest.mark.parametrize("name", OF_ITS_PLACE)
def test_a_setting_of_its_place_is_left_out(name: str) -> None:
    assert compared({name: "1"}, {name: "1"}) == compared({name: "1"}, {name: "2"}) == ({}, {}, (), 0)


@pytest.mark.parametrize("name", OF_ITS_SIZE)
def test_a_setting_of_its_size_may_differ_and_is_named(name: str) -> None:
    assert compared({name: "1"}, {name: "2"}) == ({}, {}, (name,), 0)
    assert compared({name: "1"}, {name: "1"}) == ({}, {}, (), 1)


@pytest.mark.parametrize("name", OF_ITS_SIZE)
def test_a_setting_of_its_size_has_to_be_the_sources_on_an_instance_of_its_class(name: str) -> None:
    wrong = {name: "20 instead of 100"}
    assert compared({name: "20"}, {name: "100"}, {name: "100"}, one_size=True) == (wrong, {}, (), 0)


@pytest.mark.parametrize("name", ITS_OWN)
def test_any_other_setting_has_to_be_the_sources(name: str) -> None:
    assert compared({name: "1"}, {name: "2"}) == ({name: "1 instead of 2"}, {}, (), 0)


def test_a_setting_that_is_left_out_hides_no_other() -> None:
    here, there = {"a": "1", "port": "1", "z": "1"}, {"port": "2", "z": "2"}
    assert compared(here, there) == ({"z": "1 instead of 2"}, {}, (), 0)


def test_a_setting_is_right_as_it_was_at_either_look() -> None:
    found = compared({"work_mem": "2"}, {"work_mem": "2"}, {"work_mem": "3"})
    assert (dict(found.wrong), found.same) == ({}, 1)
    assert compared({"work_mem": "4"}, {"work_mem": "3"}, {"work_mem": "3"}).wrong == {"work_mem": "4 instead of 3"}
    assert compared({"of_one_side": "4"}, {}).same == 0


def test_a_setting_that_the_source_changed_may_have_been_any_other_meanwhile() -> None:
    found = compared({"work_mem": "4", "z": "1"}, {"work_mem": "2", "z": "2"}, {"work_mem": "", "z": "2"})
    assert found.unknown == {"work_mem": "4, where the source changed it meanwhile: 2 and nothing"}
    assert found.wrong == {"z": "1 instead of 2"}
    assert compared({"a": ""}, {"a": "1"}, {"a": "2"}).unknown["a"].startswith("nothing, where")


def test_a_setting_that_is_nothing_on_one_side_is_called_so() -> None:
    found = compared({"a": "", "b": "on"}, {"a": "on", "b": ""})
    assert found.wrong == {"a": "nothing instead of on", "b": "on instead of nothing"}
