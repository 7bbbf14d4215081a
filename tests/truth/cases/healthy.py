"""Recoveries that are good, whatever the source went through meanwhile: all is met."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.truth.table import Case, Drill, Truth

healthy = partial(Case, truth=Truth.HEALTHY)
MORE = "INSERT INTO truth.stays (ward, note) SELECT 1 + n % 20, 'late ' || n FROM generate_series(1, 80) n"
CHANGED = "UPDATE truth.stays SET note = note || '!' WHERE id <= 90"
GONE = "DELETE FROM truth.stays WHERE id > 300"
ALL_CHANGED = "UPDATE truth.stays SET paid = paid + 1"
WORK = "CREATE TABLE truth.work AS SELECT n AS id, 'w' || n AS v FROM generate_series(1, 50) n"
NO_WORK = "DROP TABLE truth.work"
REINDEXED = ("REINDEX INDEX CONCURRENTLY truth.stays_at", "REINDEX TABLE CONCURRENTLY truth.wards")
OFF_AND_ON = (
    "ALTER TABLE truth.stays DISABLE TRIGGER stays_stamped",
    "ALTER TABLE truth.stays ENABLE TRIGGER stays_stamped",
)
ROLLED_OUT = (
    "UPDATE model_versions SET active = false WHERE active;"
    " INSERT INTO model_versions SELECT '2.4.0', model_type, training_date, performance_metrics, fairness_metrics, true"
    " FROM model_versions WHERE model_version = '2.3.0'"
)
ROLLED_BACK = (
    "DELETE FROM model_versions WHERE model_version = '2.4.0'; UPDATE model_versions SET active = true"
    " WHERE model_version = '2.3.0'"
)
BUSY = (
    "INSERT INTO truth.queue VALUES ((random() * 1e15)::bigint, 'load')",
    "UPDATE truth.wards SET beds = 4 + (random() * 9)::int WHERE id = 1 + (random() * 19)::int",
    "DELETE FROM truth.queue WHERE ctid IN (SELECT ctid FROM truth.queue WHERE job = 'load' LIMIT 1 FOR UPDATE SKIP LOCKED)",
)
LEDGERED = ("INSERT INTO truth.stays (ward, note) VALUES (1 + (random() * 19)::int, gen_random_uuid()::text)",)
BILLING = "truth_billing"
IN_BILLING = (
    "CREATE TABLE payers (id int PRIMARY KEY); INSERT INTO payers SELECT n FROM generate_series(1, 9) n;"
    " CREATE TABLE bills (id int PRIMARY KEY, v text, payer int REFERENCES payers, tags text[]);"
    " INSERT INTO bills SELECT n, n::text, 1 + n % 9, array[n::text] FROM generate_series(1, 50) n;"
    " CREATE INDEX bills_v ON bills (v); CREATE INDEX bills_tags ON bills USING gin (tags)"
)
CHECKABLE = (
    "CREATE EXTENSION IF NOT EXISTS amcheck; GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean) TO dr_harness"
)
BILLED: dict[str, Any] = {
    "before": (f"CREATE DATABASE {BILLING}", f"!in {BILLING} '{IN_BILLING}'", f"!in {BILLING} '{CHECKABLE}'"),
    "after": (f"DROP DATABASE IF EXISTS {BILLING} WITH (FORCE)",),
    "config": {"target": {"postgres": {"databases": [BILLING]}}},
}
"""Another database of the server, which the target lists."""


def beside(name: str, *acts: str, after: tuple[str, ...] = (), **more: Any) -> tuple[Case, ...]:
    """What may come before a drill's last look, between a look and the recovery point, or after the point: each is
    another thing."""
    between = (
        ()
        if "drill" in more
        else (healthy(name=f"{name}-since-the-look", looked=acts, after=after, drill=Drill.SINCE, **more),)
    )
    return (
        *between,
        healthy(name=f"{name}-before-the-point", looked=acts, after=after, **more),
        healthy(name=f"{name}-after-the-point", passed=acts, after=after, **more),
    )


QUIET = (
    healthy(name="quiet", quick=True),
    healthy(name="quiet-marked", drill=Drill.MARKED),
    healthy(name="quiet-served", drill=Drill.SERVED, quick=True),
    healthy(
        name="served-within-tolerance",
        drill=Drill.SERVED,
        around="service nearly 0.0004",
        config={"target": {"service": {"tolerance": 0.0005}}},
    ),
    healthy(name="served-from-memory", drill=Drill.SERVED, around="service remembering"),
    healthy(
        name="served-and-nothing-stored",
        drill=Drill.SERVED,
        around="service forgetful",
        config={"target": {"service": {"stored": False}}},
    ),
    healthy(
        name="large-objects-excluded",
        config={"target": {"postgres": {"tables": {"exclude": ["pg_catalog.pg_largeobject"]}}}},
        tells="state",
        says="What is in the large objects was not compared, as dr.yaml says",
    ),
    healthy(name="quiet-nightly", drill=Drill.SNAPSHOT),
    healthy(name="called-at-night", drill=Drill.CALLED, words=("--latest",)),
)

ROWS = (
    *beside("rows-written", MORE),
    *beside("rows-changed", CHANGED),
    *beside("rows-deleted", GONE),
    *beside(
        "rows-changed-and-back",
        "UPDATE truth.stays SET note = note || '!'",
        "UPDATE truth.stays SET note = rtrim(note, '!')",
    ),
    *beside("rows-rewritten-as-they-are", "UPDATE truth.stays SET note = note"),
    *beside("all-rows-changed", ALL_CHANGED),
    *beside("table-truncated-and-filled", "TRUNCATE truth.queue; INSERT INTO truth.queue VALUES (1, 'new')"),
    *beside("keys-shifted", "UPDATE truth.queue SET id = id + 100000"),
    *beside(
        "rows-without-key", "INSERT INTO truth.loose SELECT * FROM truth.loose; DELETE FROM truth.loose WHERE a = 1"
    ),
    *beside("toast-changed", "UPDATE truth.letters SET body = body || 'x' WHERE id < 5"),
    *beside("partition-moved", "UPDATE truth.years SET y = y + 20 WHERE y < 2005"),
    *beside(
        "savepoints",
        "DO $$ BEGIN FOR i IN 1..40 LOOP BEGIN INSERT INTO truth.queue VALUES (1000 + i, 's');"
        " IF i % 2 = 0 THEN RAISE 'no'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$",
    ),
    *beside(
        "rolled-back",
        "DO $$ BEGIN DELETE FROM truth.stays; RAISE 'no'; EXCEPTION WHEN raise_exception THEN NULL; END $$",
    ),
    healthy(name="queue-drained", looked=("DELETE FROM truth.queue",), quick=True),
    healthy(name="queue-drained-later", passed=("DELETE FROM truth.queue",)),
    healthy(
        name="queue-refilled",
        looked=("DELETE FROM truth.queue",),
        passed=("INSERT INTO truth.queue SELECT n, 'again' FROM generate_series(1, 30) n",),
    ),
    healthy(
        name="model-rolled-out-on-both-sides",
        looked=(ROLLED_OUT,),
        passed=(ROLLED_OUT.replace("2.4.0", "2.5.0"),),
        after=("DELETE FROM model_versions WHERE model_version = '2.5.0'", ROLLED_BACK),
    ),
    healthy(
        name="one-row-changed-on-both-sides",
        looked=("UPDATE truth.wards SET beds = 5 WHERE id = 3",),
        passed=("UPDATE truth.wards SET beds = 6 WHERE id = 3",),
        tells="data",
    ),
    healthy(
        name="rows-of-the-platform",
        looked=(
            "INSERT INTO patients (patient_id, demographics) VALUES ('T-1', '{}');"
            " INSERT INTO admissions (admission_id, patient_id, admission_date) VALUES ('T-1-1', 'T-1', now())",
        ),
        after=("DELETE FROM admissions WHERE patient_id = 'T-1'; DELETE FROM patients WHERE patient_id = 'T-1'",),
    ),
    healthy(
        name="number-of-ones-own-went-after-the-point",
        looked=("INSERT INTO truth.stays (id, ward, note) VALUES (999999, 1, 'own')",),
        passed=("DELETE FROM truth.stays WHERE id = 999999",),
        tells="state",
        says="As on the source, truth.stays_id_seq is behind truth.stays.id by",
    ),
    healthy(name="later-while-examined", later=(MORE, CHANGED, "DELETE FROM truth.queue", WORK)),
    healthy(name="nightly-rows", drill=Drill.SNAPSHOT, looked=(MORE, CHANGED, "DELETE FROM truth.queue")),
    healthy(name="nightly-model", drill=Drill.SNAPSHOT, looked=(ROLLED_OUT,), after=(ROLLED_BACK,)),
)

DEFINITIONS = (
    *beside("work-table-came", WORK),
    *beside("work-table-came-and-went", WORK, NO_WORK),
    healthy(name="work-table-went-after-the-point", looked=(WORK,), passed=(NO_WORK,), quick=True),
    healthy(name="work-table-of-before-went", before=(WORK,), passed=(NO_WORK,)),
    healthy(name="work-table-came-anew", before=(WORK,), looked=(NO_WORK, WORK), passed=(NO_WORK, WORK)),
    *beside("reindexed", *REINDEXED),
    *beside("trigger-off-and-on", *OFF_AND_ON),
    healthy(name="trigger-off-over-the-point", looked=OFF_AND_ON[:1], passed=OFF_AND_ON[1:]),
    *beside("column-added", "ALTER TABLE truth.queue ADD priority int DEFAULT 3"),
    *beside("column-dropped", "ALTER TABLE truth.queue DROP job"),
    *beside("column-renamed", "ALTER TABLE truth.queue RENAME job TO task"),
    *beside("column-widened", "ALTER TABLE truth.queue ALTER id TYPE numeric"),
    *beside("table-renamed", "ALTER TABLE truth.queue RENAME TO jobs"),
    *beside("index-made", "CREATE INDEX CONCURRENTLY queue_job ON truth.queue (job)"),
    *beside("index-dropped", "DROP INDEX CONCURRENTLY truth.stays_at"),
    *beside(
        "function-replaced",
        "CREATE OR REPLACE FUNCTION truth.dosage(n int) RETURNS int LANGUAGE sql AS $$ SELECT n * 3 $$",
    ),
    *beside(
        "view-replaced", "CREATE OR REPLACE VIEW truth.full_wards AS SELECT w.name FROM truth.wards w WHERE w.beds < 8"
    ),
    *beside("view-refreshed", "REFRESH MATERIALIZED VIEW truth.busy"),
    *beside("view-refreshed-anew", MORE, "REFRESH MATERIALIZED VIEW truth.busy"),
    *beside(
        "partition-added", "CREATE TABLE truth.years_next PARTITION OF truth.years FOR VALUES FROM (2040) TO (2060)"
    ),
    *beside("label-added", "ALTER TYPE truth.urgency ADD VALUE 'most'"),
    *beside("sequence-advanced", "SELECT nextval('truth.tickets') FROM generate_series(1, 50)"),
    *beside("statistics-gathered", "ANALYZE truth.stays"),
    *beside("clustered", "CLUSTER truth.stays USING stays_at"),
    *beside("vacuumed-full", "VACUUM FULL truth.stays"),
    *beside("frozen", "VACUUM FREEZE truth.stays"),
    *beside("publication-changed", "ALTER PUBLICATION truth_feed ADD TABLE truth.wards"),
    *beside("large-object-added", "SELECT lo_from_bytea(434343, 'another scan')"),
    *beside("large-object-gone", "SELECT lo_unlink(424242)"),
    *beside("comment-changed", "COMMENT ON TABLE truth.stays IS 'other words'"),
    *beside("extension-added", "CREATE EXTENSION pg_trgm"),
)

ROLES = (
    *beside("role-came", "CREATE ROLE truth_new LOGIN"),
    *beside("role-went", "DROP OWNED BY truth_guest; DROP ROLE truth_guest"),
    *beside("role-with-another-password", "ALTER ROLE truth_guest PASSWORD 'another'"),
    *beside(
        "privileges-on-the-systems-own",
        "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
        "COMMENT ON ROLE truth_guest IS 'a guest'",
        "ALTER FUNCTION plpgsql_call_handler() STRICT",
        after=(
            "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC",
            "ALTER FUNCTION plpgsql_call_handler() CALLED ON NULL INPUT",
        ),
    ),
    *beside("role-granted", "GRANT truth_reader TO truth_guest"),
    *beside("role-renewed", "ALTER ROLE truth_reader VALID UNTIL '2098-01-01'"),
    *beside("role-set", "ALTER ROLE truth_reader SET statement_timeout = '20s'"),
    *beside("owner-changed", "ALTER TABLE truth.queue OWNER TO truth_owner"),
    *beside("privilege-granted", "GRANT SELECT ON truth.queue TO truth_guest"),
    healthy(name="role-expired", before=("ALTER ROLE truth_reader VALID UNTIL '2026-01-01'",)),
    healthy(
        name="role-expires-meanwhile",
        before=(
            "DO $$ BEGIN EXECUTE format('ALTER ROLE truth_reader VALID UNTIL %L', now() + interval '4 s'); END $$",
        ),
    ),
    healthy(name="role-expired-later", passed=("ALTER ROLE truth_reader VALID UNTIL '2026-01-01'",)),
    *beside(
        "database-set",
        "ALTER DATABASE readmission SET work_mem = '6MB'",
        after=("ALTER DATABASE readmission RESET work_mem",),
    ),
)

BROKEN_BEFORE = (
    healthy(
        name="orphans-of-the-source",
        before=("SET session_replication_role = replica; INSERT INTO truth.stays (ward, note) VALUES (999, 'orphan')",),
        quick=True,
    ),
    healthy(
        name="orphans-not-validated",
        before=(
            "CREATE TABLE truth.dept (id int PRIMARY KEY); CREATE TABLE truth.emp (id int, dept int);"
            " INSERT INTO truth.emp VALUES (1, 99);"
            " ALTER TABLE truth.emp ADD CONSTRAINT emp_dept FOREIGN KEY (dept) REFERENCES truth.dept NOT VALID",
        ),
    ),
    healthy(
        name="index-of-the-source-invalid",
        before=("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'truth.stays_at'::regclass",),
    ),
    healthy(name="view-of-the-source-empty", before=("REFRESH MATERIALIZED VIEW truth.busy WITH NO DATA",)),
    healthy(name="sequence-of-the-source-behind", before=("SELECT setval('truth.serials_id_seq', 5)",)),
    healthy(
        name="model-elsewhere-inactive",
        before=(
            "CREATE SCHEMA truth_archive; CREATE TABLE truth_archive.model_versions (LIKE public.model_versions INCLUDING ALL);"
            " INSERT INTO truth_archive.model_versions SELECT * FROM public.model_versions;"
            " UPDATE truth_archive.model_versions SET active = false",
        ),
        tells="model",
    ),
    healthy(name="model-rolled-out-after-the-point", passed=(ROLLED_OUT,), after=(ROLLED_BACK,)),
    healthy(name="model-rolled-out-before-the-point", looked=(ROLLED_OUT,), after=(ROLLED_BACK,)),
    healthy(
        name="other-database-not-listed",
        before=("CREATE DATABASE truth_billing",),
        after=("DROP DATABASE IF EXISTS truth_billing WITH (FORCE)",),
        tells="state",
        says="server.s other databases were not looked at: .*truth_billing",
    ),
    healthy(
        name="input-slot",
        before=("SELECT pg_create_physical_replication_slot('truth_consumer', true)",),
        tells="state",
        says="brings no replication slot, so that their readers have a gap: .*truth_consumer",
    ),
    healthy(
        name="subscription",
        before=(
            "CREATE SUBSCRIPTION truth_sub CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p"
            " WITH (connect = false)",
        ),
        after=("ALTER SUBSCRIPTION truth_sub SET (slot_name = NONE)", "DROP SUBSCRIPTION truth_sub"),
        tells="state",
        says="does not bring back where subscriptions were: .*truth_sub",
    ),
    healthy(name="unlogged-and-empty", before=("CREATE UNLOGGED TABLE truth.sessions (id int PRIMARY KEY)",)),
)

PREPARED = "BEGIN; {}; PREPARE TRANSACTION 'truth-erp'"
LOADED = (
    healthy(name="load-of-20", load=BUSY, rate=20),
    healthy(name="load-of-200", load=BUSY, rate=200),
    healthy(name="load-of-500", load=BUSY, rate=500),
    healthy(name="load-of-500-new-rows", load=LEDGERED, rate=500),
    healthy(name="load-of-100-with-markers", load=BUSY, rate=100, drill=Drill.MARKED),
    healthy(
        name="hot-row",
        before=(
            "CREATE TABLE truth.beats (worker int PRIMARY KEY, beat timestamptz);"
            " INSERT INTO truth.beats VALUES (1, now())",
        ),
        load=("UPDATE truth.beats SET beat = clock_timestamp()",),
        rate=4,
    ),
    healthy(
        name="long-transaction",
        load=("UPDATE truth.wards SET beds = 6 WHERE id = 10 + SESSION; PERFORM pg_sleep(6)",),
        rate=1,
    ),
    healthy(
        name="work-tables-all-the-while",
        load=(
            "CREATE TABLE truth.w_SESSION (id int); INSERT INTO truth.w_SESSION VALUES (1); DROP TABLE truth.w_SESSION",
        ),
        rate=8,
    ),
    healthy(
        name="values-that-print-otherwise",
        before=(
            "CREATE TYPE truth.mood AS ENUM ('well', 'ill'); CREATE TABLE truth.named ();"
            " CREATE TABLE truth.moods (id int PRIMARY KEY, n int, v truth.mood, at timestamp, t regclass);"
            " INSERT INTO truth.moods SELECT n, 0, 'ill', '2026-01-01', 'truth.named' FROM generate_series(1, 200) n",
        ),
        load=("UPDATE truth.moods SET n = n + 1 WHERE id = 1 + (random() * 199)::int",),
        rate=10,
        passed=(
            "ALTER TYPE truth.mood RENAME VALUE 'ill' TO 'sick'",
            "SET timezone = 'UTC'; ALTER TABLE truth.moods ALTER at TYPE timestamptz",
            "ALTER TABLE truth.named RENAME TO renamed",
        ),
    ),
    healthy(name="temporary-tables", load=("CREATE TEMP TABLE w (id int) ON COMMIT DROP",), rate=8),
    healthy(
        name="five-hundred-tables",
        before=(
            "DO $$ BEGIN FOR i IN 1..500 LOOP EXECUTE format('CREATE TABLE truth.t%s (id int PRIMARY KEY, v text)', i);"
            " EXECUTE format('INSERT INTO truth.t%s SELECT n, n::text FROM generate_series(1, 5) n', i); END LOOP; END $$",
        ),
    ),
    healthy(
        name="one-gigabyte",
        before=(
            "CREATE TABLE truth.large (id int PRIMARY KEY, v text); ALTER TABLE truth.large ALTER v SET STORAGE PLAIN;"
            " INSERT INTO truth.large SELECT n, repeat(md5(n::text), 60) FROM generate_series(1, 480000) n",
        ),
    ),
)

INPUTS = (
    healthy(
        name="names-quoted-after-the-point",
        passed=("ALTER DATABASE readmission SET quote_all_identifiers = on",),
        after=("ALTER DATABASE readmission RESET quote_all_identifiers",),
    ),
    healthy(
        name="input-backslashes-that-escape",
        before=("ALTER DATABASE readmission SET standard_conforming_strings = off",),
        after=("ALTER DATABASE readmission RESET standard_conforming_strings",),
    ),
    healthy(
        name="input-names",
        before=(
            'CREATE SCHEMA "truth.Süd";'
            ' CREATE TABLE "truth.Süd"."Betten 100%" ("select" int PRIMARY KEY, "Größe %s" numeric, "{x}" text, "it'
            's" text,'
            ' "a""b" text, "back\\slash" text, "%(own)s" text);'.replace("''", "'")
            + " INSERT INTO \"truth.Süd\".\"Betten 100%\" SELECT n, n / 7.0, '{}', 'o''k', '\"', '\\', '%' FROM generate_series(1, 30) n;"
            ' CREATE TABLE truth."床" ("番号" bigint PRIMARY KEY, "name;--" int REFERENCES "truth.Süd"."Betten 100%");'
            ' INSERT INTO truth."床" SELECT n, n FROM generate_series(1, 20) n;'
            ' CREATE INDEX "ix % {0} \'" ON "truth.Süd"."Betten 100%" ("Größe %s");'
            f' CREATE TABLE truth."{"n" * 63}" (id int); INSERT INTO truth."{"n" * 63}" VALUES (1);'
            ' CREATE TABLE truth."Order" ("user" int PRIMARY KEY, "from" text, "From" text, "xmin " int, "ctid\t" int UNIQUE);'
            " INSERT INTO truth.\"Order\" SELECT n, 'a', 'A', n, -n FROM generate_series(1, 15) n;"
            " CREATE FUNCTION truth.\"f %s {}\"(a text DEFAULT '%') RETURNS text LANGUAGE sql AS $$ SELECT a $$;"
            " CREATE TABLE truth.bare (a int); ALTER TABLE truth.bare DROP a; INSERT INTO truth.bare DEFAULT VALUES",
        ),
    ),
    *(
        healthy(
            name=f"input-wide-{n}-{kind}",
            before=(
                "DO $$ DECLARE s text; BEGIN SELECT string_agg(format('c%s "
                f"{kind}', n), ',') INTO s FROM generate_series(1, {n}) n; EXECUTE 'CREATE TABLE truth.wide (' || s || ')'; END $$;"
                " INSERT INTO truth.wide DEFAULT VALUES; INSERT INTO truth.wide (c1, c100) VALUES ('1', '1')",
            ),
        )
        for n, kind in ((320, "text"), (400, "int8"), (1000, "int4"), (1600, "smallint"))
    ),
    healthy(
        name="input-wide-filled",
        before=(
            "DO $$ DECLARE c text; v text; BEGIN SELECT string_agg(format('c%s text NOT NULL', n), ','), string_agg('''v''', ',')"
            " INTO c, v FROM generate_series(1, 1500) n; EXECUTE 'CREATE TABLE truth.filled (' || c || ')';"
            " EXECUTE 'INSERT INTO truth.filled VALUES (' || v || '), (' || v || ')'; END $$",
        ),
    ),
    healthy(
        name="input-wide-dropped",
        before=(
            "DO $$ DECLARE s text; BEGIN SELECT string_agg(format('c%s int', n), ',') INTO s FROM generate_series(1, 1500) n;"
            " EXECUTE 'CREATE TABLE truth.thinned (' || s || ')';"
            " SELECT string_agg(format('DROP c%s', n), ',') INTO s FROM generate_series(3, 1500) n;"
            " EXECUTE 'ALTER TABLE truth.thinned ' || s; END $$; INSERT INTO truth.thinned VALUES (1, 2)",
        ),
    ),
    healthy(
        name="input-types",
        before=(
            "CREATE EXTENSION hstore SCHEMA truth; CREATE EXTENSION citext SCHEMA truth; CREATE EXTENSION btree_gist SCHEMA truth",
            "SET search_path = truth, public; CREATE TYPE grade AS ENUM ('low', 'hi''gh'); CREATE DOMAIN one AS int CHECK (value > 0);"
            " CREATE DOMAIN two AS one NOT NULL; CREATE TYPE span AS RANGE (subtype = float8);"
            " CREATE TABLE kinds (id int PRIMARY KEY, g grade[], d two, c dose[], r span, m int4multirange, p path, b box, i inet,"
            " a macaddr8, v tsvector, q tsquery, x xml, t bit(5), w money, l interval, z timetz, rc regclass, rp regprocedure,"
            ' jp jsonpath, y bytea, h hstore, ct citext, j json, jb jsonb, u uuid, ch "char", bp char(10), o oid, xx xid8, s pg_lsn,'
            " f float4, n numeric, ts timestamp, dt date, dd int[][])",
            "SET search_path = truth, public; INSERT INTO kinds SELECT n, '{low}', n, array[(n, NULL)::dose], '[1.5,Infinity)', '{[1,3),[7,9)}', '((0,0),(1,NaN))',"
            " '(1,1),(0,0)', '10.0.0.1/8', '08:00:2b:01:02:03:04:05', 'a b', 'a & b', '<a/>', '10101', '12.5', '1 mon -3:00',"
            " '04:05:06+02', 'public.patients', 'pg_catalog.now()', '$.a[*]', '\\xdeadbeef', 'a=>1', 'ÄbC', '{\"a\": 1,  \"a\": 2}',"
            " '{\"a\": 1.0}', gen_random_uuid(), 'x', 'abc', n, '7', '0/16B3748', 'NaN', 'NaN', 'infinity', '-infinity',"
            " '{{1,2},{3,4}}' FROM generate_series(1, 30) n",
            "CREATE INDEX ON truth.kinds USING gin (jb); CREATE INDEX ON truth.kinds USING hash (u);"
            " CREATE TABLE truth.rooms (room int, during tstzrange, EXCLUDE USING gist (room WITH =, during WITH &&));"
            " INSERT INTO truth.rooms SELECT 1, tstzrange(now() + n * interval '1 h', now() + (n + 1) * interval '1 h')"
            " FROM generate_series(1, 9) n",
        ),
    ),
    healthy(
        name="input-types-by-odd-indexes",
        before=(
            "CREATE EXTENSION citext SCHEMA truth",
            "SET search_path = truth, public; CREATE TYPE band AS RANGE (subtype = float8, subtype_diff = float8mi);"
            " CREATE TABLE more (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at point, area polygon, disc circle, net cidr,"
            " bits bit varying, type regtype, label name, word citext, part dose, many band[], mass float4,"
            " half numeric GENERATED ALWAYS AS (mass * 0.5) STORED, long text, wide jsonb);"
            " ALTER TABLE more ALTER long SET STORAGE EXTERNAL;"
            " INSERT INTO more (at, area, disc, net, bits, type, label, word, part, many, mass, long, wide)"
            " SELECT point(n, 'NaN'), '((0,0),(1,1),(1,0))', '<(0,0),2>', '10.0.0.0/8', '1011', 'int', 'l', 'Ä' || n,"
            " (n, 'g')::dose, '{\"[-Infinity,-0.0]\",empty}', 1.5, repeat(md5(n::text), 900),"
            " jsonb_build_object('k', repeat(md5(n::text), 700)) FROM generate_series(1, 25) n",
            "SET search_path = truth, public; CREATE INDEX ON more (lower(word::text)) WHERE mass IS NOT NULL;"
            " CREATE INDEX ON more (((part).mg)); CREATE UNIQUE INDEX ON more (id) INCLUDE (half);"
            " CREATE INDEX ON more USING gist (at); CREATE INDEX ON more USING spgist (net inet_ops); CREATE INDEX ON more USING brin (id);"
            " CREATE INDEX ON more (word)",
        ),
    ),
    healthy(
        name="input-floats-without-key",
        before=(
            "CREATE TABLE truth.floats (a float8, b float4, c numeric, d text); INSERT INTO truth.floats VALUES"
            " ('NaN', 'NaN', 'NaN', ''), ('Infinity', '-Infinity', 'Infinity', NULL), (0, 0, 0, ''), ('-0', '-0', -0.0, ''),"
            " (1, 1, 1.0, NULL), (1, 1, 1.00, NULL), (NULL, NULL, NULL, NULL);"
            " INSERT INTO truth.floats SELECT * FROM truth.floats",
        ),
    ),
    healthy(
        name="input-odd-objects",
        before=(
            "CREATE TABLE truth.notes (id int PRIMARY KEY, who text); ALTER TABLE truth.notes ENABLE ROW LEVEL SECURITY;"
            " ALTER TABLE truth.notes FORCE ROW LEVEL SECURITY; INSERT INTO truth.notes VALUES (1, 'x');"
            " CREATE TABLE truth.twins (a int); INSERT INTO truth.twins VALUES (1), (1);"
            " CREATE MATERIALIZED VIEW truth.nothing AS SELECT 1 AS x WITH NO DATA;"
            " CREATE SEQUENCE truth.round START 10 MAXVALUE 50 CYCLE; SELECT nextval('truth.round') FROM generate_series(1, 60);"
            ' CREATE TABLE truth."_dr" (x int); CREATE FOREIGN TABLE truth.far (id int) SERVER truth_remote',
            "!failing 'CREATE UNIQUE INDEX CONCURRENTLY twins_a ON truth.twins (a)'",
        ),
        tells="indexes",
        says="twins_a",
    ),
    healthy(
        name="input-prepared",
        before=(PREPARED.format("UPDATE truth.wards SET beds = 7 WHERE id = 2; DELETE FROM truth.stays WHERE id = 7"),),
        after=("!end-prepared",),
        tells="state",
        says="prepared on the copy, and hold locks until they are ended: truth-erp",
    ),
    healthy(
        name="input-prepared-and-committed-after-the-point",
        before=(PREPARED.format("INSERT INTO truth.stays (ward, note) VALUES (1, 'prepared')"),),
        passed=("COMMIT PREPARED 'truth-erp'",),
        after=("!end-prepared",),
        tells="state",
        says="truth-erp",
    ),
    healthy(
        name="input-prepared-and-committed-before-the-point",
        before=(PREPARED.format("INSERT INTO truth.stays (ward, note) VALUES (1, 'prepared')"),),
        looked=("COMMIT PREPARED 'truth-erp'",),
        after=("!end-prepared",),
    ),
    healthy(name="input-pending-reboot", around="pending readmission-db", tells="configuration"),
    healthy(
        name="input-backing-up",
        around='fault delay_backups {"seconds": 20}',
        drill=Drill.CALLED,
        words=("--latest",),
        config={"objectives": {"time-to-copy": 60.0}},
    ),
    *(
        healthy(name=f"input-tags-{n}", around=f"aws {n}", drill=Drill.CALLED, words=("--latest", "--no-verify"))
        for n in (40, 44)
    ),
    healthy(
        name="input-unlogged-expendable",
        before=("CREATE UNLOGGED TABLE truth.sessions (id serial); INSERT INTO truth.sessions DEFAULT VALUES",),
        config={"target": {"postgres": {"expendable": ["truth.sessions"]}}},
    ),
)

LEFT_OUT = (
    healthy(
        name="table-left-out",
        copy=("UPDATE truth.letters SET body = 'forged' WHERE id = 3",),
        config={"target": {"postgres": {"tables": {"exclude": ["truth.letters"]}}}},
        tells="data",
        says="letters",
    ),
    healthy(
        name="table-sampled",
        looked=(MORE,),
        config={"target": {"postgres": {"tables": {"sample": {"truth.stays": 0.5}}}}},
        tells="data",
        says="stays",
    ),
    healthy(name="one-connection", config={"target": {"postgres": {"connections": 1}}}),
)

OTHERS = (
    healthy(
        name="columns-come-and-go",
        load=("ALTER TABLE truth.queue ADD IF NOT EXISTS c int DEFAULT 7", "ALTER TABLE truth.queue DROP IF EXISTS c"),
        rate=3,
    ),
    healthy(
        name="not-null-comes-and-goes",
        load=("ALTER TABLE truth.stays ALTER note SET NOT NULL", "ALTER TABLE truth.stays ALTER note DROP NOT NULL"),
        rate=3,
    ),
    healthy(name="other-database", **BILLED),
)

CASES = (*QUIET, *ROWS, *DEFINITIONS, *ROLES, *BROKEN_BEFORE, *LOADED, *INPUTS, *LEFT_OUT, *OTHERS)
