-- Lists and search: what customers are found by, of the living ones alone, and
-- the key of the cursors that lead through the pages.

-- +goose Up
-- Apart from documents, because most events change nothing of it, and then
-- nothing is written to it or to its indexes. Texts are folded by the projector,
-- in one place for what is stored and what is asked (package query).
CREATE TABLE readmodel.listing (
    customer_id uuid        PRIMARY KEY,
    status      text        NOT NULL CHECK (status IN ('active', 'suspended')),
    created_at  timestamptz NOT NULL,
    last_name   text        COLLATE "C" NOT NULL, -- folded, what lists are sorted by; empty for none
    email       text        COLLATE "C" NOT NULL, -- canonical
    phone       text        COLLATE "C",
    external_id text        COLLATE "C",
    tags        text[]      NOT NULL,
    words       text        COLLATE "C" NOT NULL, -- folded, each with a space before it
    grams       integer[]   NOT NULL              -- hashes of the tags and of how the words begin, with and without a typo
);

-- Every column that describes the person stays out of the statistics, which no
-- erasure reaches; queries do not leave to the planner what these would tell it.
ALTER TABLE readmodel.listing
    ALTER COLUMN last_name   SET STATISTICS 0,
    ALTER COLUMN email       SET STATISTICS 0,
    ALTER COLUMN phone       SET STATISTICS 0,
    ALTER COLUMN external_id SET STATISTICS 0,
    ALTER COLUMN tags        SET STATISTICS 0,
    ALTER COLUMN words       SET STATISTICS 0,
    ALTER COLUMN grams       SET STATISTICS 0;

-- Few are suspended, so that an order of theirs costs little and the general one
-- serves those who are active.
CREATE INDEX listing_created             ON readmodel.listing (created_at, customer_id);
CREATE INDEX listing_created_suspended   ON readmodel.listing (created_at, customer_id) WHERE status = 'suspended';
CREATE INDEX listing_last_name           ON readmodel.listing (last_name, customer_id);
CREATE INDEX listing_last_name_suspended ON readmodel.listing (last_name, customer_id) WHERE status = 'suspended';

-- Not unique: one customer's lane may be ahead of that of the customer who freed
-- the value.
CREATE INDEX listing_email       ON readmodel.listing (email);
CREATE INDEX listing_phone       ON readmodel.listing (phone) WHERE phone IS NOT NULL;
CREATE INDEX listing_external_id ON readmodel.listing (external_id) WHERE external_id IS NOT NULL;

-- What waits to be sorted into it is read by every search, so it is kept short.
-- Numbers, because a key stays in such an index for good, whoever is erased.
CREATE INDEX listing_grams ON readmodel.listing USING gin (grams) WITH (gin_pending_list_limit = 1024);

-- Every event moves its customer here. On documents, which every event writes
-- anyway, that costs less than a row of its own elsewhere would.
CREATE INDEX documents_updated           ON readmodel.documents (updated_at, customer_id) WHERE status IN ('active', 'suspended');
CREATE INDEX documents_updated_suspended ON readmodel.documents (updated_at, customer_id) WHERE status = 'suspended';

-- Whether listing has every living customer. What was projected by an earlier
-- release is not in it; the projector adds that when it starts.
CREATE TABLE readmodel.listing_state (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    complete boolean NOT NULL
);
INSERT INTO readmodel.listing_state (complete) SELECT NOT EXISTS (SELECT FROM readmodel.documents);

-- The key that every query process seals cursors with. It is as old as the
-- schema and survives restarts and rebuilds.
CREATE TABLE readmodel.cursor_key (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    key bytea   NOT NULL CHECK (length(key) = 32)
);
INSERT INTO readmodel.cursor_key (key)
SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

GRANT SELECT, INSERT, UPDATE, DELETE ON readmodel.listing TO customer_projector;
GRANT SELECT, UPDATE ON readmodel.listing_state TO customer_projector;
GRANT SELECT ON readmodel.listing, readmodel.listing_state, readmodel.cursor_key TO customer_query;
