-- +goose Up
-- Epochs of the cache begin at the clock's seconds, so that a read model that is
-- made anew never comes back to one of which Redis still has keys: what those
-- hold may be of another log, and of customers erased since.
UPDATE readmodel.cache_state SET epoch = greatest(epoch + 1, extract(epoch FROM clock_timestamp())::bigint);
