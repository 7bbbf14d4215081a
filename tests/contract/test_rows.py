"""The contract suites run over every plugin: one without its row fails here, and is named."""

from __future__ import annotations

from dr.config.plugins import plugins
from tests.contract.rows import DRIVERS
from tests.contract.test_undo import MADE

EXAMPLE = "kv"
"""Not found in dr/drivers, but loaded by its row."""


def test_every_plugin_that_is_made_has_its_row_in_the_providers_suite() -> None:
    made = {name for name, plugin in plugins().items() if plugin.make is not None}
    assert made - set(DRIVERS) == set(), "these lack a row in tests/contract/rows.py"
    assert set(DRIVERS) - {EXAMPLE} <= made, "these rows are of no plugin"


def test_every_plugin_that_restores_has_its_row_in_the_suite_of_undoing() -> None:
    restores = {name for name, plugin in plugins().items() if plugin.restores}
    rows = {row.partition(",")[0] for row in MADE}
    assert restores - rows == set(), "these lack a row in tests/contract/test_undo.py"
    assert rows - {EXAMPLE} <= restores, "these rows are of no plugin that restores"
