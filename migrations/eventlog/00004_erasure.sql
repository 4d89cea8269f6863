-- +goose NO TRANSACTION
-- Without one, because the index is built while commands go on. Every statement
-- may therefore run again after a run that was cut short.

-- +goose Up

-- Statistics keep values of a column, in a catalogue that no erasure touches:
-- here they would be wrapped keys. Declaring the type anew, which it has
-- already, rewrites nothing and drops those that were collected.
ALTER TABLE eventlog.subject_keys
    ALTER COLUMN wrapped_key TYPE bytea,
    ALTER COLUMN wrapped_key SET STATISTICS 0;

-- Key-encryption keys that are gone or about to go. A process that has not
-- noticed yet must not wrap another data key under one of them: that customer
-- would be lost with its first event.
CREATE TABLE IF NOT EXISTS eventlog.retired_keks (
    kek        text        PRIMARY KEY,
    retired_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, DELETE ON eventlog.retired_keks TO customer_command;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION eventlog.refuse_retired_kek() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM added a JOIN eventlog.retired_keks r ON r.kek = a.kek) THEN
        RAISE EXCEPTION 'a data key is wrapped under a retired key-encryption key'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE OR REPLACE TRIGGER keks_in_use
    AFTER INSERT ON eventlog.subject_keys REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION eventlog.refuse_retired_kek();

-- +goose StatementBegin
-- rewrap_subject_keys puts the same data keys under another key-encryption key.
-- It changes a row only if that is as it was read, and makes none, so that an
-- erasure that came first stays one. Rows that somebody is working on are left
-- for the next time: waiting for them could be waiting for each other. It runs
-- with its owner's rights, for the processes have none to update keys.
CREATE OR REPLACE FUNCTION eventlog.rewrap_subject_keys(
    i_customer uuid[], i_before bytea[], i_wrapped bytea[], i_kek text
) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH free AS (
        SELECT k.customer_id, u.wrapped
          FROM unnest(i_customer, i_before, i_wrapped) AS u (customer_id, before, wrapped)
          JOIN eventlog.subject_keys k ON k.customer_id = u.customer_id AND k.wrapped_key = u.before
           FOR UPDATE OF k SKIP LOCKED),
    done AS (
        UPDATE eventlog.subject_keys k SET wrapped_key = f.wrapped, kek = i_kek
          FROM free f WHERE k.customer_id = f.customer_id
        RETURNING 1)
    SELECT count(*) FROM done
$$;
-- +goose StatementEnd
REVOKE EXECUTE ON FUNCTION eventlog.rewrap_subject_keys FROM PUBLIC;
GRANT EXECUTE ON FUNCTION eventlog.rewrap_subject_keys TO customer_command;

-- Finds the erasures in a log of any size, and the recent ones among them.
DROP INDEX CONCURRENTLY IF EXISTS eventlog.events_erased;
CREATE INDEX CONCURRENTLY events_erased ON eventlog.events (xid, id) WHERE type = 'customer.erased';
