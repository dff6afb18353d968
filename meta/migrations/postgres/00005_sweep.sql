-- +goose Up

-- What one node at a time does. fence counts the leases: who knows only an older
-- one has been overtaken.
CREATE TABLE jobs (
    name    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder  TEXT COLLATE "C" NOT NULL,
    fence   BIGINT           NOT NULL,
    expires BIGINT           NOT NULL, -- of the lease; 0 when nobody has it
    done    BIGINT           NOT NULL, -- when the job was last done whole
    tried   BIGINT           NOT NULL  -- or ended in any way but an interruption
);

-- When a manifest was last pushed again or lost a tag or a parent, and when it
-- was last read. What was written before has 0: created is known.
ALTER TABLE manifests ADD COLUMN updated BIGINT NOT NULL DEFAULT 0;
ALTER TABLE manifests ADD COLUMN pulled BIGINT NOT NULL DEFAULT 0;

-- created of repository_blobs is the lease of a blob that no manifest of the
-- repository names: it moves on when the blob is pushed, mounted or asked for
-- again, and when a manifest that named it is deleted.

-- Keys whose rows are gone, and whose bytes have still to go.
CREATE TABLE deleted_objects (
    object_key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    size       BIGINT           NOT NULL,
    deleted    BIGINT           NOT NULL
);

-- Keys of the blob store that nothing names: since when that is known, and when
-- the sweep began that last met them.
CREATE TABLE unknown_objects (
    object_key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    size       BIGINT           NOT NULL,
    found      BIGINT           NOT NULL,
    seen       BIGINT           NOT NULL
);
