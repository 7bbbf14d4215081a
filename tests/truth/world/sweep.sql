-- Takes away what world/setup.sql or a case has made.
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT evtname FROM pg_event_trigger WHERE evtname LIKE 'truth%' LOOP
        EXECUTE format('DROP EVENT TRIGGER %I', one.evtname);
    END LOOP;
    FOR one IN SELECT pubname FROM pg_publication WHERE pubname LIKE 'truth%' LOOP
        EXECUTE format('DROP PUBLICATION %I', one.pubname);
    END LOOP;
    FOR one IN SELECT fdwname FROM pg_foreign_data_wrapper WHERE fdwname LIKE 'truth%' LOOP
        EXECUTE format('DROP FOREIGN DATA WRAPPER %I CASCADE', one.fdwname);
    END LOOP;
    FOR one IN SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'truth%' LOOP
        PERFORM pg_drop_replication_slot(one.slot_name);
    END LOOP;
    FOR one IN SELECT nspname FROM pg_namespace WHERE nspname LIKE 'truth%' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', one.nspname);
    END LOOP;
    FOR one IN SELECT extname FROM pg_extension WHERE extname NOT IN ('plpgsql', 'amcheck') LOOP
        EXECUTE format('DROP EXTENSION %I CASCADE', one.extname);
    END LOOP;
    FOR one IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'truth%' LOOP
        EXECUTE format('DROP OWNED BY %I; DROP ROLE %I', one.rolname, one.rolname);
    END LOOP;
    PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
END $$;
