-- +goose Up

-- +goose StatementBegin
-- append_batch commits many commands in one round trip and tells what became
-- of each. Its arrays are columns: i_ has an element per item, the others name
-- their item by its number, from 1: e_ events, t_ claims to take, f_ claims to
-- free, k_ new keys, d_ keys to destroy, p_ idempotency records.
--
-- Verdicts: 0 appended, 1 was appended before, 2 conflicted, 3 claim taken,
-- 4 replayed. o_version has the recorded version with 1 and the present one
-- with 2; r_ has the records of replays.
--
-- Every transaction waits for others in the same order: streams that exist (by
-- id), claims (by digest), new streams (by id), idempotency keys. Nothing waits
-- for a claim after having freed one, so two batches cannot wait for each
-- other. Nothing is written for an item before its verdict is known, but for
-- claims. A race lost later than that raises serialization_failure: the caller
-- runs the batch again, and the next run sees who won.
--
-- The planner is held to index look-ups by key. It plans once a connection,
-- maybe while the tables are empty, and would go on reading whole tables.
CREATE FUNCTION eventlog.append_batch(
    i_customer uuid[], i_expected bigint[], i_count integer[], i_slot smallint[],
    e_item integer[], e_version bigint[], e_id uuid[], e_type text[], e_schema smallint[],
    e_data jsonb[], e_personal bytea[], e_metadata jsonb[], e_at timestamptz[],
    t_item integer[], t_kind smallint[], t_digest bytea[],
    f_item integer[], f_kind smallint[], f_digest bytea[],
    k_item integer[], k_wrapped bytea[], k_kek text[],
    d_item integer[],
    p_item integer[], p_principal text[], p_key text[], p_digest bytea[], p_version bigint[], p_status smallint[], p_command uuid[],
    OUT o_verdict smallint[], OUT o_version bigint[], OUT o_claim smallint[],
    OUT r_item integer[], OUT r_digest bytea[], OUT r_customer uuid[], OUT r_version bigint[],
    OUT r_status smallint[], OUT r_command uuid[], OUT r_created timestamptz[]
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    n       integer := cardinality(i_customer);
    present bigint[] := array_fill(0::bigint, ARRAY[n]);
    stale   integer[] := '{}';
    born    integer := 0;
    moved   integer := 0;
    kept    integer;
    written integer;
    r       record;
BEGIN
    o_verdict := array_fill(0::smallint, ARRAY[n]);
    o_version := array_fill(0::bigint, ARRAY[n]);
    o_claim := array_fill(0::smallint, ARRAY[n]);

    IF cardinality(p_item) > 0 THEN
        FOR r IN
            SELECT u.item, d.command_id = u.command AS own,
                   d.request_digest, d.customer_id, d.version, d.status, d.command_id, d.created_at
              FROM unnest(p_item, p_principal, p_key, p_command) AS u (item, principal, key, command)
              JOIN eventlog.idempotency d ON d.principal = u.principal AND d.key = u.key
        LOOP
            IF r.own THEN
                o_verdict[r.item] := 1;
                o_version[r.item] := r.version;
            ELSE
                o_verdict[r.item] := 4;
                r_item := r_item || r.item;
                r_digest := r_digest || r.request_digest;
                r_customer := r_customer || r.customer_id;
                r_version := r_version || r.version;
                r_status := r_status || r.status;
                r_command := r_command || r.command_id;
                r_created := r_created || r.created_at;
            END IF;
        END LOOP;
    END IF;

    FOR r IN
        SELECT u.item, s.version
          FROM unnest(i_customer) WITH ORDINALITY AS u (customer_id, item)
          JOIN eventlog.streams s ON s.customer_id = u.customer_id
         WHERE o_verdict[u.item] = 0
         ORDER BY s.customer_id
           FOR NO KEY UPDATE OF s
    LOOP
        present[r.item] := r.version;
    END LOOP;
    FOR i IN 1..n LOOP
        IF o_verdict[i] = 0 AND present[i] <> i_expected[i] THEN
            stale := stale || i;
        END IF;
    END LOOP;
    -- A stream that moved on may have done so with this very item: a caller
    -- in doubt hands it in again.
    IF cardinality(stale) > 0 THEN
        FOR r IN
            SELECT s.item, count(e.event_id) AS same
              FROM unnest(stale) AS s (item)
              LEFT JOIN unnest(e_item, e_version, e_id) AS u (item, version, id) ON u.item = s.item
              LEFT JOIN eventlog.events e
                ON e.customer_id = i_customer[s.item] AND e.version = u.version AND e.event_id = u.id
             GROUP BY s.item
        LOOP
            IF i_count[r.item] > 0 AND r.same = i_count[r.item] THEN
                o_verdict[r.item] := 1;
                o_version[r.item] := i_expected[r.item] + i_count[r.item];
            ELSE
                o_verdict[r.item] := 2;
                o_version[r.item] := present[r.item];
            END IF;
        END LOOP;
    END IF;

    IF cardinality(t_item) > 0 THEN
        INSERT INTO eventlog.claims (kind, digest, customer_id)
        SELECT u.kind, u.digest, i_customer[u.item]
          FROM unnest(t_item, t_kind, t_digest) AS u (item, kind, digest)
         WHERE o_verdict[u.item] = 0
         ORDER BY u.kind, u.digest
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written < cardinality(t_item) THEN
            -- A customer's own claims cannot have changed: its stream is locked.
            -- So what is neither new nor its own was another's.
            kept := 0;
            FOR r IN
                SELECT u.item, min(u.kind) AS kind
                  FROM unnest(t_item, t_kind, t_digest) AS u (item, kind, digest)
                 WHERE o_verdict[u.item] = 0 AND NOT EXISTS (
                       SELECT FROM eventlog.claims c
                        WHERE c.kind = u.kind AND c.digest = u.digest AND c.customer_id = i_customer[u.item])
                 GROUP BY u.item
            LOOP
                o_verdict[r.item] := 3;
                o_claim[r.item] := r.kind;
                kept := kept + 1;
            END LOOP;
            IF kept > 0 THEN -- a loser gives back what it took just now, and keeps what it had
                DELETE FROM eventlog.claims c
                 USING unnest(t_item, t_kind, t_digest) AS u (item, kind, digest)
                 WHERE o_verdict[u.item] = 3 AND c.kind = u.kind AND c.digest = u.digest
                   AND c.customer_id = i_customer[u.item] AND c.xmin = pg_current_xact_id()::xid;
            END IF;
        END IF;
    END IF;

    -- Who lost may have lost to itself: the same request under way twice, or the
    -- same item handed in again while its first attempt was still running. What
    -- that one committed is visible by now; the next run tells it apart.
    IF 2 = ANY (o_verdict) OR 3 = ANY (o_verdict) THEN
        IF EXISTS (
            SELECT FROM unnest(p_item, p_principal, p_key) AS u (item, principal, key)
              JOIN eventlog.idempotency d ON d.principal = u.principal AND d.key = u.key
             WHERE o_verdict[u.item] IN (2, 3))
        OR EXISTS (
            SELECT FROM unnest(i_customer, i_expected) WITH ORDINALITY AS u (customer_id, expected, item)
              JOIN eventlog.streams s ON s.customer_id = u.customer_id
             WHERE o_verdict[u.item] = 3 AND u.expected = 0)
        THEN
            RAISE EXCEPTION 'an item was committed meanwhile' USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;

    FOR i IN 1..n LOOP
        IF o_verdict[i] = 0 AND i_count[i] > 0 THEN
            IF i_expected[i] = 0 THEN
                born := born + 1;
            ELSE
                moved := moved + 1;
            END IF;
        END IF;
    END LOOP;
    IF born > 0 THEN
        INSERT INTO eventlog.streams (customer_id, version)
        SELECT u.customer_id, u.count
          FROM unnest(i_customer, i_expected, i_count) WITH ORDINALITY AS u (customer_id, expected, count, item)
         WHERE o_verdict[u.item] = 0 AND u.expected = 0 AND u.count > 0
         ORDER BY u.customer_id
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> born THEN
            RAISE EXCEPTION 'a stream began meanwhile' USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;
    IF moved > 0 THEN
        UPDATE eventlog.streams s
           SET version = u.expected + u.count
          FROM unnest(i_customer, i_expected, i_count) WITH ORDINALITY AS u (customer_id, expected, count, item)
         WHERE s.customer_id = u.customer_id AND s.version = u.expected
           AND o_verdict[u.item] = 0 AND u.expected > 0 AND u.count > 0;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> moved THEN
            RAISE EXCEPTION 'a locked stream moved' USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;

    IF cardinality(f_item) > 0 THEN
        DELETE FROM eventlog.claims c
         USING unnest(f_item, f_kind, f_digest) AS u (item, kind, digest)
         WHERE o_verdict[u.item] = 0
           AND c.kind = u.kind AND c.digest = u.digest AND c.customer_id = i_customer[u.item];
    END IF;
    IF cardinality(k_item) > 0 THEN
        INSERT INTO eventlog.subject_keys (customer_id, wrapped_key, kek)
        SELECT i_customer[u.item], u.wrapped, u.kek
          FROM unnest(k_item, k_wrapped, k_kek) AS u (item, wrapped, kek)
         WHERE o_verdict[u.item] = 0;
    END IF;
    IF cardinality(d_item) > 0 THEN
        DELETE FROM eventlog.subject_keys k USING unnest(d_item) AS u (item)
         WHERE o_verdict[u.item] = 0 AND k.customer_id = i_customer[u.item];
        DELETE FROM eventlog.snapshots s USING unnest(d_item) AS u (item)
         WHERE o_verdict[u.item] = 0 AND s.customer_id = i_customer[u.item];
    END IF;

    -- Ids are drawn here, under the streams' locks, in the order of the items.
    IF born + moved > 0 THEN
        INSERT INTO eventlog.events (customer_id, version, event_id, type, schema_version, slot, data, personal, metadata, recorded_at)
        SELECT i_customer[u.item], u.version, u.id, u.type, u.schema_version, i_slot[u.item], u.data, u.personal, u.metadata, u.at
          FROM unnest(e_item, e_version, e_id, e_type, e_schema, e_data, e_personal, e_metadata, e_at) WITH ORDINALITY
               AS u (item, version, id, type, schema_version, data, personal, metadata, at, ord)
         WHERE o_verdict[u.item] = 0
         ORDER BY u.ord;
    END IF;

    IF cardinality(p_item) > 0 THEN
        kept := 0;
        FOR i IN 1..cardinality(p_item) LOOP
            IF o_verdict[p_item[i]] = 0 THEN
                kept := kept + 1;
            END IF;
        END LOOP;
        IF kept > 0 THEN
            INSERT INTO eventlog.idempotency (principal, key, request_digest, customer_id, version, status, command_id)
            SELECT u.principal, u.key, u.digest, i_customer[u.item], u.version, u.status, u.command
              FROM unnest(p_item, p_principal, p_key, p_digest, p_version, p_status, p_command)
                   AS u (item, principal, key, digest, version, status, command)
             WHERE o_verdict[u.item] = 0
             ORDER BY u.principal, u.key
                ON CONFLICT DO NOTHING;
            GET DIAGNOSTICS written = ROW_COUNT;
            IF written <> kept THEN
                RAISE EXCEPTION 'an idempotency key was recorded meanwhile' USING ERRCODE = 'serialization_failure';
            END IF;
        END IF;
    END IF;
END
$$;
-- +goose StatementEnd

REVOKE EXECUTE ON FUNCTION eventlog.append_batch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION eventlog.append_batch TO customer_command;
