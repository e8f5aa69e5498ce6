-- What people enter or import: laboratory results, which item came from which, resets of life counters, checks.
-- All append-only with author and time: a correction is a new row that names the one it replaces.

CREATE TABLE lab_result (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id integer REFERENCES asset,
    sampled  timestamptz NOT NULL,
    name     text NOT NULL,
    value    double precision NOT NULL,
    unit     text NOT NULL,
    item_kind text NOT NULL DEFAULT '',
    item     text NOT NULL DEFAULT '',
    sample   text NOT NULL DEFAULT '',
    method   text NOT NULL DEFAULT '',
    note     text NOT NULL DEFAULT '',
    author   text NOT NULL,
    replaces bigint UNIQUE REFERENCES lab_result,
    entered  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX lab_result_by_time ON lab_result (sampled);
CREATE INDEX lab_result_by_item ON lab_result (item_kind, item);
COMMENT ON TABLE lab_result IS 'Bath analysis, hardness, thickness, spectrometer burns: of a machine, of an item (lot, part, melt, ...), or both.';
COMMENT ON COLUMN lab_result.sample IS 'Tells readings of one sample apart from those of the next: two burns have the same sample.';

CREATE VIEW lab_results AS
SELECT l.sampled, a.path AS asset, l.name, l.value, l.unit, l.item_kind, l.item, l.sample, l.method, l.note, l.author,
       l.entered, l.id, l.asset_id
FROM lab_result l LEFT JOIN asset a USING (asset_id)
WHERE NOT EXISTS (SELECT FROM lab_result r WHERE r.replaces = l.id);
COMMENT ON VIEW lab_results IS 'Laboratory results as they stand, without those that were replaced.';

CREATE TABLE genealogy (
    item_kind text NOT NULL,
    item      text NOT NULL,
    of_kind   text NOT NULL,
    of_item   text NOT NULL,
    author    text NOT NULL,
    entered   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (item_kind, item, of_kind, of_item),
    CHECK ((item_kind, item) <> (of_kind, of_item))
);
COMMENT ON TABLE genealogy IS 'An item comes from, or goes through a process together with, another: part of lot, lot of melt, lot of load, assembly of part.';

CREATE FUNCTION origins(kind text, item text) RETURNS TABLE (item_kind text, item text, depth integer)
LANGUAGE sql STABLE AS $$
    WITH RECURSIVE found AS (
        SELECT origins.kind AS item_kind, origins.item AS item, 0 AS depth
        UNION
        SELECT n.item_kind, n.item, f.depth + 1
        FROM found f CROSS JOIN LATERAL (
            SELECT g.of_kind AS item_kind, g.of_item AS item FROM rootdx.genealogy g
            WHERE g.item_kind = f.item_kind AND g.item = f.item
            UNION
            SELECT c.key, c.value FROM rootdx.cycle y CROSS JOIN LATERAL jsonb_each_text(y.context) AS c(key, value)
            WHERE y.context @> jsonb_build_object(f.item_kind, f.item)
              AND (f.item_kind = 'part' AND c.key IN ('lot', 'melt', 'load', 'rack')
                   OR f.item_kind = 'lot' AND c.key IN ('melt', 'load', 'rack'))
        ) n
        WHERE f.depth < 20
    )
    SELECT item_kind, item, min(depth) FROM found GROUP BY 1, 2
$$;
COMMENT ON FUNCTION origins IS 'An item, and everything that it came from or went through a process with; never its siblings.';

CREATE FUNCTION windows_of(kind text, item text)
RETURNS TABLE (asset text, process text, start_ts timestamptz, end_ts timestamptz, verdict text, via_kind text,
               via_item text, cycle_id bigint)
LANGUAGE sql STABLE AS $$
    WITH o AS MATERIALIZED (SELECT * FROM rootdx.origins(windows_of.kind, windows_of.item))
    SELECT * FROM (
    SELECT DISTINCT ON (c.cycle_id) a.path, c.kind, c.start_ts, c.end_ts, c.verdict, o.item_kind, o.item, c.cycle_id
    FROM o JOIN rootdx.cycle c ON c.context @> jsonb_build_object(o.item_kind, o.item)
    JOIN rootdx.asset a USING (asset_id)
    WHERE NOT EXISTS ( -- of another lot of the same melt, of another part of the same lot
        SELECT FROM o other WHERE c.context ? other.item_kind AND NOT EXISTS (
            SELECT FROM o own WHERE own.item_kind = other.item_kind AND own.item = c.context->>other.item_kind))
    ORDER BY c.cycle_id, o.depth
    ) once ORDER BY once.start_ts
$$;
COMMENT ON FUNCTION windows_of IS 'Every cycle that an item went through: its own, and those of its lot, melt, load and rack that name no sibling of it.';

CREATE TABLE life_reset (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id integer NOT NULL REFERENCES asset,
    counter  text NOT NULL,
    item     text NOT NULL DEFAULT '',
    at       timestamptz NOT NULL,
    value    double precision NOT NULL DEFAULT 0,
    note     text NOT NULL DEFAULT '',
    author   text NOT NULL,
    replaces bigint UNIQUE REFERENCES life_reset,
    entered  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX life_reset_by_item ON life_reset (asset_id, counter, item, at);
COMMENT ON TABLE life_reset IS 'From this moment on a life counter counts from value: a new die, a dressed electrode, a changed filter, a bath made up.';

CREATE TABLE check_entry (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id integer NOT NULL REFERENCES asset,
    kind     text NOT NULL CHECK (kind ~ '^[a-z][a-z0-9_]*$'),
    subject  text NOT NULL,
    done     date NOT NULL,
    months   integer NOT NULL DEFAULT 0,
    days     integer NOT NULL DEFAULT 0,
    passed   boolean NOT NULL,
    result   jsonb NOT NULL DEFAULT '{}',
    document text NOT NULL DEFAULT '',
    author   text NOT NULL,
    replaces bigint UNIQUE REFERENCES check_entry,
    entered  timestamptz NOT NULL DEFAULT now(),
    CHECK ((months > 0) <> (days > 0))
);
CREATE INDEX check_entry_by_day ON check_entry (asset_id, kind, subject, done);
COMMENT ON TABLE check_entry IS 'Calibrations, SAT, TUS, self-assessments, probe checks: when done, for how long they hold, what they found.';
COMMENT ON COLUMN check_entry.subject IS 'What was checked: an instrument by its serial number, a role, or the machine.';

REVOKE EXECUTE ON FUNCTION origins, windows_of FROM PUBLIC;
GRANT EXECUTE ON FUNCTION origins, windows_of TO rootdx_writer, rootdx_reader, rootdx_analytics;
GRANT SELECT ON lab_result, lab_results, genealogy, life_reset, check_entry TO rootdx_writer, rootdx_reader, rootdx_analytics;
GRANT INSERT ON lab_result, genealogy, life_reset, check_entry TO rootdx_analytics;
