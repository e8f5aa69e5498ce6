-- TimescaleDB: hypertables, columnstore, continuous aggregates, policies.

SELECT create_hypertable('measurement', by_range('ts', INTERVAL '1 day'), create_default_indexes => false);
CREATE INDEX measurement_by_tag ON measurement (tag_id, ts DESC);
ALTER TABLE measurement SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'tag_id', timescaledb.orderby = 'ts');

SELECT create_hypertable('record', by_range('ingest_ts', INTERVAL '7 days'), create_default_indexes => false);
CREATE INDEX record_by_id ON record (id);
ALTER TABLE record SET (timescaledb.enable_columnstore, timescaledb.orderby = 'id');

SELECT create_hypertable('tally', by_range('minute', INTERVAL '7 days'), create_default_indexes => false);
CREATE INDEX tally_by_tag ON tally (tag_id, minute DESC);
ALTER TABLE tally SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'tag_id', timescaledb.orderby = 'minute');

CREATE MATERIALIZED VIEW measurement_1m WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(INTERVAL '1 minute', ts) AS bucket,
       tag_id,
       min(value) AS min,
       max(value) AS max,
       sum(value) AS sum,
       first(value, ts) FILTER (WHERE value IS NOT NULL) AS first,
       last(value, ts) FILTER (WHERE value IS NOT NULL) AS last,
       count(*) AS count,
       count(value) AS value_count,
       count(*) FILTER (WHERE quality BETWEEN 0 AND 1073741823) AS good_count,
       count(*) FILTER (WHERE quality < 0) AS bad_count
FROM measurement
GROUP BY 1, 2
WITH NO DATA;

CREATE MATERIALIZED VIEW measurement_1h WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(INTERVAL '1 hour', bucket) AS bucket,
       tag_id,
       min(min) AS min,
       max(max) AS max,
       sum(sum) AS sum,
       first(first, bucket) FILTER (WHERE first IS NOT NULL) AS first,
       last(last, bucket) FILTER (WHERE last IS NOT NULL) AS last,
       sum(count) AS count,
       sum(value_count) AS value_count,
       sum(good_count) AS good_count,
       sum(bad_count) AS bad_count
FROM measurement_1m
GROUP BY 1, 2
WITH NO DATA;

-- A refresh recomputes only what was invalidated, so a long window costs nothing and reaches every late row. It ends
-- before retention begins: where the raw rows are gone, the summary that is there stays.
SELECT add_continuous_aggregate_policy('measurement_1m', start_offset => INTERVAL '398 days',
    end_offset => INTERVAL '2 minutes', schedule_interval => INTERVAL '1 minute');
SELECT add_continuous_aggregate_policy('measurement_1h', start_offset => INTERVAL '398 days',
    end_offset => INTERVAL '2 hours', schedule_interval => INTERVAL '15 minutes');

-- Compressed only after the longest outage a spool can hold (gateway.spool.cap_hours, 14 days as shipped).
CALL add_columnstore_policy('measurement', after => INTERVAL '15 days');
CALL add_columnstore_policy('record', after => INTERVAL '15 days');
CALL add_columnstore_policy('tally', after => INTERVAL '15 days');

-- Auditors ask for a year of raw data; summaries stay.
SELECT add_retention_policy('measurement', INTERVAL '400 days');
SELECT add_retention_policy('record', INTERVAL '400 days');
SELECT add_retention_policy('measurement_1m', INTERVAL '10 years');
SELECT add_retention_policy('tally', INTERVAL '10 years');

CREATE FUNCTION keep_raw(keep interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM remove_retention_policy('rootdx.measurement', if_exists => true);
    PERFORM remove_retention_policy('rootdx.record', if_exists => true);
    PERFORM add_retention_policy('rootdx.measurement', keep);
    PERFORM add_retention_policy('rootdx.record', keep);
END $$;
COMMENT ON FUNCTION keep_raw IS 'Keeps raw rows this long from now on; for the owner.';

CREATE FUNCTION maintain() RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
COMMENT ON FUNCTION maintain IS 'Called by the writer about once a minute; here the background jobs do the work.';

CREATE FUNCTION touched(hour timestamptz) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
COMMENT ON FUNCTION touched IS 'Told by the writer which hours its rows lie in; here the extension notes that itself.';
