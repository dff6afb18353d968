-- +goose Up

-- What was taken over from Distribution: a tag with the digest that it named
-- there, or a manifest under its own digest. What was deleted here since is not
-- taken over again. A repository need not be there any more.
CREATE TABLE adoptions (
    repository TEXT NOT NULL,
    name       TEXT NOT NULL,
    digest     TEXT NOT NULL,
    PRIMARY KEY (repository, name)
) WITHOUT ROWID;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('adoptions', 'adoptions', '1000000 1000 1');
ANALYZE sqlite_schema;
