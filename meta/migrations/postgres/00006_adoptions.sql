-- +goose Up

-- What was taken over from Distribution: a tag with the digest that it named
-- there, or a manifest under its own digest. What was deleted here since is not
-- taken over again. A repository need not be there any more.
CREATE TABLE adoptions (
    repository TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (repository, name)
);
