from __future__ import annotations

from dr.domain.databases import joined
from dr.domain.looks import NOWHERE, Look


def look(**left_out: str) -> Look:
    return Look(0.0, 15, "1:1:", {}, {}, {}, left_out)


def test_a_table_that_dr_yaml_names_is_nowhere_only_where_no_database_has_it() -> None:
    main = look(here="dr.yaml excludes it", there=NOWHERE, typo=NOWHERE)
    found = joined(main, "other", look(here=NOWHERE, there="dr.yaml excludes it", typo=NOWHERE))
    assert found.left_out == {
        "here": "dr.yaml excludes it",
        "other: there": "dr.yaml excludes it",
        "typo": NOWHERE,
    }
