-- +goose Up

-- What each repository holds: the bytes of its blobs and of its manifests, and its
-- tags. Quotas are sums over a range of names. Triggers keep it, so that it is
-- right whatever writes, an older version of the program too.
CREATE TABLE repository_usage (
    repository TEXT   NOT NULL PRIMARY KEY,
    bytes      BIGINT NOT NULL,
    tags       BIGINT NOT NULL
) WITHOUT ROWID;

INSERT INTO repository_usage (repository, bytes, tags)
SELECT r.name,
    (SELECT COALESCE(SUM(b.size), 0) FROM repository_blobs l CROSS JOIN blobs b WHERE l.repository = r.name AND b.id = l.blob_id)
    + (SELECT COALESCE(SUM(m.size), 0) FROM manifests m WHERE m.repository_id = r.id),
    (SELECT COUNT(*) FROM tags t WHERE t.repository_id = r.id)
FROM repositories r;

-- +goose StatementBegin
CREATE TRIGGER usage_repository_made AFTER INSERT ON repositories BEGIN
    INSERT INTO repository_usage (repository, bytes, tags) VALUES (NEW.name, 0, 0) ON CONFLICT (repository) DO NOTHING;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER usage_repository_gone AFTER DELETE ON repositories BEGIN
    DELETE FROM repository_usage WHERE repository = OLD.name;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER usage_blob_linked AFTER INSERT ON repository_blobs BEGIN
    UPDATE repository_usage SET bytes = bytes + (SELECT size FROM blobs WHERE id = NEW.blob_id) WHERE repository = NEW.repository;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER usage_blob_unlinked AFTER DELETE ON repository_blobs BEGIN
    UPDATE repository_usage SET bytes = bytes - (SELECT size FROM blobs WHERE id = OLD.blob_id) WHERE repository = OLD.repository;
END;
-- +goose StatementEnd
-- A blob gets another size when bytes were damaged, and are whole again.
-- +goose StatementBegin
CREATE TRIGGER usage_blob_resized AFTER UPDATE OF size ON blobs WHEN OLD.size <> NEW.size BEGIN
    UPDATE repository_usage SET bytes = bytes + NEW.size - OLD.size
    WHERE repository IN (SELECT repository FROM repository_blobs WHERE blob_id = NEW.id);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER usage_manifest_made AFTER INSERT ON manifests BEGIN
    UPDATE repository_usage SET bytes = bytes + NEW.size
    WHERE repository = (SELECT name FROM repositories WHERE id = NEW.repository_id);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER usage_manifest_gone AFTER DELETE ON manifests BEGIN
    UPDATE repository_usage SET bytes = bytes - OLD.size
    WHERE repository = (SELECT name FROM repositories WHERE id = OLD.repository_id);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER usage_tag_made AFTER INSERT ON tags BEGIN
    UPDATE repository_usage SET tags = tags + 1
    WHERE repository = (SELECT name FROM repositories WHERE id = NEW.repository_id);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER usage_tag_gone AFTER DELETE ON tags BEGIN
    UPDATE repository_usage SET tags = tags - 1
    WHERE repository = (SELECT name FROM repositories WHERE id = OLD.repository_id);
END;
-- +goose StatementEnd

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('repository_usage', 'repository_usage', '100000 1');
ANALYZE sqlite_schema;
