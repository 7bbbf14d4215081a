"""The files of the lab's PgBouncer and Prometheus, and the platform's alert rules."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dr.domain.errors import RefusedError
from dr.lab.beside import pgbouncer, prometheus
from dr.lab.beside.pgbouncer import Entry

RULES = Path(prometheus.__file__).with_name("rules.yaml")


def test_a_poolers_entries_are_read_as_they_were_written() -> None:
    entries = {
        "readmission": Entry("127.0.0.1", 5432, "readmission"),
        "readmission_ro_1": Entry("db.local", 1, "other"),
    }
    text = pgbouncer.render(entries, {"listen_port": "6432"})
    assert pgbouncer.parse(text) == entries
    assert text.endswith("[pgbouncer]\nlisten_port = 6432\n")


@pytest.mark.parametrize("host", ["", "a b", "a,b", "a\nb", "a port=1"])
def test_an_entry_that_would_say_more_than_a_place_is_refused(host: str) -> None:
    with pytest.raises(RefusedError, match="cannot be led there"):
        pgbouncer.render({"readmission": Entry(host, 5432, "readmission")}, {})


def test_a_password_of_any_kind_stands_whole_in_the_user_list() -> None:
    assert pgbouncer.userlist({"api": 'it\'s a "secret" \\ of 9%'}) == '"api" "it\'s a ""secret"" \\ of 9%"\n'


def test_prometheus_scrapes_the_service_and_evaluates_the_rules() -> None:
    found = yaml.safe_load(prometheus.render("http://127.0.0.1:8000", Path("/lab/rules.yaml")))
    assert found["scrape_configs"] == [
        {"job_name": "readmission-api", "static_configs": [{"targets": ["127.0.0.1:8000"]}]}
    ]
    assert found["rule_files"] == ["/lab/rules.yaml"]


def test_the_platforms_alert_rules_stand_word_for_word() -> None:
    (platform, *_) = yaml.safe_load(RULES.read_text())["groups"]
    assert platform == {
        "name": "readmission",
        "rules": [
            {
                "alert": "HighErrorRate",
                "expr": "sum(rate(readmission_api_request_errors_total[5m]))"
                " / sum(rate(readmission_api_requests_total[5m])) > 0.01",
                "for": "5m",
                "labels": {"severity": "critical"},
                "annotations": {
                    "summary": "High error rate on API requests",
                    "description": "Error rate is above 1% for more than 5 minutes",
                },
            },
            {
                "alert": "SlowAPIResponse",
                "expr": "histogram_quantile(0.95,"
                " sum(rate(readmission_api_request_duration_seconds_bucket[5m])) by (le)) > 1",
                "for": "5m",
                "labels": {"severity": "warning"},
                "annotations": {
                    "summary": "Slow API response time",
                    "description": "95th percentile of API response time is above 1 second for more than 5 minutes",
                },
            },
        ],
    }
