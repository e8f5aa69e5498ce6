-- What there is, for people and programs that read: machines, tags, records, and what the analytics still have to do.

CREATE VIEW machines AS
SELECT a.path AS asset, split_part(a.path, '/', 1) AS enterprise, split_part(a.path, '/', 2) AS site,
       regexp_replace(a.path, '/[^/]*$', '') AS line, regexp_replace(a.path, '^.*/', '') AS machine, a.name, a.process,
       a.asset_id
FROM asset a WHERE a.path NOT LIKE 'gateway/%';
COMMENT ON VIEW machines IS 'Machines as their files say, with the parts of their path; line is the path without the machine.';

CREATE VIEW tags AS
SELECT a.path AS asset, t.name AS tag, t.role, t.unit, t.low, t.high, t.every_s, t.text, t.tag_id
FROM tag t JOIN asset a USING (asset_id);
COMMENT ON VIEW tags IS 'Every tag as its machine file says; unit is UCUM, low and high are the plausible range.';

CREATE VIEW records AS
SELECT number, made, profile, subject_kind, subject, version, verdict, author, reason, hash FROM compliance_record;
COMMENT ON VIEW records IS 'Compliance records, without their content.';

CREATE VIEW backlog AS
SELECT a.path AS asset, coalesce(r.requests, 0) AS requests, r.asked, n.since
FROM asset a
LEFT JOIN (SELECT asset_id, count(*) AS requests, min(asked) AS asked FROM recompute GROUP BY asset_id) r USING (asset_id)
LEFT JOIN (SELECT asset_id, min(from_ts) AS since FROM arrival GROUP BY asset_id) n USING (asset_id)
WHERE a.path NOT LIKE 'gateway/%';
COMMENT ON VIEW backlog IS 'Per machine what the analytics have not looked at yet: requests and the oldest of them, and the oldest of the new rows.';

GRANT SELECT ON machines, tags, records, backlog TO rootdx_writer, rootdx_reader, rootdx_analytics;

-- Hours of any range: what a month is looked at with. A function, so that the range reaches the rows.
CREATE FUNCTION completeness_hours(since timestamptz, until timestamptz)
RETURNS TABLE (hour timestamptz, asset text, expected bigint, stored bigint, unreachable bigint, late bigint,
               gateway_down bigint, spool_full bigint, quarantined bigint, machine_off bigint, on_the_way bigint)
LANGUAGE sql STABLE AS $$
    SELECT c.hour, a.path, sum(c.expected)::bigint, sum(c.stored)::bigint, sum(c.unreachable)::bigint,
           sum(c.late)::bigint, sum(c.gateway_down)::bigint, sum(c.spool_full)::bigint, sum(c.quarantined)::bigint,
           sum(c.machine_off)::bigint,
           (sum(c.expected) - sum(c.stored) - sum(c.unreachable + c.late + c.gateway_down + c.spool_full
            + c.quarantined + c.machine_off))::bigint
    FROM (
        SELECT date_bin('1 hour', t.minute, TIMESTAMPTZ '2000-01-01 00:00+00') AS hour, t.tag_id,
               sum(t.expected) AS expected, 0::numeric AS stored, sum(t.unreachable) AS unreachable, sum(t.late) AS late,
               sum(t.gateway_down) AS gateway_down, sum(t.spool_full) AS spool_full, sum(t.quarantined) AS quarantined,
               sum(t.machine_off) AS machine_off
        FROM rootdx.tally t
        WHERE t.minute >= date_trunc('hour', since) AND t.minute < date_trunc('hour', until) + INTERVAL '1 hour'
        GROUP BY 1, 2
        UNION ALL
        SELECT m.bucket, m.tag_id, 0, m.count::numeric, 0, 0, 0, 0, 0, 0 FROM rootdx.measurement_1h m
        WHERE m.bucket >= date_trunc('hour', since) AND m.bucket < date_trunc('hour', until) + INTERVAL '1 hour'
    ) c JOIN rootdx.tag g USING (tag_id) JOIN rootdx.asset a USING (asset_id)
    GROUP BY c.hour, a.path
$$;
COMMENT ON FUNCTION completeness_hours IS 'As completeness_by_asset, by hour, for the hours that touch a range.';
REVOKE EXECUTE ON FUNCTION completeness_hours FROM PUBLIC;
GRANT EXECUTE ON FUNCTION completeness_hours TO rootdx_writer, rootdx_reader, rootdx_analytics;

-- Plain PostgreSQL: the minutes of a fresh hour are looked up, not all minutes of the tag read.
DO $engine$ BEGIN
    IF to_regclass('rootdx.bucket_1h') IS NOT NULL THEN
        CREATE OR REPLACE VIEW measurement_1h AS
        SELECT b.* FROM bucket_1h b
        WHERE NOT EXISTS (SELECT FROM touched_hour t WHERE t.hour = b.bucket)
        UNION ALL
        SELECT fresh.* FROM (SELECT DISTINCT hour FROM touched_hour) t
        CROSS JOIN LATERAL (
            SELECT t.hour AS bucket, m.tag_id, min(m.min), max(m.max), sum(m.sum),
                   (array_agg(m.first ORDER BY m.bucket) FILTER (WHERE m.first IS NOT NULL))[1] AS first,
                   (array_agg(m.last ORDER BY m.bucket DESC) FILTER (WHERE m.last IS NOT NULL))[1] AS last,
                   sum(m.count)::bigint AS count, sum(m.value_count)::bigint AS value_count,
                   sum(m.good_count)::bigint AS good_count, sum(m.bad_count)::bigint AS bad_count
            FROM measurement_1m m WHERE m.bucket >= t.hour AND m.bucket < t.hour + INTERVAL '1 hour' GROUP BY m.tag_id
        ) fresh;
    END IF;
END $engine$;
