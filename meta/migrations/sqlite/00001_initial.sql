-- +goose Up

-- What the database says about itself.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Names sort by byte. manifests counts the rows of table manifests, so that the
-- repositories that can be listed are a range of an index.
CREATE TABLE repositories (
    id        INTEGER PRIMARY KEY,
    name      TEXT   NOT NULL UNIQUE,
    manifests BIGINT NOT NULL DEFAULT 0,
    created   BIGINT NOT NULL
);
CREATE INDEX repositories_listed ON repositories (name) WHERE manifests > 0;

-- Where the bytes of a digest are, and how the store described them when they
-- were last known to be right. Manifests have a row as well.
CREATE TABLE blobs (
    id         INTEGER PRIMARY KEY,
    digest     TEXT   NOT NULL UNIQUE,
    size       BIGINT NOT NULL,
    object_key TEXT   NOT NULL UNIQUE,
    stamp      TEXT   NOT NULL,
    created    BIGINT NOT NULL
);

-- Which blobs can be read in a repository. It is keyed by the name, so that the
-- repositories that hold a blob are a range, and in order.
CREATE TABLE repository_blobs (
    blob_id    BIGINT NOT NULL REFERENCES blobs (id),
    repository TEXT   NOT NULL REFERENCES repositories (name),
    created    BIGINT NOT NULL,
    PRIMARY KEY (blob_id, repository)
) WITHOUT ROWID;
CREATE INDEX repository_blobs_repository ON repository_blobs (repository);

CREATE TABLE manifests (
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    digest        TEXT   NOT NULL,
    blob_id       BIGINT NOT NULL REFERENCES blobs (id),
    media_type    TEXT   NOT NULL,
    artifact_type TEXT   NOT NULL,
    size          BIGINT NOT NULL,
    subject       TEXT,
    annotations   TEXT, -- a JSON object
    created       BIGINT NOT NULL,
    PRIMARY KEY (repository_id, digest)
);
CREATE INDEX manifests_subject ON manifests (repository_id, subject, digest) WHERE subject IS NOT NULL;
CREATE INDEX manifests_blob ON manifests (blob_id);

-- Parents keep their children: an image its config and layers, an index what it
-- lists, a subject what refers to it. A child may be missing here (layers with
-- urls), and so may a parent that is a subject.
CREATE TABLE manifest_references (
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    parent        TEXT   NOT NULL,
    child         TEXT   NOT NULL,
    kind          TEXT   NOT NULL,
    PRIMARY KEY (repository_id, parent, child, kind)
) WITHOUT ROWID;
CREATE INDEX manifest_references_child ON manifest_references (child, repository_id, parent);

CREATE TABLE tags (
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    name          TEXT   NOT NULL,
    digest        TEXT   NOT NULL,
    updated       BIGINT NOT NULL,
    PRIMARY KEY (repository_id, name),
    FOREIGN KEY (repository_id, digest) REFERENCES manifests (repository_id, digest)
) WITHOUT ROWID;
CREATE INDEX tags_digest ON tags (repository_id, digest);

CREATE TABLE uploads (
    id          TEXT   NOT NULL PRIMARY KEY,
    repository  TEXT   NOT NULL,
    owner       TEXT   NOT NULL,
    object_key  TEXT   NOT NULL UNIQUE,
    algorithm   TEXT   NOT NULL,
    hash_state  BLOB, -- null, like store_state, while no bytes were taken
    store_state BLOB,
    size        BIGINT NOT NULL,
    epoch       BIGINT NOT NULL,
    created     BIGINT NOT NULL,
    updated     BIGINT NOT NULL
);
CREATE INDEX uploads_owner ON uploads (owner);
CREATE INDEX uploads_updated ON uploads (updated);

CREATE TABLE accounts (
    name     TEXT    NOT NULL PRIMARY KEY,
    hash     TEXT    NOT NULL,
    groups   TEXT    NOT NULL, -- a JSON array
    disabled BOOLEAN NOT NULL,
    created  BIGINT  NOT NULL,
    updated  BIGINT  NOT NULL
) WITHOUT ROWID;

CREATE TABLE refresh_tokens (
    id        TEXT   NOT NULL PRIMARY KEY,
    hash      BLOB   NOT NULL UNIQUE,
    provider  TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    version   TEXT   NOT NULL,
    service   TEXT   NOT NULL,
    client    TEXT   NOT NULL,
    addr      TEXT   NOT NULL,
    created   BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);
CREATE INDEX refresh_tokens_name ON refresh_tokens (name, created);
CREATE INDEX refresh_tokens_last_used ON refresh_tokens (last_used);

CREATE TABLE signing_keys (
    id      TEXT   NOT NULL PRIMARY KEY,
    private BLOB   NOT NULL,
    created BIGINT NOT NULL
);

-- Queries are planned for a large registry from the first row on. Without these
-- statistics SQLite takes every table for small, and reads all tags or blobs of
-- a repository where it should look up a few.
ANALYZE;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('repositories', 'sqlite_autoindex_repositories_1', '100000 1'),
    ('repositories', 'repositories_listed', '100000 1'),
    ('blobs', 'sqlite_autoindex_blobs_1', '1000000 1'),
    ('blobs', 'sqlite_autoindex_blobs_2', '1000000 1'),
    ('repository_blobs', 'repository_blobs', '2000000 2 1'),
    ('repository_blobs', 'repository_blobs_repository', '2000000 2000 1'),
    ('manifests', 'sqlite_autoindex_manifests_1', '1000000 1000 1'),
    ('manifests', 'manifests_subject', '100000 1000 2 1'),
    ('manifests', 'manifests_blob', '1000000 2'),
    ('manifest_references', 'manifest_references', '10000000 10000 10 1 1'),
    ('manifest_references', 'manifest_references_child', '10000000 10 2 1 1'),
    ('tags', 'tags', '1000000 1000 1'),
    ('tags', 'tags_digest', '1000000 1000 2 1'),
    ('uploads', 'sqlite_autoindex_uploads_1', '1000 1'),
    ('uploads', 'sqlite_autoindex_uploads_2', '1000 1'),
    ('uploads', 'uploads_owner', '1000 100'),
    ('uploads', 'uploads_updated', '1000 1'),
    ('refresh_tokens', 'sqlite_autoindex_refresh_tokens_1', '100000 1'),
    ('refresh_tokens', 'sqlite_autoindex_refresh_tokens_2', '100000 1'),
    ('refresh_tokens', 'refresh_tokens_name', '100000 10 1'),
    ('refresh_tokens', 'refresh_tokens_last_used', '100000 1');
ANALYZE sqlite_schema;
