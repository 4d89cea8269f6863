-- How far a rebuild is: the next generation of the derived tables, filled from
-- the log in a schema of its own while the live one serves.

-- +goose Up
-- One row while a rebuild is under way or waits to be gone on with, none else.
CREATE TABLE readmodel.rebuild (
    one            boolean     PRIMARY KEY DEFAULT true CHECK (one),
    generation     integer     NOT NULL UNIQUE REFERENCES readmodel.generations ON DELETE CASCADE,
    state          text        NOT NULL CHECK (state IN ('filling', 'indexing', 'catching up', 'verifying', 'switching')),
    done           bigint      NOT NULL DEFAULT 0, -- events folded
    total          bigint      NOT NULL,           -- events there were when it began
    started_at     timestamptz NOT NULL DEFAULT now(),
    attempt        bigint      NOT NULL DEFAULT 1, -- of which process may write: an earlier one's writes fail
    schema_version bigint      NOT NULL            -- the migration that the tables were copied after
) WITH (fillfactor = 10); -- one hot row: room for updates in place

-- The ranges of customers it is cut into. One is filled in one transaction.
CREATE TABLE readmodel.rebuild_parts (
    generation integer NOT NULL REFERENCES readmodel.rebuild (generation) ON DELETE CASCADE,
    part       integer NOT NULL,
    first_id   uuid    NOT NULL,
    last_id    uuid    NOT NULL, -- of the range too
    events     bigint,           -- folded; null until it is filled
    PRIMARY KEY (generation, part)
);

-- Events passed over on an operator's decision. A rebuild passes over them too,
-- unless they can be applied by then, and so takes nobody back.
CREATE TABLE readmodel.passed_over (
    customer_id uuid        NOT NULL,
    version     bigint      NOT NULL,
    type        text        NOT NULL,
    reason      text        NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (customer_id, version)
);

GRANT SELECT ON readmodel.rebuild TO customer_projector, customer_query;
GRANT SELECT, INSERT, UPDATE, DELETE ON readmodel.passed_over TO customer_projector;
