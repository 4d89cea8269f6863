-- +goose Up

-- From here on the relay also tells other services of each event. Of those that
-- have a position already nobody was told, and nobody can have been waiting:
-- they are to be had from GET /v1/events. A new log has none, and begins at its
-- first event.
INSERT INTO eventlog.relay_checkpoints (relay, lane, pos)
SELECT 'integration', 0, max(pos) FROM eventlog.positions HAVING max(pos) > 0
ON CONFLICT DO NOTHING;
