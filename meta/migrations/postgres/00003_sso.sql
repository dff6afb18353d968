-- +goose Up

-- People whom an OpenID Connect provider vouches for. Issuer and subject say
-- who somebody is; nobody else gets his name.
CREATE TABLE sso_users (
    issuer        TEXT COLLATE "C" NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    provider      TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C" NOT NULL UNIQUE,
    groups        TEXT COLLATE "C" NOT NULL, -- a JSON array
    refresh_token BYTEA, -- sealed
    created       BIGINT           NOT NULL,
    last_login    BIGINT           NOT NULL,
    checked       BIGINT           NOT NULL,
    suspended     BOOLEAN          NOT NULL,
    disabled      BOOLEAN          NOT NULL,
    changed       BIGINT           NOT NULL, -- of suspended or disabled
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX sso_users_provider ON sso_users (provider, name);

-- Logins with a browser.
CREATE TABLE sessions (
    hash      BYTEA            NOT NULL PRIMARY KEY,
    provider  TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    version   TEXT COLLATE "C" NOT NULL,
    created   BIGINT           NOT NULL,
    last_used BIGINT           NOT NULL
);
CREATE INDEX sessions_name ON sessions (name, created);
CREATE INDEX sessions_last_used ON sessions (last_used);
