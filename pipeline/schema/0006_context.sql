-- What people and other systems know of a machine at a moment: job, lot, part, recipe, operator, die, rack, load.

CREATE TABLE context_change (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id   integer NOT NULL REFERENCES asset,
    kind       text NOT NULL CHECK (kind ~ '^[a-z][a-z0-9_]*$'),
    value      text NOT NULL,
    valid_from timestamptz NOT NULL,
    author     text NOT NULL,
    origin     text NOT NULL DEFAULT 'manual',
    entered    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX context_by_time ON context_change (asset_id, valid_from);
COMMENT ON TABLE context_change IS 'Append-only: from valid_from on, this kind of context has this value; an empty value ends it. Of two for one moment the one entered last holds.';

CREATE VIEW context AS
SELECT a.path AS asset, c.kind, c.value, c.valid_from, c.author, c.origin, c.entered, c.asset_id, c.id AS place
FROM context_change c JOIN asset a USING (asset_id)
UNION ALL
SELECT a.path, substr(e.kind, 9), coalesce(e.data->>'value', e.text), e.ts, coalesce(e.data->>'author', 'machine'),
       'event', r.ingest_ts, e.asset_id, e.record
FROM event e JOIN asset a USING (asset_id) LEFT JOIN record r ON r.id = e.record
WHERE e.kind LIKE 'context.%';
COMMENT ON VIEW context IS 'Changes of context, typed in, imported, or told by a machine as an event of kind context.<kind>.';

-- Whoever says it: cycles from then on, to the next change of the same kind, are found again.
CREATE FUNCTION context_came(of_asset integer, of_kind text, since timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO recompute (asset_id, from_ts, to_ts, reason)
    SELECT of_asset, since, greatest(since, coalesce(min(c.valid_from), now())), 'context'
    FROM context c WHERE c.asset_id = of_asset AND c.kind = of_kind AND c.valid_from > since
$$;
CREATE FUNCTION context_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = rootdx, pg_temp AS $$
BEGIN
    PERFORM context_came(NEW.asset_id, NEW.kind, NEW.valid_from);
    RETURN NEW;
END $$;
CREATE FUNCTION context_told() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = rootdx, pg_temp AS $$
BEGIN
    PERFORM context_came(NEW.asset_id, substr(NEW.kind, 9), NEW.ts);
    RETURN NEW;
END $$;
CREATE TRIGGER context_changed AFTER INSERT ON context_change FOR EACH ROW EXECUTE FUNCTION context_changed();
CREATE TRIGGER context_told AFTER INSERT ON event FOR EACH ROW WHEN (NEW.kind LIKE 'context.%')
    EXECUTE FUNCTION context_told();
REVOKE EXECUTE ON FUNCTION context_came, context_changed, context_told FROM PUBLIC;

GRANT SELECT ON context_change, context TO rootdx_writer, rootdx_reader, rootdx_analytics;
GRANT INSERT ON context_change TO rootdx_analytics;
