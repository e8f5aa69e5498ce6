-- What months are looked at with: rows due and missing by the hour, the newest hour of values, verdicts of one machine.

CREATE TABLE tally_1h (
    hour         timestamptz NOT NULL,
    tag_id       integer NOT NULL,
    expected     bigint NOT NULL,
    unreachable  bigint NOT NULL,
    late         bigint NOT NULL,
    gateway_down bigint NOT NULL,
    spool_full   bigint NOT NULL,
    quarantined  bigint NOT NULL,
    machine_off  bigint NOT NULL,
    PRIMARY KEY (tag_id, hour)
) WITH (fillfactor = 70); -- the row of the present hour is written again each minute
CREATE INDEX tally_1h_by_time ON tally_1h USING brin (hour) WITH (pages_per_range = 32);
COMMENT ON TABLE tally_1h IS 'tally, summed up by tag and hour, in the transaction that brings the rows: right at every moment.';
COMMENT ON COLUMN tally_1h.hour IS 'Begin of the hour, UTC.';
COMMENT ON COLUMN tally_1h.tag_id IS 'Key of the tag.';
COMMENT ON COLUMN tally_1h.expected IS 'Due, as the gateway counted [rows].';
COMMENT ON COLUMN tally_1h.unreachable IS 'Missing: the device did not answer [rows].';
COMMENT ON COLUMN tally_1h.late IS 'Missing: the scan before was still running [rows].';
COMMENT ON COLUMN tally_1h.gateway_down IS 'Missing: no gateway was running [rows].';
COMMENT ON COLUMN tally_1h.spool_full IS 'Missing: dropped by the cap of the spool or a full disk [rows].';
COMMENT ON COLUMN tally_1h.quarantined IS 'Missing: lies in the quarantine [rows].';
COMMENT ON COLUMN tally_1h.machine_off IS 'Missing: silence is normal in this state of the machine [rows].';

-- Lines of tally only ever add up, so a sum is kept by adding: no note, no hour to be recomputed, on either engine. Tags in
-- order, so that two writers never wait for each other in a circle.
CREATE FUNCTION tally_came() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = rootdx, pg_temp AS $$
BEGIN
    INSERT INTO tally_1h AS known
    SELECT date_bin('1 hour', n.minute, TIMESTAMPTZ '2000-01-01 00:00+00') AS hour, n.tag_id, sum(n.expected),
           sum(n.unreachable), sum(n.late), sum(n.gateway_down), sum(n.spool_full), sum(n.quarantined), sum(n.machine_off)
    FROM new_lines n GROUP BY 1, 2 ORDER BY 2, 1
    ON CONFLICT (tag_id, hour) DO UPDATE SET
        expected = known.expected + excluded.expected, unreachable = known.unreachable + excluded.unreachable,
        late = known.late + excluded.late, gateway_down = known.gateway_down + excluded.gateway_down,
        spool_full = known.spool_full + excluded.spool_full, quarantined = known.quarantined + excluded.quarantined,
        machine_off = known.machine_off + excluded.machine_off;
    RETURN NULL;
END $$;
CREATE FUNCTION tally_emptied() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = rootdx, pg_temp AS $$
BEGIN
    TRUNCATE tally_1h;
    RETURN NULL;
END $$;
CREATE TRIGGER tally_came AFTER INSERT ON tally REFERENCING NEW TABLE AS new_lines
    FOR EACH STATEMENT EXECUTE FUNCTION tally_came();
CREATE TRIGGER tally_emptied AFTER TRUNCATE ON tally FOR EACH STATEMENT EXECUTE FUNCTION tally_emptied();
REVOKE EXECUTE ON FUNCTION tally_came, tally_emptied FROM PUBLIC;

INSERT INTO tally_1h
SELECT date_bin('1 hour', minute, TIMESTAMPTZ '2000-01-01 00:00+00'), tag_id, sum(expected), sum(unreachable), sum(late),
       sum(gateway_down), sum(spool_full), sum(quarantined), sum(machine_off)
FROM tally GROUP BY 1, 2;

CREATE OR REPLACE FUNCTION completeness_hours(since timestamptz, until timestamptz)
RETURNS TABLE (hour timestamptz, asset text, expected bigint, stored bigint, unreachable bigint, late bigint,
               gateway_down bigint, spool_full bigint, quarantined bigint, machine_off bigint, on_the_way bigint)
LANGUAGE sql STABLE AS $$
    SELECT c.hour, a.path, sum(c.expected)::bigint, sum(c.stored)::bigint, sum(c.unreachable)::bigint,
           sum(c.late)::bigint, sum(c.gateway_down)::bigint, sum(c.spool_full)::bigint, sum(c.quarantined)::bigint,
           sum(c.machine_off)::bigint,
           (sum(c.expected) - sum(c.stored) - sum(c.unreachable + c.late + c.gateway_down + c.spool_full
            + c.quarantined + c.machine_off))::bigint
    FROM (
        SELECT t.hour, t.tag_id, t.expected, 0::bigint AS stored, t.unreachable, t.late, t.gateway_down, t.spool_full,
               t.quarantined, t.machine_off
        FROM rootdx.tally_1h t
        WHERE t.hour >= date_trunc('hour', since) AND t.hour < date_trunc('hour', until) + INTERVAL '1 hour'
        UNION ALL
        SELECT m.bucket, m.tag_id, 0, m.count::bigint, 0, 0, 0, 0, 0, 0 FROM rootdx.measurement_1h m
        WHERE m.bucket >= date_trunc('hour', since) AND m.bucket < date_trunc('hour', until) + INTERVAL '1 hour'
    ) c JOIN rootdx.tag g USING (tag_id) JOIN rootdx.asset a USING (asset_id)
    GROUP BY c.hour, a.path
$$;

-- Months of verdicts of one machine are counted in the index.
CREATE INDEX cycle_verdicts ON cycle (asset_id, start_ts) INCLUDE (kind, end_ts, verdict);
GRANT SELECT ON tally_1h TO rootdx_writer, rootdx_reader, rootdx_analytics, rootdx_board;

-- Plain PostgreSQL: a fresh hour is summed up from its rows at once; of its minutes only those asked for are read.
DO $engine$ BEGIN
    IF to_regclass('rootdx.bucket_1m') IS NULL THEN
        RETURN;
    END IF;
    CREATE OR REPLACE VIEW measurement_1m AS
    SELECT b.* FROM bucket_1m b
    WHERE NOT EXISTS (SELECT FROM touched_hour t WHERE t.hour = date_bin('1 hour', b.bucket, TIMESTAMPTZ '2000-01-01 00:00+00'))
    UNION ALL
    SELECT fresh.* FROM (SELECT DISTINCT hour FROM touched_hour) t
    CROSS JOIN generate_series(t.hour, t.hour + INTERVAL '59 minutes', INTERVAL '1 minute') AS u(bucket)
    CROSS JOIN LATERAL (
        SELECT u.bucket, m.tag_id, min(m.value), max(m.value), sum(m.value),
               (array_agg(m.value ORDER BY m.ts) FILTER (WHERE m.value IS NOT NULL))[1] AS first,
               (array_agg(m.value ORDER BY m.ts DESC) FILTER (WHERE m.value IS NOT NULL))[1] AS last,
               count(*) AS count, count(m.value) AS value_count,
               count(*) FILTER (WHERE m.quality BETWEEN 0 AND 1073741823) AS good_count,
               count(*) FILTER (WHERE m.quality < 0) AS bad_count
        FROM measurement m WHERE m.ts >= u.bucket AND m.ts < u.bucket + INTERVAL '1 minute' GROUP BY m.tag_id
    ) fresh;
    CREATE OR REPLACE VIEW measurement_1h AS
    SELECT b.* FROM bucket_1h b WHERE NOT EXISTS (SELECT FROM touched_hour t WHERE t.hour = b.bucket)
    UNION ALL
    SELECT fresh.* FROM (SELECT DISTINCT hour FROM touched_hour) t
    CROSS JOIN LATERAL (
        SELECT t.hour AS bucket, m.tag_id, min(m.value), max(m.value), sum(m.value),
               (array_agg(m.value ORDER BY m.ts) FILTER (WHERE m.value IS NOT NULL))[1] AS first,
               (array_agg(m.value ORDER BY m.ts DESC) FILTER (WHERE m.value IS NOT NULL))[1] AS last,
               count(*) AS count, count(m.value) AS value_count,
               count(*) FILTER (WHERE m.quality BETWEEN 0 AND 1073741823) AS good_count,
               count(*) FILTER (WHERE m.quality < 0) AS bad_count
        FROM measurement m WHERE m.ts >= t.hour AND m.ts < t.hour + INTERVAL '1 hour' GROUP BY m.tag_id
    ) fresh;
    ALTER FUNCTION maintain RENAME TO maintain_bursts;
    CREATE FUNCTION maintain() RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = rootdx, pg_temp AS $$
        DELETE FROM tally_1h WHERE hour < now() - INTERVAL '10 years';
        SELECT maintain_bursts()
    $$;
    COMMENT ON FUNCTION maintain IS 'Called by the writer about once a minute, and again at once while it returns true: what a plain server must be told to do.';
    REVOKE EXECUTE ON FUNCTION maintain FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION maintain TO rootdx_writer;
END $engine$;
