-- +goose Up
-- The whole document as the event left it, beside every so-manyth event of a
-- customer. A past version is the nearest keyframe before it with the changes
-- since, so that its cost does not grow with how much happened before. Rows
-- written earlier have none: those are put together from the first version on
-- until the read model is rebuilt. json, as in documents: its bytes stay as they
-- are, and its type has no order, so that statistics keep none of its values.
ALTER TABLE readmodel.history ADD COLUMN keyframe json;
