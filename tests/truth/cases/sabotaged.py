"""Recoveries that are bad: missed, by the demand that looks at what is wrong, and by its name."""

from __future__ import annotations

from functools import partial

from tests.truth.cases.healthy import BILLED, BILLING, MORE, PREPARED
from tests.truth.table import Case, Drill, Truth

sabotaged = partial(Case, truth=Truth.SABOTAGED)
UNCHECKED = "SET session_replication_role = replica; "
WRITTEN = ("INSERT INTO truth.stays (ward, note) SELECT 1 + n % 20, 'late ' || n FROM generate_series(1, 80) n",)
LATE = "note = 'late 7'"
LATE_CHANGED = ("UPDATE truth.stays SET note = 'changed ' || id WHERE id <= 40",)


def in_copy(name: str, act: str, tells: str = "data", says: str = "", **more: object) -> Case:
    """What is done to the copy between its restore and its examination."""
    return sabotaged(name=name, copy=(act,), tells=tells, says=says, **more)  # type: ignore[arg-type]


ROWS = (
    in_copy("sabotaged-row-altered", "UPDATE truth.stays SET note = 'forged' WHERE id = 5", says="stays", quick=True),
    in_copy("row-deleted", "DELETE FROM truth.stays WHERE id = 5", says="stays"),
    in_copy("row-doubled", "INSERT INTO truth.loose SELECT * FROM truth.loose WHERE a = 1 LIMIT 1", says="loose"),
    in_copy("row-forged", "INSERT INTO truth.stays (id, ward, note) VALUES (77777, 1, 'forged')", says="stays"),
    in_copy(
        "row-exchanged",
        "DELETE FROM truth.queue WHERE id = 5; INSERT INTO truth.queue VALUES (500, 'other')",
        says="queue",
    ),
    in_copy(
        "late-row-altered", f"UPDATE truth.stays SET ward = 3 WHERE {LATE}", says="stays", looked=WRITTEN, quick=True
    ),
    in_copy("late-row-deleted", f"DELETE FROM truth.stays WHERE {LATE}", says="stays", looked=WRITTEN),
    in_copy(
        "late-row-doubled",
        f"INSERT INTO truth.stays (ward, note) SELECT ward, note || ' again' FROM truth.stays WHERE {LATE}",
        says="stays",
        looked=WRITTEN,
    ),
    in_copy(
        "late-row-forged", "INSERT INTO truth.stays (ward, note) VALUES (2, 'late 81')", says="stays", looked=WRITTEN
    ),
    in_copy(
        "late-row-exchanged",
        f"DELETE FROM truth.stays WHERE {LATE}; INSERT INTO truth.stays (ward, note) VALUES (2, 'late 81')",
        says="stays",
        looked=WRITTEN,
    ),
    in_copy("late-rows-all-deleted", "DELETE FROM truth.stays WHERE note LIKE 'late%'", says="stays", looked=WRITTEN),
    in_copy(
        "changed-row-altered", "UPDATE truth.stays SET note = 'forged' WHERE id = 9", says="stays", looked=LATE_CHANGED
    ),
    in_copy("changed-row-deleted", "DELETE FROM truth.stays WHERE id = 9", says="stays", looked=LATE_CHANGED),
    in_copy(
        "changed-row-set-back", "UPDATE truth.stays SET note = md5('9') WHERE id = 9", says="stays", looked=LATE_CHANGED
    ),
    in_copy(
        "row-changed-later-altered",
        "UPDATE truth.stays SET note = 'forged' WHERE id = 9",
        says="stays",
        passed=LATE_CHANGED,
    ),
    in_copy(
        "row-deleted-later-altered",
        "UPDATE truth.stays SET note = 'forged' WHERE id = 9",
        says="stays",
        passed=("DELETE FROM truth.stays WHERE id = 9",),
    ),
    in_copy(
        "row-of-a-drained-queue-deleted",
        "DELETE FROM truth.queue WHERE id = 9",
        says="queue",
        passed=("DELETE FROM truth.queue",),
    ),
    in_copy(
        "row-deleted-in-a-busy-table",
        "DELETE FROM truth.stays WHERE id = 9",
        says="stays",
        looked=(MORE,),
        passed=("UPDATE truth.stays SET paid = 0 WHERE id BETWEEN 20 AND 80",),
    ),
    sabotaged(
        name="row-altered-and-frozen",
        tells="data",
        says="stays",
        copy=("UPDATE truth.stays SET note = 'forged' WHERE id = 5", "VACUUM FREEZE truth.stays"),
    ),
    sabotaged(
        name="late-row-altered-and-frozen",
        looked=WRITTEN,
        tells="data",
        says="stays",
        copy=(f"UPDATE truth.stays SET ward = 3 WHERE {LATE}", "VACUUM FREEZE truth.stays"),
    ),
    sabotaged(
        name="row-altered-and-table-rewritten",
        tells="data",
        says="stays",
        copy=("UPDATE truth.stays SET note = 'forged' WHERE id = 5", "VACUUM FULL truth.stays"),
    ),
    in_copy("zero-for-minus-zero", "UPDATE truth.loose SET a = 0 WHERE a = 0 AND b = ''", says="loose"),
    in_copy("empty-for-null", "UPDATE truth.loose SET b = '' WHERE a = 0 AND b IS NULL", says="loose"),
    in_copy("scale-of-a-number", "UPDATE truth.stays SET paid = paid * 1.0000 WHERE id = 8", says="stays"),
    in_copy(
        "key-in-a-document", "UPDATE truth.stays SET details = details || '{\"m\": null}' WHERE id = 8", says="stays"
    ),
    in_copy(
        "instant-by-a-microsecond",
        "UPDATE truth.stays SET at = at + interval '1 microsecond' WHERE id = 8",
        says="stays",
    ),
    in_copy(
        "letter-in-toast",
        "UPDATE truth.letters SET body = overlay(body PLACING 'x' FROM 4000) WHERE id = 4",
        says="letters",
    ),
    in_copy("columns-exchanged", "UPDATE truth.years_old SET v = 'v' || (y - 1999)", says="years"),
    in_copy("partition-emptied", "TRUNCATE truth.years_old", says="years_old"),
    in_copy("table-emptied", "TRUNCATE truth.letters", says="letters"),
    in_copy(
        "table-emptied-of-rows-changed-later",
        "TRUNCATE truth.stays RESTART IDENTITY",
        says="stays: 400 rows emptied on the copy",
        passed=("UPDATE truth.stays SET paid = 0",),
    ),
    sabotaged(
        name="rows-changed-later-deleted-and-restarted",
        tells="data",
        says="stays: 40 rows written, altered or deleted on the copy",
        passed=LATE_CHANGED,
        copy=("DELETE FROM truth.stays WHERE id <= 40", "!reboot"),
    ),
    sabotaged(
        name="rows-changed-later-deleted-and-statistics-reset",
        expect="inconclusive",
        tells="data",
        says="40 [(].* and nobody can know them",
        passed=LATE_CHANGED,
        copy=("DELETE FROM truth.stays WHERE id <= 40", "SELECT pg_stat_reset()"),
        config={"objectives": {"unproven": 0.001}},
    ),
    sabotaged(
        name="queue-drained-later-emptied-and-vacuumed",
        expect="inconclusive",
        tells="data",
        says="queue",
        passed=("DELETE FROM truth.queue",),
        copy=("TRUNCATE truth.queue", "VACUUM truth.queue"),
    ),
    *(
        sabotaged(
            name=f"{what}-lost-of-what-changed-later",
            expect="inconclusive",
            tells=tells,
            says=says,
            passed=(later,),
            copy=(act,),
        )
        for what, later, act, tells, says in (
            (
                "storage",
                "UPDATE truth.stays SET paid = 0",
                "!lose truth.stays",
                "data",
                "truth.stays: its file lacks pages",
            ),
            (
                "file",
                "DELETE FROM truth.queue",
                "!lose truth.queue",
                "data",
                "truth.queue: its file lacks pages",
            ),
            (
                "large-object",
                "SELECT lo_put(424242, 3, 'later')",
                "SELECT lo_unlink(424242)",
                "state",
                "Nobody can know 1 large object",
            ),
        )
    ),
    *(
        sabotaged(
            name=f"{what}-later-deleted-uncounted",
            expect="inconclusive",
            tells="data",
            says=f"{says} of the look before went .* to which more transactions have written",
            passed=(later,),
            copy=(f"SET track_counts = off; {act}",),
        )
        for what, later, act, says in (
            ("rows-changed", LATE_CHANGED[0], "DELETE FROM truth.stays WHERE id <= 40", "stays: 40 rows"),
            ("queue-drained", "DELETE FROM truth.queue", "DELETE FROM truth.queue", "queue: 60 rows"),
        )
    ),
    in_copy("queue-drained-later-emptied", "TRUNCATE truth.queue", says="queue", passed=("DELETE FROM truth.queue",)),
    in_copy("table-dropped", "DROP TABLE truth.letters", "data|schema", "letters"),
    in_copy(
        "table-made-anew",
        "CREATE TABLE truth.q2 AS TABLE truth.queue; DROP TABLE truth.queue; ALTER TABLE truth.q2 RENAME TO queue",
        "schema|data",
        "queue",
    ),
    in_copy(
        "table-of-ones-own-beside-the-harnesss-altered",
        "UPDATE dr.truth_own SET v = 'forged' WHERE id = 2",
        says="dr.truth_own",
        before=(
            "CREATE SCHEMA IF NOT EXISTS dr AUTHORIZATION dr_harness; CREATE TABLE dr.truth_own (id int PRIMARY KEY, v text);"
            " INSERT INTO dr.truth_own SELECT n, 'v' FROM generate_series(1, 9) n",
        ),
        after=("DROP SCHEMA dr CASCADE",),
    ),
    in_copy("table-forged", "CREATE TABLE truth.forged AS SELECT 1 AS id", "schema|data", "forged"),
    in_copy("view-emptied", "REFRESH MATERIALIZED VIEW truth.busy WITH NO DATA", "data|schema", "busy"),
    sabotaged(
        name="view-stale",
        tells="data",
        says="busy",
        copy=(
            f"{UNCHECKED}CREATE TABLE truth.aside AS TABLE truth.stays; DELETE FROM truth.stays WHERE id < 99;"
            " REFRESH MATERIALIZED VIEW truth.busy; INSERT INTO truth.stays SELECT * FROM truth.aside WHERE id < 99;"
            " DROP TABLE truth.aside",
        ),
    ),
    in_copy(
        "patient-altered",
        "UPDATE patients SET demographics = '{}' WHERE patient_id = (SELECT max(patient_id) FROM patients)",
        says="patients",
    ),
    in_copy(
        "prediction-forged",
        "INSERT INTO predictions (patient_id, readmission_risk, model_version)"
        " SELECT patient_id, 0.5, '2.3.0' FROM patients LIMIT 1",
        says="predictions",
    ),
    in_copy("orphans", f"{UNCHECKED}DELETE FROM truth.wards WHERE id = 3", "foreign-keys", "stays_ward"),
    in_copy(
        "note-forged-beneath",
        "!forge truth.stays e4da3b7fbbce2345d7772b0674a318d5 f4da3b7fbbce2345d7772b0674a318d5",
        says="stays",
    ),
    in_copy("row-forged-beneath", "!forge truth.queue 'job 33' 'job 99'", says="queue"),
    in_copy("input-page-damaged", "!damage truth.stays 1", says="stays"),
    in_copy("first-page-damaged", "!damage truth.queue 0", says="queue"),
    in_copy("page-of-the-platform-damaged", "!damage admissions 5", says="admissions"),
    in_copy("toast-damaged", "!damage-toast truth.letters", says="letters"),
)

NEWEST = (
    *(
        in_copy(
            f"newest-row-{what}",
            act,
            says="stays",
            load=("INSERT INTO truth.stays (ward, note) VALUES (3, gen_random_uuid())",),
            rate=30,
        )
        for what, act in (
            ("altered", "UPDATE truth.stays SET ward = 4 WHERE id = (SELECT max(id) FROM truth.stays)"),
            ("deleted", "DELETE FROM truth.stays WHERE id = (SELECT max(id) FROM truth.stays)"),
            (
                "doubled",
                "INSERT INTO truth.stays (ward, note) SELECT ward, note || '.' FROM truth.stays ORDER BY id DESC LIMIT 1",
            ),
            ("forged", "INSERT INTO truth.stays (ward, note) VALUES (3, gen_random_uuid())"),
        )
    ),
)

DROPPED = tuple(
    sabotaged(name=f"{what}-altered-later-dropped", passed=(later,), copy=(act,), tells="schema|state|data", says=says)
    for what, later, act, says in (
        ("index", "ALTER INDEX truth.stays_at SET (fillfactor = 80)", "DROP INDEX truth.stays_at", "stays_at"),
        (
            "trigger",
            "ALTER TABLE truth.stays DISABLE TRIGGER stays_stamped",
            "DROP TRIGGER stays_stamped ON truth.stays",
            "stays_stamped",
        ),
        (
            "function",
            "CREATE OR REPLACE FUNCTION truth.dosage(n int) RETURNS int LANGUAGE sql AS $$ SELECT n * 3 $$",
            "DROP FUNCTION truth.dosage(int)",
            "dosage",
        ),
        ("view", "REFRESH MATERIALIZED VIEW truth.busy", "DROP MATERIALIZED VIEW truth.busy", "busy"),
        (
            "table",
            "TRUNCATE truth.queue; INSERT INTO truth.queue VALUES (1, 'new')",
            "DROP TABLE truth.queue",
            "queue: missing",
        ),
        ("sequence", "ALTER SEQUENCE truth.tickets CACHE 5", "DROP SEQUENCE truth.tickets", "tickets"),
        (
            "policy",
            "ALTER POLICY own ON truth.secrets USING (true)",
            "DROP POLICY own ON truth.secrets",
            "own on truth.secrets",
        ),
    )
)

DEFINITIONS = tuple(
    in_copy(name, act, tells, says)
    for name, act, tells, says in (
        ("index-dropped", "DROP INDEX truth.stays_at", "schema", "stays_at"),
        ("index-made", "CREATE INDEX forged ON truth.stays (ward)", "schema", "forged"),
        (
            "index-on-another-column",
            "DROP INDEX truth.stays_at; CREATE INDEX stays_at ON truth.stays (paid)",
            "schema",
            "stays_at",
        ),
        (
            "index-invalid",
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'truth.stays_at'::regclass",
            "schema|indexes",
            "stays_at",
        ),
        ("column-dropped", "ALTER TABLE truth.queue DROP job", "schema", "queue"),
        ("column-added", "ALTER TABLE truth.queue ADD forged int", "schema", "queue"),
        ("column-widened", "ALTER TABLE truth.queue ALTER id TYPE numeric", "schema", "queue"),
        ("column-nullable", "ALTER TABLE truth.wards ALTER name DROP NOT NULL", "schema", "wards"),
        ("default-changed", "ALTER TABLE truth.wards ALTER beds SET DEFAULT 9", "schema", "wards"),
        ("identity-gone", "ALTER TABLE truth.stays ALTER id DROP IDENTITY", "schema", "stays"),
        ("generated-no-more", "ALTER TABLE truth.orders ALTER twice DROP EXPRESSION", "schema", "orders"),
        ("storage-of-a-column", "ALTER TABLE truth.letters ALTER body SET STORAGE EXTENDED", "schema", "letters"),
        ("check-dropped", "ALTER TABLE truth.wards DROP CONSTRAINT wards_beds_check", "schema", "wards"),
        ("key-dropped", "ALTER TABLE truth.queue DROP CONSTRAINT queue_pkey", "schema", "queue"),
        ("unique-dropped", "ALTER TABLE truth.stays DROP CONSTRAINT stays_note_key", "schema", "stays"),
        ("foreign-key-dropped", "ALTER TABLE truth.stays DROP CONSTRAINT stays_ward_fkey", "schema", "stays"),
        (
            "foreign-key-not-valid",
            "UPDATE pg_constraint SET convalidated = false WHERE conname = 'stays_ward_fkey'",
            "schema",
            "stays",
        ),
        ("foreign-key-disabled", "ALTER TABLE truth.stays DISABLE TRIGGER ALL", "schema", "stays"),
        ("referenced-table-disabled", "ALTER TABLE truth.wards DISABLE TRIGGER ALL", "schema", "wards|stays"),
        ("trigger-disabled", "ALTER TABLE truth.stays DISABLE TRIGGER stays_stamped", "schema", "stays"),
        ("trigger-dropped", "DROP TRIGGER stays_stamped ON truth.stays", "schema", "stays_stamped"),
        (
            "trigger-on-replicas-alone",
            "ALTER TABLE truth.stays ENABLE REPLICA TRIGGER stays_stamped",
            "schema",
            "stays",
        ),
        (
            "function-replaced",
            "CREATE OR REPLACE FUNCTION truth.dosage(n int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT n * 20 $$",
            "schema",
            "dosage",
        ),
        ("function-as-its-owner", "ALTER FUNCTION truth.dosage(int) SECURITY DEFINER", "schema", "dosage"),
        ("function-set", "ALTER FUNCTION truth.dosage(int) SET search_path = public", "schema", "dosage"),
        ("function-dropped", "DROP FUNCTION truth.dosage(int)", "schema", "dosage"),
        (
            "view-replaced",
            "CREATE OR REPLACE VIEW truth.full_wards AS SELECT w.name FROM truth.wards w",
            "schema",
            "full_wards",
        ),
        ("view-option", "ALTER VIEW truth.full_wards SET (security_barrier = true)", "schema", "full_wards"),
        ("rule-on-a-view-dropped", "DROP RULE full_wards_kept ON truth.full_wards", "schema", "full_wards"),
        (
            "rule-disabled",
            "UPDATE pg_rewrite SET ev_enabled = 'D' WHERE rulename = 'full_wards_kept'",
            "schema",
            "full_wards",
        ),
        ("policy-dropped", "DROP POLICY own ON truth.secrets", "schema", "secrets"),
        ("policy-widened", "ALTER POLICY own ON truth.secrets USING (true)", "schema", "secrets"),
        ("row-security-off", "ALTER TABLE truth.secrets DISABLE ROW LEVEL SECURITY", "schema", "secrets"),
        ("row-security-forced", "ALTER TABLE truth.secrets FORCE ROW LEVEL SECURITY", "schema", "secrets"),
        ("event-trigger-disabled", "ALTER EVENT TRIGGER truth_watch DISABLE", "schema", "truth_watch"),
        ("event-trigger-dropped", "DROP EVENT TRIGGER truth_watch", "schema", "truth_watch"),
        ("publication-dropped", "DROP PUBLICATION truth_feed", "schema", "truth_feed"),
        ("publication-forged", "CREATE PUBLICATION truth_forged FOR TABLE truth.stays", "schema", "truth_forged"),
        ("publication-of-nothing", "ALTER PUBLICATION truth_feed DROP TABLE truth.stays", "schema", "truth_feed"),
        ("publication-of-inserts", "ALTER PUBLICATION truth_feed SET (publish = 'insert')", "schema", "truth_feed"),
        (
            "foreign-server-moved",
            "ALTER SERVER truth_remote OPTIONS (SET host 'other.example')",
            "schema",
            "truth_remote",
        ),
        ("foreign-server-dropped", "DROP SERVER truth_remote CASCADE", "schema", "truth_remote"),
        (
            "user-mapping-changed",
            "ALTER USER MAPPING FOR truth_reader SERVER truth_remote OPTIONS (SET user_name 'forged')",
            "schema",
            "truth_remote",
        ),
        ("user-mapping-dropped", "DROP USER MAPPING FOR truth_reader SERVER truth_remote", "schema", "truth_remote"),
        ("operator-dropped", "DROP OPERATOR truth.=== (int, int)", "schema", "==="),
        ("cast-dropped", "DROP CAST (truth.dose AS int)", "schema", "dose"),
        ("text-search-dropped", "DROP TEXT SEARCH CONFIGURATION truth.words", "schema", "words"),
        (
            "text-search-changed",
            "ALTER TEXT SEARCH CONFIGURATION truth.words DROP MAPPING FOR email",
            "schema",
            "words",
        ),
        ("statistics-dropped", "DROP STATISTICS truth.together", "schema", "together"),
        (
            "extension-of-another-version",
            "UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'amcheck'",
            "schema",
            "amcheck",
        ),
        ("extension-added", "CREATE EXTENSION citext SCHEMA truth", "schema", "citext"),
        ("label-added", "ALTER TYPE truth.urgency ADD VALUE 'most'", "schema", "urgency"),
        ("label-renamed", "ALTER TYPE truth.urgency RENAME VALUE 'high' TO 'higher'", "schema", "urgency"),
        ("domain-loosened", "ALTER DOMAIN truth.positive DROP CONSTRAINT positive_check", "schema", "positive"),
        ("type-attribute-added", "ALTER TYPE truth.dose ADD ATTRIBUTE note text CASCADE", "schema", "dose"),
        ("partition-detached", "ALTER TABLE truth.years DETACH PARTITION truth.years_old", "schema", "years"),
        ("table-option", "ALTER TABLE truth.stays SET (autovacuum_enabled = false)", "schema", "stays"),
        ("replica-identity", "ALTER TABLE truth.stays REPLICA IDENTITY FULL", "schema", "stays"),
        ("table-unlogged", "ALTER TABLE truth.queue SET UNLOGGED", "data|schema|state", "queue"),
        ("comment-changed", "COMMENT ON TABLE truth.stays IS 'forged'", "schema", "stays"),
        ("comment-forged", "COMMENT ON COLUMN truth.stays.note IS 'forged'", "schema", "comment on .*stays.note"),
        ("sequence-dropped", "DROP SEQUENCE truth.tickets", "schema|state|data", "tickets"),
        ("sequence-by-other-steps", "ALTER SEQUENCE truth.tickets INCREMENT 1", "schema|state", "tickets"),
        (
            "sequence-belongs-to-no-column",
            "ALTER SEQUENCE truth.serials_id_seq OWNED BY NONE",
            "schema|state",
            "serials",
        ),
        (
            "view-definition",
            "DROP MATERIALIZED VIEW truth.busy; CREATE MATERIALIZED VIEW truth.busy AS SELECT ward, count(*) AS n"
            " FROM truth.stays WHERE ward > 0 GROUP BY ward",
            "schema|data",
            "busy",
        ),
        ("owner-changed", "ALTER TABLE truth.wards OWNER TO rdsadmin", "schema", "wards"),
        ("owner-of-a-schema", "ALTER SCHEMA truth OWNER TO truth_owner", "schema", "truth"),
        ("privilege-gone", "REVOKE SELECT ON truth.stays FROM truth_reader", "schema", "stays"),
        ("privilege-given", "GRANT DELETE ON truth.stays TO PUBLIC", "schema", "stays"),
        ("privilege-on-a-column-gone", "REVOKE SELECT (name) ON truth.wards FROM truth_guest", "schema", "wards"),
        ("privilege-on-a-schema-gone", "REVOKE USAGE ON SCHEMA truth FROM truth_reader", "schema", "truth"),
        ("privilege-on-the-database", "GRANT CREATE ON DATABASE readmission TO truth_guest", "schema", "readmission"),
        (
            "default-privileges-gone",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA truth REVOKE SELECT ON TABLES FROM truth_reader",
            "schema",
            "",
        ),
        ("role-dropped", "DROP OWNED BY truth_guest; DROP ROLE truth_guest", "schema|logins", "truth_guest"),
        ("role-forged", "CREATE ROLE truth_forged SUPERUSER LOGIN", "schema|logins", "truth_forged"),
        ("role-raised", "ALTER ROLE truth_guest SUPERUSER", "schema|logins", "truth_guest"),
        ("role-with-another-password", "ALTER ROLE truth_guest PASSWORD 'another'", "schema", "truth_guest"),
        ("role-commented", "COMMENT ON ROLE truth_guest IS 'forged'", "schema", "truth_guest"),
        ("language-revoked", "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC", "schema", "language plpgsql"),
        ("type-of-the-system-revoked", "REVOKE USAGE ON TYPE int4 FROM PUBLIC", "schema", "type integer"),
        ("extension-altered", "ALTER FUNCTION plpgsql_call_handler() STRICT", "schema", "plpgsql_call_handler"),
        ("toast-options", "ALTER TABLE truth.letters SET (toast.autovacuum_enabled = off)", "schema", "letters"),
        ("role-may-not-log-in", "ALTER ROLE truth_reader NOLOGIN", "schema|logins", "truth_reader"),
        ("role-expires", "ALTER ROLE truth_reader VALID UNTIL '2026-01-01'", "schema|logins", "truth_reader"),
        ("role-for-ever", "ALTER ROLE truth_reader VALID UNTIL 'infinity'", "schema|logins", "truth_reader"),
        ("role-with-other-limit", "ALTER ROLE truth_reader CONNECTION LIMIT 0", "schema|logins", "truth_reader"),
        ("membership-gone", "REVOKE truth_reader FROM truth_owner", "schema|logins", "truth_"),
        ("password-of-the-service", "ALTER ROLE readmission_api PASSWORD 'forged'", "logins", "readmission_api"),
        (
            "service-may-not-connect",
            "REVOKE CONNECT ON DATABASE readmission FROM readmission_api",
            "logins",
            "readmission_api",
        ),
        ("service-expired", "ALTER ROLE readmission_api VALID UNTIL '2026-01-01'", "logins", "readmission_api"),
        (
            "sequence-set-back",
            "SELECT setval('truth.serials_id_seq', 1, false)",
            "state|schema|data",
            "serials_id_seq",
        ),
        (
            "sequence-behind-by-one",
            "SELECT setval('truth.serials_id_seq', 299)",
            "state|schema|data",
            "serials_id_seq",
        ),
        (
            "sequence-of-an-identity-set-back",
            "SELECT setval('truth.stays_id_seq', 7)",
            "state|schema|data",
            "stays_id_seq",
        ),
        (
            "sequence-of-its-own-set-back",
            "SELECT setval('truth.tickets', 1000, false)",
            "state|schema|data",
            "tickets",
        ),
        ("sequence-restarted", "ALTER SEQUENCE truth.tickets RESTART WITH 1000", "state", "tickets"),
        ("large-object-gone", "SELECT lo_unlink(424242)", "data|schema|state", "arge object"),
        ("large-object-altered", "SELECT lo_put(424242, 3, 'forged')", "data|schema|state", "arge object"),
        ("large-object-forged", "SELECT lo_from_bytea(525252, 'forged')", "data|schema|state", "arge object"),
        ("schema-dropped", "DROP SCHEMA truth CASCADE", "schema|data", "truth"),
        ("input-model-inactive", "UPDATE public.model_versions SET active = false", "model", ""),
        (
            "model-twice-active",
            "INSERT INTO model_versions SELECT '9.9', model_type, training_date, performance_metrics,"
            " fairness_metrics, true FROM model_versions LIMIT 1",
            "model",
            "",
        ),
        ("model-of-another-version", "UPDATE model_versions SET model_version = '9.9' WHERE active", "model", ""),
        (
            "model-with-another-digest",
            'UPDATE model_versions SET performance_metrics = performance_metrics || \'{"sha256": "00"}\' WHERE active',
            "model",
            "",
        ),
    )
)

SETTINGS = (
    sabotaged(
        name="fsync-off",
        before=("ALTER SYSTEM SET fsync = on", "SELECT pg_reload_conf()"),
        after=("ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()"),
        tells="configuration|schema",
        says="fsync",
    ),
    *(
        sabotaged(
            name=f"setting-{name.replace('_', '-')}",
            tells="configuration|schema",
            says=name,
            copy=(f"ALTER SYSTEM SET {name} = '{value}'", "SELECT pg_reload_conf()"),
        )
        for name, value in (
            ("full_page_writes", "off"),
            ("synchronous_commit", "off"),
            ("autovacuum", "off"),
            ("zero_damaged_pages", "on"),
            ("default_transaction_read_only", "on"),
            ("archive_timeout", "3600"),
            ("statement_timeout", "7s"),
        )
    ),
    sabotaged(
        name="setting-that-waits-for-a-restart",
        copy=("ALTER SYSTEM SET track_commit_timestamp = on", "!reboot"),
        tells="configuration|schema",
        says="track_commit_timestamp",
    ),
    *(
        sabotaged(
            name=f"size-of-another-class-{name.replace('_', '-')}",
            copy=(f"ALTER SYSTEM SET {name} = '{value}'", "!reboot"),
            tells="configuration",
            says=name,
        )
        for name, value in (("max_connections", "40"), ("shared_buffers", "1MB"))
    ),
    in_copy(
        "setting-of-the-database",
        "ALTER DATABASE readmission SET row_security = off",
        "configuration|schema",
        "row_security",
    ),
    in_copy(
        "setting-of-a-role",
        "ALTER ROLE truth_reader SET statement_timeout = '1s'",
        "configuration|schema",
        "statement_timeout|truth_reader",
    ),
    in_copy(
        "setting-of-a-role-gone",
        "ALTER ROLE truth_reader IN DATABASE readmission RESET work_mem",
        "configuration|schema",
        "work_mem|truth_reader",
    ),
    sabotaged(
        name="copy-waits-for-a-reboot", around="pending readmission-db-restored.*", tells="configuration", says="reboot"
    ),
)

SUBSCRIBED = (
    "CREATE SUBSCRIPTION truth_sub CONNECTION 'host=127.0.0.1 port=1 dbname=x password=synthetic' PUBLICATION p"
    " WITH (connect = false)"
)
UNSUBSCRIBED = (
    "ALTER SUBSCRIPTION truth_sub SET (slot_name = NONE)",
    "DROP SUBSCRIPTION truth_sub",
)
OTHERS = (
    *(
        sabotaged(
            name=f"subscription-{what}",
            before=(SUBSCRIBED,),
            after=UNSUBSCRIBED,
            copy=acts,
            tells="schema",
            says="subscription truth_sub",
        )
        for what, acts in (
            ("gone", UNSUBSCRIBED),
            ("elsewhere", ("ALTER SUBSCRIPTION truth_sub CONNECTION 'host=127.0.0.9 port=1 dbname=y'",)),
        )
    ),
    in_copy(
        "sampled-table-emptied",
        f"{UNCHECKED}DELETE FROM truth.stays",
        says="stays",
        config={"target": {"postgres": {"tables": {"sample": {"truth.stays": 0.5}}}}},
    ),
    sabotaged(
        name="input-unlogged",
        before=(
            "CREATE UNLOGGED TABLE truth.sessions (id int PRIMARY KEY, v text);"
            " INSERT INTO truth.sessions SELECT n, 'x' FROM generate_series(1, 100) n",
        ),
        tells="data|schema|state",
        says="sessions",
    ),
    *(
        in_copy(
            f"busy-sequence-{name}",
            f"SELECT setval('truth.serials_id_seq', {last})",
            "state",
            "serials_id_seq",
            passed=("INSERT INTO truth.serials (v) VALUES ('later')",),
            expect=expected,
        )
        for name, last, expected in (("exhausted", 2147483647, "missed"), ("far-ahead", 900000, "inconclusive"))
    ),
    in_copy(
        "unlogged-emptied-and-written",
        "INSERT INTO truth.sessions VALUES (777, 'own')",
        "state",
        "sessions",
        before=(
            "CREATE UNLOGGED TABLE truth.sessions (id int PRIMARY KEY, v text);"
            " INSERT INTO truth.sessions SELECT n, 'x' FROM generate_series(1, 50) n",
        ),
    ),
    in_copy(
        "unlogged-sequence-restarted",
        "SELECT 1",
        "state",
        "tokens_id_seq: was set to its start, since it is unlogged: 91",
        before=("CREATE UNLOGGED TABLE truth.tokens (id serial); SELECT setval('truth.tokens_id_seq', 90)",),
    ),
    sabotaged(
        name="unlogged-in-the-nightly",
        drill=Drill.SNAPSHOT,
        before=("CREATE UNLOGGED TABLE truth.sessions (id int PRIMARY KEY); INSERT INTO truth.sessions VALUES (1)",),
        tells="data|schema|state",
        says="sessions",
    ),
    sabotaged(
        name="input-state-lost",
        copy=(
            "SELECT setval('truth.serials_id_seq', 1, false)",
            "SELECT setval('truth.tickets', 1000, false)",
            "SELECT lo_unlink(424242)",
            "REFRESH MATERIALIZED VIEW truth.busy WITH NO DATA",
        ),
        tells="data|schema|state",
    ),
    in_copy(
        "prepared-and-committed-on-the-copy",
        "COMMIT PREPARED 'truth-erp'",
        says="stays",
        before=(PREPARED.format("INSERT INTO truth.stays (ward, note) VALUES (1, 'prepared')"),),
        after=("!end-prepared",),
    ),
    sabotaged(
        name="input-model-elsewhere-alone",
        before=(
            "CREATE SCHEMA truth_archive; CREATE TABLE truth_archive.model_versions (LIKE public.model_versions INCLUDING ALL);"
            " INSERT INTO truth_archive.model_versions SELECT * FROM public.model_versions",
        ),
        copy=("UPDATE public.model_versions SET active = false",),
        tells="model",
    ),
    *(
        sabotaged(name=f"other-database-{what}", copy=(act,), tells=tells, says=f"{BILLING}: .*bills{says}", **BILLED)
        for what, act, tells, says in (
            ("gone", f"DROP DATABASE {BILLING} WITH (FORCE)", "data|schema", ""),
            ("altered", f"!in {BILLING} \"UPDATE bills SET v = 'forged' WHERE id = 4\"", "data", ""),
            ("emptied", f"!in {BILLING} 'TRUNCATE bills'", "data", ""),
            ("defined-otherwise", f"!in {BILLING} 'ALTER TABLE bills ADD forged int'", "schema", ""),
            ("orphans", f"!in {BILLING} '{UNCHECKED}DELETE FROM payers WHERE id = 3'", "foreign-keys", "_payer_fkey"),
            ("index-hollow-btree", f"!hollow public.bills_v {BILLING}", "indexes", "_v"),
            ("index-hollow-gin", f"!hollow public.bills_tags {BILLING}", "indexes", "_tags"),
        )
    ),
    *(
        in_copy(f"index-hollow-{kind}", f"!hollow truth.stays_{index}", "indexes", f"stays_{index}")
        for kind, index in (("btree", "at"), ("gin", "tags"), ("hash", "hash"), ("gist", "spot"), ("brin", "brin"))
    ),
    in_copy(
        "index-hollow-of-two-alike",
        "!hollow truth.stays_again",
        "indexes",
        "stays_again: finds 0 of",
        before=("CREATE INDEX stays_again ON truth.stays USING gin (tags)",),
    ),
    in_copy(
        "index-hollow-spgist",
        "!hollow truth.stays_split",
        "indexes",
        "stays_split",
        before=("CREATE INDEX stays_split ON truth.stays USING spgist (spot)",),
    ),
)

POINT = (
    *(
        sabotaged(
            name=f"point-{seconds:+d}-s",
            around=f"point {seconds}",
            drill=Drill.MARKED,
            tells="exact-point|loss|exposure",
        )
        for seconds in (-1, -2, 1)
    ),
    sabotaged(
        name="older-snapshot",
        around="older",
        drill=Drill.SNAPSHOT,
        looked=(MORE,),
        tells="exposure|data|exact-point|configuration",
    ),
    in_copy(
        "canary-gone",
        "DELETE FROM dr.markers_RUN WHERE n = (SELECT min(n) + 3 FROM dr.markers_RUN)",
        "loss|exact-point",
        drill=Drill.MARKED,
        quick=True,
    ),
    in_copy(
        "canary-gone-near-the-point",
        "DELETE FROM dr.markers_RUN WHERE n = (SELECT max(n) - 15 FROM dr.markers_RUN)",
        "loss|exact-point",
        drill=Drill.MARKED,
    ),
    in_copy(
        "canaries-gone-at-the-end",
        "DELETE FROM dr.markers_RUN WHERE n > (SELECT max(n) - 12 FROM dr.markers_RUN)",
        "loss|exact-point",
        drill=Drill.MARKED,
    ),
    sabotaged(
        name="canary-twice",
        drill=Drill.MARKED,
        tells="loss|exact-point",
        copy=(
            "DO $$ DECLARE k text; BEGIN FOR k IN SELECT format('ALTER TABLE dr.markers_RUN DROP CONSTRAINT %I', conname) FROM pg_constraint"
            " WHERE conrelid = 'dr.markers_RUN'::regclass AND contype IN ('p', 'u') LOOP EXECUTE k; END LOOP; END $$;"
            " INSERT INTO dr.markers_RUN SELECT * FROM dr.markers_RUN WHERE n = (SELECT min(n) + 3 FROM dr.markers_RUN)",
        ),
    ),
    in_copy(
        "canaries-forged",
        "INSERT INTO dr.markers_RUN SELECT (jsonb_populate_record(m, jsonb_build_object('n', m.n + 40))).*"
        " FROM dr.markers_RUN m WHERE n = (SELECT max(n) FROM dr.markers_RUN)",
        "exact-point",
        drill=Drill.MARKED,
    ),
)

SERVED = (
    *(
        sabotaged(
            name=f"service-{name}", drill=Drill.SERVED, around=f"service {how}", tells=tells, quick=name == "inverts"
        )
        for name, how, tells in (
            ("astray", "astray", "planted"),
            ("cached", "cached", "planted"),
            ("elsewhere-first", "elsewhere-first", "planted"),
            ("stores-other", "storing 0.01", "stored"),
            ("forgetful", "forgetful", "stored"),
            ("doubling", "doubling", "stored"),
            ("inverts", "inverted 12", "answers"),
            ("inverts-later", "inverted 100", "answers"),
            ("inverts-one-of-forty", "inverted 12 40", "answers"),
            ("nearly", "nearly 0.01", "golden"),
            ("failing", "failing 8", "errors"),
        )
    ),
    sabotaged(name="service-slow", drill=Drill.SERVED, env={"DR_SERVICE_DELAY_MS": "1300"}, tells="latency"),
    in_copy(
        "golden-features-altered",
        "UPDATE admissions SET primary_diagnosis = 'I50.9', medications = '[]' WHERE admission_id LIKE 'SYN-%'",
        "golden",
        drill=Drill.SERVED,
    ),
    in_copy(
        "service-may-not-store",
        "REVOKE INSERT ON predictions FROM readmission_api",
        "golden|errors",
        drill=Drill.SERVED,
    ),
)

CASES = (*ROWS, *NEWEST, *DROPPED, *DEFINITIONS, *SETTINGS, *OTHERS, *POINT, *SERVED)
