-- +goose Up

-- When a node last began to ask the provider about a user: one at a time does.
ALTER TABLE sso_users ADD COLUMN asked BIGINT NOT NULL DEFAULT 0;

-- Whose something is that serves once, or from one place: whoever came first with
-- it, on whichever node, until it is of no more use to anybody.
CREATE TABLE claims (
    hash   BYTEA            NOT NULL PRIMARY KEY,
    holder TEXT COLLATE "C" NOT NULL,
    until  BIGINT           NOT NULL
);
CREATE INDEX claims_until ON claims (until);

-- Logins of command lines that have begun. Nobody has decided on those without
-- a decision; user_name says who let one in.
CREATE TABLE device_logins (
    hash          BYTEA            NOT NULL PRIMARY KEY,
    code          TEXT COLLATE "C" NOT NULL UNIQUE,
    client        TEXT COLLATE "C" NOT NULL,
    addr          TEXT COLLATE "C" NOT NULL,
    began         BIGINT           NOT NULL,
    decision      TEXT COLLATE "C" NOT NULL,
    user_provider TEXT COLLATE "C" NOT NULL,
    user_name     TEXT COLLATE "C" NOT NULL,
    user_version  TEXT COLLATE "C" NOT NULL
);
CREATE INDEX device_logins_began ON device_logins (began);
