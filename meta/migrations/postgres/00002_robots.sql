-- +goose Up

-- repositories, actions and networks are JSON arrays, and say what a robot or a
-- token is narrowed to. A robot without an owner has empty texts there; what
-- never expires has 0.
CREATE TABLE robots (
    name           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner_provider TEXT COLLATE "C" NOT NULL,
    owner_name     TEXT COLLATE "C" NOT NULL,
    repositories   TEXT COLLATE "C" NOT NULL,
    actions        TEXT COLLATE "C" NOT NULL,
    networks       TEXT COLLATE "C" NOT NULL,
    expires        BIGINT           NOT NULL,
    disabled       BOOLEAN          NOT NULL,
    comment        TEXT COLLATE "C" NOT NULL,
    created_by     TEXT COLLATE "C" NOT NULL,
    created        BIGINT           NOT NULL,
    updated        BIGINT           NOT NULL
);
CREATE INDEX robots_owner ON robots (owner_provider, owner_name);

CREATE TABLE robot_secrets (
    id        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    hash      BYTEA            NOT NULL UNIQUE,
    robot     TEXT COLLATE "C" NOT NULL REFERENCES robots (name),
    created   BIGINT           NOT NULL,
    expires   BIGINT           NOT NULL,
    last_used BIGINT           NOT NULL,
    last_addr TEXT COLLATE "C" NOT NULL
);
CREATE INDEX robot_secrets_robot ON robot_secrets (robot, created, id);

CREATE TABLE personal_tokens (
    id             TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    hash           BYTEA            NOT NULL UNIQUE,
    owner_provider TEXT COLLATE "C" NOT NULL,
    owner_name     TEXT COLLATE "C" NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    repositories   TEXT COLLATE "C" NOT NULL,
    actions        TEXT COLLATE "C" NOT NULL,
    networks       TEXT COLLATE "C" NOT NULL,
    created_by     TEXT COLLATE "C" NOT NULL,
    created        BIGINT           NOT NULL,
    expires        BIGINT           NOT NULL,
    last_used      BIGINT           NOT NULL,
    last_addr      TEXT COLLATE "C" NOT NULL
);
CREATE INDEX personal_tokens_owner ON personal_tokens (owner_provider, owner_name);
