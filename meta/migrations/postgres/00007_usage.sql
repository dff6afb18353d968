-- +goose Up

-- What each repository holds: the bytes of its blobs and of its manifests, and its
-- tags. Quotas are sums over a range of names. Triggers keep it, so that it is
-- right whatever writes, an older version of the program too. Nobody writes until
-- what is there is counted: every writer holds this lock first.
SELECT pg_advisory_xact_lock(108187851450369);

CREATE TABLE repository_usage (
    repository TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    bytes      BIGINT NOT NULL,
    tags       BIGINT NOT NULL
);

-- +goose StatementBegin
CREATE FUNCTION usage_of_repository() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO repository_usage (repository, bytes, tags) VALUES (NEW.name, 0, 0) ON CONFLICT (repository) DO NOTHING;
    ELSE
        DELETE FROM repository_usage WHERE repository = OLD.name;
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION usage_of_link() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE repository_usage SET bytes = bytes + (SELECT size FROM blobs WHERE id = NEW.blob_id) WHERE repository = NEW.repository;
    ELSE
        UPDATE repository_usage SET bytes = bytes - (SELECT size FROM blobs WHERE id = OLD.blob_id) WHERE repository = OLD.repository;
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
-- A blob gets another size when bytes were damaged, and are whole again.
-- +goose StatementBegin
CREATE FUNCTION usage_of_blob() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE repository_usage SET bytes = bytes + NEW.size - OLD.size
    WHERE repository IN (SELECT repository FROM repository_blobs WHERE blob_id = NEW.id);
    RETURN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION usage_of_manifest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE repository_usage SET bytes = bytes + NEW.size
        WHERE repository = (SELECT name FROM repositories WHERE id = NEW.repository_id);
    ELSE
        UPDATE repository_usage SET bytes = bytes - OLD.size
        WHERE repository = (SELECT name FROM repositories WHERE id = OLD.repository_id);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION usage_of_tag() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE repository_usage SET tags = tags + 1
        WHERE repository = (SELECT name FROM repositories WHERE id = NEW.repository_id);
    ELSE
        UPDATE repository_usage SET tags = tags - 1
        WHERE repository = (SELECT name FROM repositories WHERE id = OLD.repository_id);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER usage_repository AFTER INSERT OR DELETE ON repositories FOR EACH ROW EXECUTE FUNCTION usage_of_repository();
CREATE TRIGGER usage_link AFTER INSERT OR DELETE ON repository_blobs FOR EACH ROW EXECUTE FUNCTION usage_of_link();
CREATE TRIGGER usage_blob AFTER UPDATE OF size ON blobs FOR EACH ROW WHEN (OLD.size <> NEW.size) EXECUTE FUNCTION usage_of_blob();
CREATE TRIGGER usage_manifest AFTER INSERT OR DELETE ON manifests FOR EACH ROW EXECUTE FUNCTION usage_of_manifest();
CREATE TRIGGER usage_tag AFTER INSERT OR DELETE ON tags FOR EACH ROW EXECUTE FUNCTION usage_of_tag();

INSERT INTO repository_usage (repository, bytes, tags)
SELECT r.name,
    CAST((SELECT COALESCE(SUM(b.size), 0) FROM repository_blobs l JOIN blobs b ON b.id = l.blob_id WHERE l.repository = r.name)
    + (SELECT COALESCE(SUM(m.size), 0) FROM manifests m WHERE m.repository_id = r.id) AS BIGINT),
    (SELECT COUNT(*) FROM tags t WHERE t.repository_id = r.id)
FROM repositories r
ON CONFLICT (repository) DO NOTHING;
