-- +goose Up

-- When a node last began to ask the provider about a user: one at a time does.
ALTER TABLE sso_users ADD COLUMN asked BIGINT NOT NULL DEFAULT 0;

-- Whose something is that serves once, or from one place: whoever came first with
-- it, on whichever node, until it is of no more use to anybody.
CREATE TABLE claims (
    hash   BLOB   NOT NULL PRIMARY KEY,
    holder TEXT   NOT NULL,
    until  BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX claims_until ON claims (until);

-- Logins of command lines that have begun. Nobody has decided on those without
-- a decision; user_name says who let one in.
CREATE TABLE device_logins (
    hash          BLOB   NOT NULL PRIMARY KEY,
    code          TEXT   NOT NULL UNIQUE,
    client        TEXT   NOT NULL,
    addr          TEXT   NOT NULL,
    began         BIGINT NOT NULL,
    decision      TEXT   NOT NULL,
    user_provider TEXT   NOT NULL,
    user_name     TEXT   NOT NULL,
    user_version  TEXT   NOT NULL
) WITHOUT ROWID;
CREATE INDEX device_logins_began ON device_logins (began);

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('claims', 'claims', '100000 1'),
    ('claims', 'claims_until', '100000 1'),
    ('device_logins', 'device_logins', '1000 1'),
    ('device_logins', 'sqlite_autoindex_device_logins_1', '1000 1'),
    ('device_logins', 'sqlite_autoindex_device_logins_2', '1000 1'),
    ('device_logins', 'device_logins_began', '1000 1');
ANALYZE sqlite_schema;
