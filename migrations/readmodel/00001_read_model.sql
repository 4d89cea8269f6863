-- The read model: documents, their history, and how far the projection is.
-- Everything here is derived from the event log and can be built again, so none
-- of it needs a backup. Personal data is in the clear; an erasure deletes it.

-- +goose Up
-- One generation of tables is live; a rebuild fills the next one beside it.
CREATE TABLE readmodel.generations (
    generation integer     PRIMARY KEY,
    state      text        NOT NULL CHECK (state IN ('building', 'live', 'retired')),
    created_at timestamptz NOT NULL DEFAULT now(),
    live_at    timestamptz
);
CREATE UNIQUE INDEX generations_one_live ON readmodel.generations (state) WHERE state = 'live';
INSERT INTO readmodel.generations (generation, state, live_at) VALUES (1, 'live', now());

-- A lane's row is locked by whoever applies to it: that lock, not the broker,
-- is what keeps two projectors from applying one event twice.
CREATE TABLE readmodel.checkpoints (
    generation      integer  NOT NULL REFERENCES readmodel.generations,
    lane            smallint NOT NULL,
    position        bigint   NOT NULL DEFAULT 0,
    cached_position bigint   NOT NULL DEFAULT 0, -- the cache is known to hold nothing older up to here
    rewinds         bigint   NOT NULL DEFAULT 0, -- how often cached_position was set back
    PRIMARY KEY (generation, lane),
    CHECK (cached_position <= position)
) WITH (fillfactor = 50); -- one hot row a lane: room for updates in place

CREATE TABLE readmodel.documents (
    customer_id            uuid        PRIMARY KEY,
    version                bigint      NOT NULL,
    position               bigint      NOT NULL, -- of the last event applied
    slot                   smallint    NOT NULL,
    status                 text        NOT NULL, -- what reads answer: erased as soon as the key is gone
    document               json        NOT NULL, -- the contract's bytes; json, because jsonb would rewrite them
    status_before_deletion text,
    erasure                jsonb,
    created_at             timestamptz NOT NULL,
    updated_at             timestamptz NOT NULL
) WITH (fillfactor = 85); -- most updates change no indexed column

-- Every event applied, with the values it changed.
CREATE TABLE readmodel.history (
    customer_id    uuid        NOT NULL,
    version        bigint      NOT NULL,
    position       bigint      NOT NULL,
    type           text        NOT NULL,
    at             timestamptz NOT NULL,
    actor          text,
    correlation_id text,
    changes        jsonb       NOT NULL, -- [{"field", "old", "new"}]; empty once erased
    PRIMARY KEY (customer_id, version)
);
-- Says which customers changed after a position, for repairing the cache. On an
-- append-only column, unlike on documents, it costs updates in place nothing.
CREATE INDEX history_position ON readmodel.history (position);

-- A customer with an event that cannot be applied: nothing of it is applied any
-- more, and what is left out is read again from the log when it is let go.
CREATE TABLE readmodel.parked (
    customer_id  uuid        PRIMARY KEY,
    lane         smallint    NOT NULL,
    position     bigint      NOT NULL, -- of the first event left out
    version      bigint      NOT NULL, -- of the first event left out
    last_version bigint      NOT NULL, -- of the last event left out
    type         text        NOT NULL,
    reason       text        NOT NULL,
    attempts     integer     NOT NULL,
    since        timestamptz NOT NULL DEFAULT now()
);

-- Which keys of which Redis hold entries that may be trusted: those of this
-- epoch on the server with this run id. No run id: none.
CREATE TABLE readmodel.cache_state (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch  bigint  NOT NULL,
    run_id text    NOT NULL
);
INSERT INTO readmodel.cache_state (epoch, run_id) VALUES (1, '');

-- What the projector last saw of the log, because query processes cannot.
CREATE TABLE readmodel.heartbeat (
    one   boolean     PRIMARY KEY DEFAULT true CHECK (one),
    at    timestamptz NOT NULL,
    head  bigint      NOT NULL,
    lanes jsonb       NOT NULL -- [{"lane", "head", "applied", "waiting_ms"}]
) WITH (fillfactor = 10);

GRANT USAGE ON SCHEMA readmodel TO customer_projector, customer_query;
GRANT SELECT ON readmodel.schema_migrations, readmodel.generations TO customer_projector, customer_query;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    readmodel.checkpoints, readmodel.documents, readmodel.history, readmodel.parked,
    readmodel.cache_state, readmodel.heartbeat
    TO customer_projector;
GRANT SELECT ON
    readmodel.checkpoints, readmodel.documents, readmodel.history, readmodel.parked,
    readmodel.cache_state, readmodel.heartbeat
    TO customer_query;
