-- +goose Up

-- The events as other services may see them, from the first one on and without
-- holes, so that whoever has read up to a position has missed nothing below it.
-- No values: an erasure finds nothing to delete here.
CREATE TABLE readmodel.events (
    position    bigint      PRIMARY KEY,
    event_id    uuid        NOT NULL,
    type        text        NOT NULL,
    customer_id uuid        NOT NULL,
    version     bigint      NOT NULL,
    changed     text[]      NOT NULL, -- names of fields
    at          timestamptz NOT NULL,
    UNIQUE (customer_id, version)     -- answers whether a consistency token has been reached
);

-- The position of the last of them. Whoever appends holds its lock, so that
-- positions become visible in their order, whatever number of projectors run.
CREATE TABLE readmodel.events_checkpoint (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint  NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO readmodel.events_checkpoint DEFAULT VALUES;

-- {"applied", "behind", "waiting_ms"}; null until a projector of this release beats.
ALTER TABLE readmodel.heartbeat ADD COLUMN feed jsonb;

GRANT SELECT, INSERT ON readmodel.events TO customer_projector;
GRANT SELECT, UPDATE ON readmodel.events_checkpoint TO customer_projector;
GRANT SELECT ON readmodel.events, readmodel.events_checkpoint TO customer_query;
