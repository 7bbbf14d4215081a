"""What is told of a table that could not be summed."""

from __future__ import annotations

import pytest
from psycopg import Error, errors

from dr.domain.looks import UNREADABLE, TableLook
from dr.drivers.postgres.connection import unreadable


@pytest.mark.parametrize(
    ("error", "damaged"),
    [
        (errors.DataCorrupted("missing chunk"), True),
        (errors.InternalError_("unexpected state"), True),
        (errors.UndefinedFile("could not open file"), True),
        (errors.IoError("could not read block"), True),
        (errors.LockNotAvailable("lock timeout"), False),
        (errors.QueryCanceled("statement timeout"), False),
        (errors.SerializationFailure("conflict with recovery"), False),
        (errors.InsufficientPrivilege("permission denied"), False),
        (errors.DiskFull("no space for a temporary file"), False),
        (Error("no state at all"), False),
    ],
)
def test_only_damage_is_called_damage(error: Error, damaged: bool) -> None:
    assert TableLook(UNREADABLE + unreadable(error)).damaged is damaged
