-- +goose Up

-- A customer's stream is its row here: locking it serialises the customer's
-- commands, and its version is what they compare and set. The free space in
-- each page keeps updates of the version in place (HOT).
CREATE TABLE eventlog.streams (
    customer_id uuid   PRIMARY KEY,
    version     bigint NOT NULL CHECK (version > 0)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- The log. xid is the transaction that wrote the event: the sequencer finds
-- with it what became visible between two snapshots. id is drawn under the
-- stream's row lock, so along one customer it ascends with version; a cached
-- sequence would break that.
CREATE TABLE eventlog.events (
    id             bigint      GENERATED ALWAYS AS IDENTITY (CACHE 1) UNIQUE,
    xid            xid8        NOT NULL DEFAULT pg_current_xact_id(),
    customer_id    uuid        NOT NULL,
    version        bigint      NOT NULL,
    event_id       uuid        NOT NULL,
    type           text        NOT NULL,
    schema_version smallint    NOT NULL,
    slot           smallint    NOT NULL CHECK (slot BETWEEN 0 AND 1023),
    data           jsonb       NOT NULL,
    personal       bytea,
    metadata       jsonb       NOT NULL,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (customer_id, version)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);

-- Ciphertext does not compress, so trying is wasted work.
ALTER TABLE eventlog.events ALTER COLUMN personal SET STORAGE EXTERNAL;

CREATE INDEX events_xid_id ON eventlog.events (xid, id);

-- One customer at a time may hold a value. The digest is keyed: without the
-- key nobody can test a guess against it.
CREATE TABLE eventlog.claims (
    kind        smallint NOT NULL,
    digest      bytea    NOT NULL CHECK (octet_length(digest) = 32),
    customer_id uuid     NOT NULL,
    PRIMARY KEY (kind, digest)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- The data keys, wrapped. Deleting a row erases a customer.
CREATE TABLE eventlog.subject_keys (
    customer_id uuid  PRIMARY KEY,
    wrapped_key bytea NOT NULL,
    kek         text  NOT NULL
);

CREATE TABLE eventlog.idempotency (
    principal      text        NOT NULL,
    key            text        NOT NULL,
    request_digest bytea       NOT NULL CHECK (octet_length(request_digest) = 32),
    customer_id    uuid        NOT NULL,
    version        bigint      NOT NULL,
    status         smallint    NOT NULL,
    command_id     uuid        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (principal, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX idempotency_created_at ON eventlog.idempotency (created_at);

-- Folded states of long streams, sealed. Disposable: losing one costs time only.
CREATE TABLE eventlog.snapshots (
    customer_id uuid     PRIMARY KEY,
    version     bigint   NOT NULL,
    fold_hash   bytea    NOT NULL,
    state       bytea    NOT NULL
) WITH (fillfactor = 70);

ALTER TABLE eventlog.snapshots ALTER COLUMN state SET STORAGE EXTERNAL;

-- Events are facts. Rights keep the processes from changing them; this keeps
-- the owner from doing it by accident.
-- +goose StatementBegin
CREATE FUNCTION eventlog.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are never changed: % on %.%', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER events_are_facts
    BEFORE UPDATE OR DELETE OR TRUNCATE ON eventlog.events
    FOR EACH STATEMENT EXECUTE FUNCTION eventlog.refuse_change();

GRANT USAGE ON SCHEMA eventlog TO customer_command, customer_projector;
GRANT SELECT ON eventlog.schema_migrations TO customer_command, customer_projector;

GRANT SELECT, INSERT ON eventlog.events TO customer_command;
GRANT SELECT, INSERT, UPDATE ON eventlog.streams TO customer_command;
GRANT SELECT, INSERT, DELETE ON eventlog.claims, eventlog.subject_keys, eventlog.idempotency TO customer_command;
GRANT SELECT, INSERT, UPDATE, DELETE ON eventlog.snapshots TO customer_command;

GRANT SELECT ON eventlog.events, eventlog.streams, eventlog.subject_keys TO customer_projector;
