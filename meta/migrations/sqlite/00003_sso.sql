-- +goose Up

-- People whom an OpenID Connect provider vouches for. Issuer and subject say
-- who somebody is; nobody else gets his name.
CREATE TABLE sso_users (
    issuer        TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    provider      TEXT    NOT NULL,
    name          TEXT    NOT NULL UNIQUE,
    groups        TEXT    NOT NULL, -- a JSON array
    refresh_token BLOB, -- sealed
    created       BIGINT  NOT NULL,
    last_login    BIGINT  NOT NULL,
    checked       BIGINT  NOT NULL,
    suspended     BOOLEAN NOT NULL,
    disabled      BOOLEAN NOT NULL,
    changed       BIGINT  NOT NULL, -- of suspended or disabled
    PRIMARY KEY (issuer, subject)
) WITHOUT ROWID;
CREATE INDEX sso_users_provider ON sso_users (provider, name);

-- Logins with a browser.
CREATE TABLE sessions (
    hash      BLOB   NOT NULL PRIMARY KEY,
    provider  TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    version   TEXT   NOT NULL,
    created   BIGINT NOT NULL,
    last_used BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_name ON sessions (name, created);
CREATE INDEX sessions_last_used ON sessions (last_used);

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('sso_users', 'sso_users', '10000 10000 1'),
    ('sso_users', 'sqlite_autoindex_sso_users_1', '10000 1'),
    ('sso_users', 'sso_users_provider', '10000 10000 1'),
    ('sessions', 'sessions', '10000 1'),
    ('sessions', 'sessions_name', '10000 2 1'),
    ('sessions', 'sessions_last_used', '10000 1');
ANALYZE sqlite_schema;
