-- +goose Up

-- repositories, actions and networks are JSON arrays, and say what a robot or a
-- token is narrowed to. A robot without an owner has empty texts there; what
-- never expires has 0.
CREATE TABLE robots (
    name           TEXT    NOT NULL PRIMARY KEY,
    owner_provider TEXT    NOT NULL,
    owner_name     TEXT    NOT NULL,
    repositories   TEXT    NOT NULL,
    actions        TEXT    NOT NULL,
    networks       TEXT    NOT NULL,
    expires        BIGINT  NOT NULL,
    disabled       BOOLEAN NOT NULL,
    comment        TEXT    NOT NULL,
    created_by     TEXT    NOT NULL,
    created        BIGINT  NOT NULL,
    updated        BIGINT  NOT NULL
) WITHOUT ROWID;
CREATE INDEX robots_owner ON robots (owner_provider, owner_name);

CREATE TABLE robot_secrets (
    id        TEXT   NOT NULL PRIMARY KEY,
    hash      BLOB   NOT NULL UNIQUE,
    robot     TEXT   NOT NULL REFERENCES robots (name),
    created   BIGINT NOT NULL,
    expires   BIGINT NOT NULL,
    last_used BIGINT NOT NULL,
    last_addr TEXT   NOT NULL
);
CREATE INDEX robot_secrets_robot ON robot_secrets (robot, created, id);

CREATE TABLE personal_tokens (
    id             TEXT   NOT NULL PRIMARY KEY,
    hash           BLOB   NOT NULL UNIQUE,
    owner_provider TEXT   NOT NULL,
    owner_name     TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    repositories   TEXT   NOT NULL,
    actions        TEXT   NOT NULL,
    networks       TEXT   NOT NULL,
    created_by     TEXT   NOT NULL,
    created        BIGINT NOT NULL,
    expires        BIGINT NOT NULL,
    last_used      BIGINT NOT NULL,
    last_addr      TEXT   NOT NULL
);
CREATE INDEX personal_tokens_owner ON personal_tokens (owner_provider, owner_name);
