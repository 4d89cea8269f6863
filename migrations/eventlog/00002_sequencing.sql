-- +goose Up

-- Who may do a duty that only one process at a time may do. The epoch grows
-- with every change of holder; whatever the holder writes carries it, so that
-- a holder that was paused and overtaken finds its writes refused.
CREATE TABLE eventlog.leases (
    duty       text        PRIMARY KEY,
    holder     text        NOT NULL,
    expires_at timestamptz NOT NULL, -- by this database's clock, the only one that counts
    epoch      bigint      NOT NULL CHECK (epoch > 0)
);

-- The global order: dense, from 1, never changed once given. There is no
-- foreign key on event: events are never deleted, and the check would cost a
-- lookup and a row lock for each of them.
CREATE TABLE eventlog.positions (
    pos   bigint   PRIMARY KEY,
    event bigint   NOT NULL UNIQUE, -- events.id
    lane  smallint NOT NULL
) WITH (
    -- Reading one lane is planned along positions_lane while the table counts as
    -- visible, and else through all lanes' positions: 0.04 s per 300,000.
    autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
CREATE INDEX positions_lane ON eventlog.positions (lane, pos) INCLUDE (event);

-- The sequencer's settings; its row is also what two sequencers exclude each
-- other by. It changes only when a sequencer starts, so that locking it leaves
-- no dead row behind.
CREATE TABLE eventlog.sequencer (
    one    boolean  PRIMARY KEY DEFAULT true CHECK (one),
    lanes  smallint NOT NULL CHECK (lanes BETWEEN 1 AND 1024),
    origin text     NOT NULL, -- the cluster and database whose transaction ids the snapshots are made of
    epoch  bigint   NOT NULL DEFAULT 0 -- of the last sequencer that began
);

-- Where the sequencer stands: the newest row says it all, and each tick that
-- found events adds one and deletes the one before. A row updated in place
-- would grow a chain of dead versions for as long as any transaction in the
-- cluster stays open, and every tick would walk it.
CREATE TABLE eventlog.ticks (
    tick   bigint      PRIMARY KEY,
    taken  pg_snapshot NOT NULL, -- every event visible in it has a position
    pos    bigint      NOT NULL, -- the last position given out
    -- While a large difference is worked off in parts, and null otherwise:
    target pg_snapshot,          -- every event visible in it is being given a position, in the order of ids
    after  bigint,               -- the last id that has got one
    since  bigint                -- no transaction that began after taken has a lower id than this
);

-- A database without events starts from now; one that was cloned or restored
-- is recognised by its origin when the sequencer begins.
INSERT INTO eventlog.sequencer (lanes, origin) VALUES (8, '');
INSERT INTO eventlog.ticks (tick, taken, pos) VALUES (0, pg_current_snapshot(), 0);

-- How far each relay has got, per lane. Only confirmed messages count.
CREATE TABLE eventlog.relay_checkpoints (
    relay text     NOT NULL,
    lane  smallint NOT NULL,
    pos   bigint   NOT NULL DEFAULT 0,
    epoch bigint   NOT NULL DEFAULT 0,
    PRIMARY KEY (relay, lane)
);

-- +goose StatementBegin
-- sequence_begin starts one term of the sequencer. A database that is not the
-- one its snapshots come from (a logical restore, a clone, a cluster whose
-- transaction ids began again) has them taken anew, after everything without a
-- position has got one, in one transaction: measured at 5 s per million.
CREATE FUNCTION eventlog.sequence_begin(
    i_duty text, i_epoch bigint, i_lanes integer,
    OUT fenced boolean, OUT lanes integer, OUT rebaselined boolean, OUT sequenced bigint
) LANGUAGE plpgsql AS $$
DECLARE
    s      eventlog.sequencer;
    t      eventlog.ticks;
    cur    pg_snapshot;
    here   text;
    last   bigint;
BEGIN
    rebaselined := false;
    sequenced := 0;
    SELECT * INTO STRICT s FROM eventlog.sequencer FOR UPDATE;
    lanes := s.lanes;
    fenced := s.epoch > i_epoch OR NOT EXISTS (
        SELECT FROM eventlog.leases l WHERE l.duty = i_duty AND l.epoch = i_epoch);
    IF fenced OR s.lanes <> i_lanes THEN
        RETURN;
    END IF;

    SELECT c.system_identifier || '/' || d.oid INTO STRICT here
      FROM pg_control_system() c, pg_database d WHERE d.datname = current_database();
    SELECT * INTO STRICT t FROM eventlog.ticks ORDER BY tick DESC LIMIT 1;
    cur := pg_current_snapshot();
    IF s.origin <> here
       OR pg_snapshot_xmax(t.taken) > pg_snapshot_xmax(cur)
       OR pg_snapshot_xmax(t.target) > pg_snapshot_xmax(cur) THEN
        rebaselined := true;
        -- Transaction ids in the rows may come from another cluster and tell
        -- nothing here. One statement sees one set of committed events, and
        -- their ids order it; what commits while it runs is in the next tick.
        SELECT coalesce(max(p.pos), 0) INTO last FROM eventlog.positions p;
        INSERT INTO eventlog.positions (pos, event, lane)
        SELECT last + row_number() OVER (ORDER BY e.id), e.id, e.slot::integer * s.lanes / 1024
          FROM eventlog.events e
         WHERE NOT EXISTS (SELECT FROM eventlog.positions p WHERE p.event = e.id);
        GET DIAGNOSTICS sequenced = ROW_COUNT;
        INSERT INTO eventlog.ticks (tick, taken, pos) VALUES (t.tick + 1, cur, last + sequenced);
        DELETE FROM eventlog.ticks WHERE tick = t.tick;
    END IF;
    UPDATE eventlog.sequencer SET epoch = i_epoch, origin = here;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- sequence_tick gives positions to the events that became visible since the
-- last tick: those of transactions that began after its snapshot and have
-- ended, and those of transactions that were under way in it and have ended
-- since. Ids order them: a customer's ids are drawn under its stream's lock, so
-- within a customer they rise with the version, which transaction ids need not.
--
-- Nothing new: nothing is written, not even a lock, and the old snapshot stays
-- as good as it was.
--
-- More than i_limit events are worked off in parts of that size, a call each.
-- The set is pinned first (target) and then cut by id. Cutting it by
-- transaction id would put a customer's later event first whenever it was
-- written by the older transaction.
--
-- Ids already sequenced are passed over, because after a restore an old row's
-- transaction id may be reached again. The look-up is written as it is, and the
-- planner held to it, because a join would read all positions.
CREATE FUNCTION eventlog.sequence_tick(
    i_duty text, i_epoch bigint, i_limit integer,
    OUT fenced boolean, OUT lost boolean, OUT sequenced integer, OUT more boolean, OUT lanes smallint[], OUT head bigint
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET jit = off -- compiling took 20 ms of each tick on a large log
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    s        eventlog.sequencer;
    t        eventlog.ticks;
    cur      pg_snapshot;
    finished xid8[];
    ids      bigint[];
    slots    smallint[];
    pass     integer;
    part     boolean := false;
BEGIN
    fenced := false; lost := false; sequenced := 0; more := false; lanes := '{}';

    -- First without a lock, to leave when there is nothing; then again with it.
    FOR pass IN 1..2 LOOP
        SELECT * INTO STRICT t FROM eventlog.ticks ORDER BY tick DESC LIMIT 1;
        head := t.pos;
        -- Each statement here has a snapshot of its own. This one decides what
        -- counts; later statements see at least as much and filter by it.
        cur := coalesce(t.target, pg_current_snapshot());
        lost := pg_snapshot_xmax(t.taken) > pg_snapshot_xmax(cur);
        EXIT WHEN lost;
        finished := ARRAY(SELECT x FROM pg_snapshot_xip(t.taken) x WHERE pg_visible_in_snapshot(x, cur));

        IF t.target IS NULL THEN
            SELECT array_agg(d.id), array_agg(d.slot) INTO ids, slots FROM (
                SELECT e.id, e.slot FROM eventlog.events e
                  LEFT JOIN LATERAL (SELECT true AS has FROM eventlog.positions p WHERE p.event = e.id OFFSET 0) p ON true
                 WHERE e.xid >= pg_snapshot_xmax(t.taken) AND e.xid < pg_snapshot_xmax(cur)
                   AND pg_visible_in_snapshot(e.xid, cur) AND p.has IS NULL
                UNION ALL
                SELECT e.id, e.slot FROM unnest(finished) x
                  JOIN eventlog.events e ON e.xid = x
                  LEFT JOIN LATERAL (SELECT true AS has FROM eventlog.positions p WHERE p.event = e.id OFFSET 0) p ON true
                 WHERE p.has IS NULL
                LIMIT CASE pass WHEN 1 THEN 1 ELSE i_limit + 1 END) d;
            EXIT WHEN ids IS NULL;
        END IF;

        IF pass = 1 THEN
            SELECT * INTO STRICT s FROM eventlog.sequencer FOR UPDATE;
            fenced := s.epoch > i_epoch OR NOT EXISTS (
                SELECT FROM eventlog.leases l WHERE l.duty = i_duty AND l.epoch = i_epoch);
            EXIT WHEN fenced;
        END IF;
    END LOOP;
    IF lost OR fenced THEN
        RETURN;
    END IF;

    IF t.target IS NULL AND ids IS NULL THEN
        fenced := NOT EXISTS (SELECT FROM eventlog.leases l WHERE l.duty = i_duty AND l.epoch = i_epoch);
        RETURN;
    END IF;

    IF t.target IS NULL AND cardinality(ids) > i_limit THEN
        t.target := cur;
        t.after := 0;
        SELECT min(e.id) INTO t.since FROM eventlog.events e
         WHERE e.xid >= pg_snapshot_xmax(t.taken) AND e.xid < pg_snapshot_xmax(cur);
    END IF;

    IF t.target IS NOT NULL THEN
        SELECT array_agg(d.id), array_agg(d.slot) INTO ids, slots FROM (
            SELECT u.id, u.slot FROM (
                (SELECT e.id, e.slot FROM eventlog.events e
                   LEFT JOIN LATERAL (SELECT true AS has FROM eventlog.positions p WHERE p.event = e.id OFFSET 0) p ON true
                  WHERE e.id > t.after AND e.id >= t.since
                    -- As a function, lest the index on xid be read whole and sorted for every part.
                    AND xid8cmp(e.xid, pg_snapshot_xmax(t.taken)) >= 0
                    AND pg_visible_in_snapshot(e.xid, t.target) AND p.has IS NULL
                  ORDER BY e.id LIMIT i_limit)
                UNION ALL
                SELECT o.id, o.slot FROM unnest(finished) x CROSS JOIN LATERAL (
                    SELECT e.id, e.slot FROM eventlog.events e
                      LEFT JOIN LATERAL (SELECT true AS has FROM eventlog.positions p WHERE p.event = e.id OFFSET 0) p ON true
                     WHERE e.xid = x AND e.id > t.after AND p.has IS NULL
                     ORDER BY e.id LIMIT i_limit) o
            ) u ORDER BY u.id LIMIT i_limit) d;
        part := coalesce(cardinality(ids), 0) = i_limit;
        more := true; -- if not of this set, then of what came after it was pinned
    END IF;

    WITH given AS (
        INSERT INTO eventlog.positions (pos, event, lane)
        SELECT t.pos + row_number() OVER (ORDER BY u.id), u.id, u.slot::integer * s.lanes / 1024
          FROM unnest(ids, slots) u (id, slot) ORDER BY u.id
        RETURNING positions.lane)
    SELECT count(*), coalesce(array_agg(DISTINCT g.lane), '{}') INTO sequenced, lanes FROM given g;
    head := t.pos + sequenced;

    IF part THEN
        INSERT INTO eventlog.ticks (tick, taken, pos, target, after, since)
        VALUES (t.tick + 1, t.taken, head, t.target, (SELECT max(i) FROM unnest(ids) i), t.since);
    ELSE
        INSERT INTO eventlog.ticks (tick, taken, pos) VALUES (t.tick + 1, cur, head);
    END IF;
    DELETE FROM eventlog.ticks WHERE tick = t.tick;
END $$;
-- +goose StatementEnd

GRANT SELECT, INSERT, UPDATE ON eventlog.leases TO customer_command;
GRANT SELECT, INSERT ON eventlog.positions TO customer_command;
GRANT SELECT, UPDATE ON eventlog.sequencer TO customer_command;
GRANT SELECT, INSERT, DELETE ON eventlog.ticks TO customer_command;
GRANT SELECT, INSERT, UPDATE ON eventlog.relay_checkpoints TO customer_command;
GRANT SELECT ON eventlog.positions TO customer_projector;
REVOKE EXECUTE ON FUNCTION eventlog.sequence_begin, eventlog.sequence_tick FROM PUBLIC;
GRANT EXECUTE ON FUNCTION eventlog.sequence_begin, eventlog.sequence_tick TO customer_command;
