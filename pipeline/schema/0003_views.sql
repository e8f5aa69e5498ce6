-- What people and programs read. Inner tables may change, these do not.

CREATE VIEW history AS
SELECT m.ts, a.path AS asset, t.name AS tag, m.value, t.unit, quality_class(m.quality) AS quality, m.quality AS code,
       t.role, m.tag_id, m.record
FROM measurement m JOIN tag t USING (tag_id) JOIN asset a USING (asset_id);
COMMENT ON VIEW history IS 'Raw rows with the names of their tags.';

CREATE VIEW latest AS
SELECT a.path AS asset, t.name AS tag, l.ts, l.value, t.unit, quality_class(l.quality) AS quality, t.role, t.tag_id
FROM tag t JOIN asset a USING (asset_id)
CROSS JOIN LATERAL (
    SELECT m.ts, m.value, m.quality FROM measurement m
    WHERE m.tag_id = t.tag_id AND m.ts > now() - INTERVAL '1 day' ORDER BY m.ts DESC LIMIT 1
) l;
COMMENT ON VIEW latest IS 'The newest row of every tag that had one within a day.';

CREATE VIEW provenance AS
SELECT m.ts AS source_ts, r.gateway_ts, r.ingest_ts, l.gateway, l.epoch, m.record & 1099511627775 AS seq,
       m.tag_id, m.value, m.quality
FROM measurement m JOIN record r ON r.id = m.record JOIN ledger l ON l.source_id = m.record >> 40;
COMMENT ON VIEW provenance IS 'Source, gateway and ingest time of every row, and the record that brought it.';

CREATE VIEW completeness AS
SELECT minute, tag_id,
       sum(expected)::bigint AS expected, sum(good)::bigint AS good, sum(uncertain)::bigint AS uncertain,
       sum(bad)::bigint AS bad,
       sum(unreachable)::bigint AS unreachable, sum(late)::bigint AS late, sum(gateway_down)::bigint AS gateway_down,
       sum(spool_full)::bigint AS spool_full, sum(quarantined)::bigint AS quarantined,
       sum(machine_off)::bigint AS machine_off,
       (sum(expected) - sum(good + uncertain + bad)
        - sum(unreachable + late + gateway_down + spool_full + quarantined + machine_off))::bigint AS on_the_way
FROM (
    SELECT minute, tag_id, expected::bigint, 0::bigint AS good, 0::bigint AS uncertain, 0::bigint AS bad,
           unreachable, late, gateway_down, spool_full, quarantined, machine_off
    FROM tally
    UNION ALL
    SELECT bucket, tag_id, 0, good_count::bigint, (count - good_count - bad_count)::bigint, bad_count::bigint,
           0, 0, 0, 0, 0, 0
    FROM measurement_1m
) counted
GROUP BY minute, tag_id;
COMMENT ON VIEW completeness IS 'Per tag and minute: rows due, rows stored by quality, rows missing by cause. on_the_way is what the gateway counted and the store has not yet (or, below zero, the reverse).';

CREATE VIEW completeness_by_asset AS
SELECT c.minute, a.path AS asset, sum(c.expected)::bigint AS expected, sum(c.good + c.uncertain + c.bad)::bigint AS stored,
       sum(c.unreachable)::bigint AS unreachable, sum(c.late)::bigint AS late, sum(c.gateway_down)::bigint AS gateway_down,
       sum(c.spool_full)::bigint AS spool_full, sum(c.quarantined)::bigint AS quarantined,
       sum(c.machine_off)::bigint AS machine_off, sum(c.on_the_way)::bigint AS on_the_way
FROM completeness c JOIN tag t USING (tag_id) JOIN asset a USING (asset_id)
GROUP BY c.minute, a.path;
COMMENT ON VIEW completeness_by_asset IS 'The same per machine.';

CREATE VIEW events AS
SELECT e.ts, a.path AS asset, e.kind, e.phase, e.severity, e.text, e.key, e.data, e.id, e.record
FROM event e JOIN asset a USING (asset_id);
COMMENT ON VIEW events IS 'Events with the path of their asset.';

-- Least privilege: the writer adds and never changes history; the reader sees views and tables but not the quarantine.
GRANT USAGE ON SCHEMA rootdx TO rootdx_writer, rootdx_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA rootdx TO rootdx_writer, rootdx_reader;
REVOKE ALL ON quarantine FROM rootdx_reader;
GRANT INSERT ON measurement, record, tally, event, asset, tag, ledger, quarantine TO rootdx_writer;
GRANT UPDATE (last_seq, last_commit) ON ledger TO rootdx_writer;
GRANT UPDATE ON asset, tag TO rootdx_writer;
GRANT UPDATE (arrivals, arrived, resolved, reason) ON quarantine TO rootdx_writer;
REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA rootdx FROM PUBLIC;
GRANT EXECUTE ON FUNCTION quality_class TO rootdx_writer, rootdx_reader;
ALTER FUNCTION touched SECURITY DEFINER SET search_path = rootdx, pg_temp;
ALTER FUNCTION maintain SECURITY DEFINER SET search_path = rootdx, pg_temp;
GRANT EXECUTE ON FUNCTION touched, maintain TO rootdx_writer;
