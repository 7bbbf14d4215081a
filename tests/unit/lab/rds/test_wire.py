"""The lab's answers are written as moto would write them."""

from __future__ import annotations

import xmltodict

from dr.lab.rds.wire import xml


def test_answers_are_written_as_moto_writes_them() -> None:
    answer = {
        "@xmlns": "http://rds/?a=\"1\"&b='2'",
        "Plain": ["a < b & c > d", 'it\'s "quoted"', ""],
        "Nothing": {},
        "Number": 5,
        "Text": "é,\n\tand on",
        "Tags": {"Tag": [{"Key": "k", "Value": "v"}, {"Key": "@", "@kind": "own"}]},
    }
    document = {"DescribeResponse": answer}
    assert xml(document) == xmltodict.unparse(document, full_document=False, short_empty_elements=True)
