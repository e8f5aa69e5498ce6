-- Plain PostgreSQL: the same names. Aggregates are tables that are recomputed for the hours that rows touched;
-- hours not yet recomputed are read from the raw rows, so the views are always right.

CREATE INDEX measurement_by_tag ON measurement (tag_id, ts DESC);
CREATE INDEX measurement_by_time ON measurement USING brin (ts) WITH (pages_per_range = 32);
CREATE INDEX record_by_id ON record (id);
CREATE INDEX record_by_time ON record USING brin (ingest_ts);
CREATE INDEX tally_by_tag ON tally (tag_id, minute DESC);
CREATE INDEX tally_by_time ON tally USING brin (minute);

CREATE TABLE bucket_1m (
    bucket timestamptz NOT NULL, tag_id integer NOT NULL,
    min double precision, max double precision, sum double precision, first double precision, last double precision,
    count bigint NOT NULL, value_count bigint NOT NULL, good_count bigint NOT NULL, bad_count bigint NOT NULL,
    PRIMARY KEY (tag_id, bucket)
);
CREATE INDEX bucket_1m_by_time ON bucket_1m USING brin (bucket);
CREATE TABLE bucket_1h (LIKE bucket_1m INCLUDING ALL);

CREATE TABLE touched_hour (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hour timestamptz NOT NULL,
    at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX touched_hour_by_hour ON touched_hour (hour);
COMMENT ON TABLE touched_hour IS 'Hours that received rows since they were last summed up.';

CREATE VIEW measurement_1m AS
SELECT b.* FROM bucket_1m b
WHERE NOT EXISTS (SELECT FROM touched_hour t WHERE t.hour = date_bin('1 hour', b.bucket, TIMESTAMPTZ '2000-01-01 00:00+00'))
UNION ALL
SELECT fresh.* FROM (SELECT DISTINCT hour FROM touched_hour) t
CROSS JOIN LATERAL (
    SELECT date_bin('1 minute', m.ts, TIMESTAMPTZ '2000-01-01 00:00+00') AS bucket, m.tag_id,
           min(m.value), max(m.value), sum(m.value),
           (array_agg(m.value ORDER BY m.ts) FILTER (WHERE m.value IS NOT NULL))[1] AS first,
           (array_agg(m.value ORDER BY m.ts DESC) FILTER (WHERE m.value IS NOT NULL))[1] AS last,
           count(*), count(m.value) AS value_count,
           count(*) FILTER (WHERE m.quality BETWEEN 0 AND 1073741823) AS good_count,
           count(*) FILTER (WHERE m.quality < 0) AS bad_count
    FROM measurement m WHERE m.ts >= t.hour AND m.ts < t.hour + INTERVAL '1 hour' GROUP BY 1, 2
) fresh;

CREATE VIEW measurement_1h AS
SELECT b.* FROM bucket_1h b
WHERE NOT EXISTS (SELECT FROM touched_hour t WHERE t.hour = b.bucket)
UNION ALL
SELECT t.hour, m.tag_id, min(m.min), max(m.max), sum(m.sum),
       (array_agg(m.first ORDER BY m.bucket) FILTER (WHERE m.first IS NOT NULL))[1],
       (array_agg(m.last ORDER BY m.bucket DESC) FILTER (WHERE m.last IS NOT NULL))[1],
       sum(m.count)::bigint, sum(m.value_count)::bigint, sum(m.good_count)::bigint, sum(m.bad_count)::bigint
FROM (SELECT DISTINCT hour FROM touched_hour) t
JOIN measurement_1m m ON m.bucket >= t.hour AND m.bucket < t.hour + INTERVAL '1 hour'
GROUP BY 1, 2;

CREATE FUNCTION touched(hour timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO touched_hour (hour) VALUES (touched.hour)
$$;
COMMENT ON FUNCTION touched IS 'Told by the writer which hours its rows lie in.';

CREATE FUNCTION raw_kept() RETURNS interval LANGUAGE sql STABLE AS $$ SELECT INTERVAL '400 days' $$;
COMMENT ON FUNCTION raw_kept IS 'How long raw rows are kept; keep_raw changes it.';

CREATE FUNCTION keep_raw(keep interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION rootdx.raw_kept() RETURNS interval LANGUAGE sql STABLE AS %L',
                   format('SELECT INTERVAL %L', keep));
END $$;
COMMENT ON FUNCTION keep_raw IS 'Keeps raw rows this long from now on; for the owner.';

-- A note is at least five minutes old before its hour is summed up, and the writer repeats a note every half minute
-- while rows come. So no row can slip in between.
CREATE FUNCTION sum_up_hour() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    due  timestamptz;
    upto bigint;
BEGIN
    SELECT t.hour, max(t.id) INTO due, upto FROM touched_hour t
    GROUP BY t.hour HAVING max(t.at) < clock_timestamp() - INTERVAL '5 minutes' ORDER BY t.hour LIMIT 1;
    IF due IS NULL THEN
        RETURN false;
    END IF;
    IF due < now() - raw_kept() THEN -- its raw rows are gone; the summary that is there stays
        DELETE FROM touched_hour t WHERE t.hour = due AND t.id <= upto;
        RETURN true;
    END IF;
    DELETE FROM bucket_1m b WHERE b.bucket >= due AND b.bucket < due + INTERVAL '1 hour';
    DELETE FROM bucket_1h b WHERE b.bucket = due;
    INSERT INTO bucket_1m SELECT * FROM measurement_1m m WHERE m.bucket >= due AND m.bucket < due + INTERVAL '1 hour';
    INSERT INTO bucket_1h SELECT * FROM measurement_1h m WHERE m.bucket = due;
    DELETE FROM touched_hour t WHERE t.hour = due AND t.id <= upto;
    RETURN true;
END $$;

CREATE FUNCTION maintain() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM measurement WHERE ts < now() - raw_kept();
    DELETE FROM record WHERE ingest_ts < now() - raw_kept();
    DELETE FROM bucket_1m WHERE bucket < now() - INTERVAL '10 years';
    DELETE FROM tally WHERE minute < now() - INTERVAL '10 years';
    RETURN sum_up_hour();
END $$;
COMMENT ON FUNCTION maintain IS 'Called by the writer about once a minute, and again at once while it returns true: sums up one touched hour, removes what is past retention.';
