-- +goose Up

-- What tells the owner from others of his name. What was made before has none,
-- and keeps that of its owner from its next use on.
ALTER TABLE robots ADD COLUMN owner_id TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE personal_tokens ADD COLUMN owner_id TEXT COLLATE "C" NOT NULL DEFAULT '';
