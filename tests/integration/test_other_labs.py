"""Labs that are not the usual one: on the wheel's PostgreSQL, and holding somebody's own data."""

from __future__ import annotations

import subprocess
from pathlib import Path

from dr.config.secrets import secret
from tests.integration.test_restore import SOURCE, statuses
from tests.labs import Lab, lab_up


def test_a_drill_is_met_on_the_wheels_postgresql_and_asks_nothing_of_indexes() -> None:
    """The wheel lacks amcheck, so that its indexes cannot be checked: that is said, and not asked or called met."""
    with lab_up("--single", DR_LAB_POSTGRES="wheel") as lab:
        assert not lab.target.postgres.amcheck
        assert "indexes not examined" in lab.target.emulated
        verdict = lab.verdict("drill", "run", "rds-pitr", "--yes", code=0)
    assert "indexes" not in statuses(verdict)
    assert {"data", "loss", "golden", "latency"} <= set(statuses(verdict))


MASTERS = """\
CREATE EXTENSION IF NOT EXISTS pg_stat_statements WITH SCHEMA public;
COMMENT ON EXTENSION pg_stat_statements IS 'theirs';
CREATE EXTENSION IF NOT EXISTS postgres_fdw WITH SCHEMA public;
CREATE SERVER archive FOREIGN DATA WRAPPER postgres_fdw OPTIONS (
    host 'archive.example.com'
);
ALTER SERVER archive OWNER TO former_owner;
CREATE USER MAPPING FOR former_owner SERVER archive OPTIONS (
    "user" 'reader'
);
CREATE FOREIGN TABLE public.old_stays (id integer) SERVER archive;
CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE DEBUG 'it''s seen'; END$$;
CREATE TABLE public."Patient's notes" (id integer NOT NULL, "it's" text);
GRANT SELECT ON TABLE public."Patient's notes" TO rds_superuser;
COPY public."Patient's notes" (id, "it's") FROM stdin;
1\tnote
\\.
ALTER TABLE ONLY public."Patient's notes" ADD CONSTRAINT "Patient's notes_pkey" PRIMARY KEY (id);
ALTER TABLE public."Patient's notes" ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public."Patient's notes" FOR SELECT TO "an auditor's" USING ((id > 0));
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert, update, delete, truncate');
CREATE EVENT TRIGGER watch ON ddl_command_end
   EXECUTE FUNCTION public.watch();
"""


def test_a_dump_of_ones_own_with_what_rdss_master_may_load_is_drilled(lab: Lab, tmp_path: Path) -> None:
    """With whatever tables it holds, too."""
    dump = tmp_path / "own.sql"
    with lab.connect(SOURCE, lab.target.postgres.master) as connection:
        connection.execute("CREATE TABLE beds (ward text, bed int, PRIMARY KEY (ward, bed))")
        connection.execute("INSERT INTO beds SELECT 'W' || w, b FROM generate_series(1, 5) w, generate_series(1, 9) b")
    try:
        _dump(lab, dump)
    finally:
        with lab.connect(SOURCE, lab.target.postgres.master) as connection:
            connection.execute("DROP TABLE beds")
    with dump.open("a") as file:
        file.write(MASTERS)
    with lab_up("--single", "--load", str(dump)) as own:
        verdict = own.verdict("drill", "run", "rds-snapshot-restore", "--yes", code=0)
        with own.connect(SOURCE) as connection:
            assert connection.execute("SELECT count(*) FROM beds").fetchone() == (45,)
        assert '"public.beds"' in (own.home / "runs" / verdict["run"] / "observations.jsonl").read_text()
    assert set(statuses(verdict).values()) == {"met"}
    data = next(finding for finding in verdict["findings"] if finding["objective"] == "data")
    assert "rows proven" in data["because"]


def _dump(lab: Lab, into: Path) -> None:
    master = lab.target.postgres.master
    assert master is not None
    endpoint = lab.instances()[SOURCE]["Endpoint"]
    where = f"host={endpoint['Address']} port={endpoint['Port']} dbname={lab.target.postgres.name} user={master.user}"
    subprocess.run(
        ["pg_dump", f"--file={into}", where],
        env={**lab.env, "PGPASSWORD": secret(master.secret), "PGSSLMODE": "require"},
        check=True,
    )
