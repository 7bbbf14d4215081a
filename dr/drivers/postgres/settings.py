"""Settings as they act on the copy and on its source: which may differ, and why. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from dr.config.plugins import plugins

OF_ITS_PLACE = re.compile(
    r"port|listen_addresses|unix_socket_.*|bonjour.*|cluster_name|data_directory(_mode)?|config_file|hba_file|ident_file"
    r"|external_pid_file|event_source|log_(directory|filename|file_mode)|syslog_.*|stats_temp_directory|ssl_.*(file|dir)"
    r"|krb_server_keyfile|dynamic_library_path|temp_tablespaces|primary_.*|restore_command|recovery_.*"
    r"|archive_(mode|command|library|cleanup_command)|promote_trigger_file|hot_standby.*|in_hot_standby"
    r"|synchronous_standby_names|server_version.*"
    r"|application_name|transaction_(isolation|read_only|deferrable)"
)
"""Where it is, how it got there, whom it copies to, and what its engine's version has: never compared. Its version and
its being Multi-AZ are the provider's, which compares them."""
OF_ITS_SIZE = re.compile(
    r"shared_buffers|effective_cache_size|max_connections|(maintenance|autovacuum)_work_mem|autovacuum_max_workers"
    r"|max_(worker_processes|parallel_.*|wal_size)|min_wal_size|huge_page.*|shared_memory_size.*|wal_buffers"
)
"""What a provider sets by the size of the server, unless somebody does: these may differ where that does, and are
named."""


class Compared(NamedTuple):
    """``wrong``: by name, what is the matter. ``unknown``: the same of those that the source changed meanwhile.
    ``sized``: names of those that may differ, and do. ``same``: how many are as on the source."""

    wrong: Mapping[str, str]
    unknown: Mapping[str, str]
    sized: tuple[str, ...]
    same: int


def compared(copy: Mapping[str, str], *source: Mapping[str, str], one_size: bool) -> Compared:
    """``source``: what was looked at there, before and afterwards: as it was at either time is right. One that changed
    there may have been any other in between. ``one_size``: both servers are known to be of the same size."""
    wrong, unknown, sized, same = {}, {}, [], 0
    kept = {name for one in plugins().values() for name in one.keeps}
    for name, here in sorted(copy.items()):
        there = [settings[name] for settings in source if name in settings]
        if not there or OF_ITS_PLACE.fullmatch(name) or name in kept:
            continue
        if here in there:
            same += 1
        elif OF_ITS_SIZE.fullmatch(name) and not one_size:
            sized.append(name)
        elif len({*there}) > 1:
            theirs = " and ".join(one or "nothing" for one in there)
            unknown[name] = f"{here or 'nothing'}, where the source changed it meanwhile: {theirs}"
        else:
            wrong[name] = f"{here or 'nothing'} instead of {there[-1] or 'nothing'}"
    return Compared(wrong, unknown, tuple(sized), same)
