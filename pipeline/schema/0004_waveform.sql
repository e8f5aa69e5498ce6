-- Bursts: one row each, values compressed. They are raw data and kept as long as measurement.

CREATE TABLE waveform (
    asset_id  integer NOT NULL REFERENCES asset,
    name      text NOT NULL,
    ts        timestamptz NOT NULL,
    period_ns bigint NOT NULL CHECK (period_ns > 0),
    channels  text[] NOT NULL,
    samples   integer NOT NULL,
    value     bytea NOT NULL,
    encoding  smallint NOT NULL,
    quality   integer NOT NULL,
    record    bigint NOT NULL,
    PRIMARY KEY (asset_id, name, ts)
);
ALTER TABLE waveform ALTER COLUMN value SET STORAGE EXTERNAL; -- nothing is left to compress
COMMENT ON TABLE waveform IS 'Every burst, once: the same asset, name and time sent again changes nothing.';
COMMENT ON COLUMN waveform.ts IS 'Time of the first sample.';
COMMENT ON COLUMN waveform.period_ns IS 'From one sample to the next.';
COMMENT ON COLUMN waveform.value IS 'samples x channels of float32, as encoding says.';
COMMENT ON COLUMN waveform.encoding IS '1: zstd of the byte planes of the differences of the bits, channel after channel.';
COMMENT ON COLUMN waveform.quality IS 'As in measurement, of the whole burst.';

CREATE TABLE waveform_channel (
    asset_id      integer NOT NULL REFERENCES asset,
    name          text NOT NULL,
    channel       text NOT NULL,
    place         smallint NOT NULL,
    unit          text NOT NULL DEFAULT '',
    role          text NOT NULL DEFAULT '',
    text          text NOT NULL DEFAULT '',
    waveform_role text NOT NULL DEFAULT '',
    PRIMARY KEY (asset_id, name, channel)
);
COMMENT ON TABLE waveform_channel IS 'Channels of the bursts, as the machine files say.';
COMMENT ON COLUMN waveform_channel.unit IS 'UCUM.';
COMMENT ON COLUMN waveform_channel.waveform_role IS 'What the whole waveform is for the process, as shot.curve.';

CREATE VIEW waveforms AS
SELECT a.path AS asset, w.name, coalesce(c.waveform_role, '') AS role, w.ts,
       w.period_ns * w.samples / 1e9::double precision AS seconds, w.period_ns / 1e9::double precision AS period_s,
       w.samples, w.channels, coalesce(c.units, '{}') AS units, coalesce(c.roles, '{}') AS roles,
       quality_class(w.quality) AS quality, w.quality AS code, octet_length(w.value) AS bytes, w.encoding, w.value,
       w.record
FROM waveform w JOIN asset a USING (asset_id)
CROSS JOIN LATERAL (
    SELECT min(d.waveform_role) AS waveform_role, array_agg(coalesce(d.unit, '') ORDER BY u.place) AS units,
           array_agg(coalesce(d.role, '') ORDER BY u.place) AS roles
    FROM unnest(w.channels) WITH ORDINALITY AS u (channel, place)
    LEFT JOIN waveform_channel d ON d.asset_id = w.asset_id AND d.name = w.name AND d.channel = u.channel
) c;
COMMENT ON VIEW waveforms IS 'Bursts with the names, units and roles of their channels.';

-- What keep_raw says holds for bursts as well, on either engine.
DO $engine$ BEGIN
    IF to_regprocedure('rootdx.raw_kept()') IS NOT NULL THEN -- plain PostgreSQL
        CREATE INDEX waveform_by_time ON waveform USING brin (ts);
        ALTER FUNCTION maintain RENAME TO maintain_rows;
        CREATE FUNCTION maintain() RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = rootdx, pg_temp AS $$
            DELETE FROM waveform WHERE ts < now() - raw_kept();
            SELECT maintain_rows()
        $$;
    ELSE
        PERFORM create_hypertable('waveform', by_range('ts', INTERVAL '7 days'), create_default_indexes => false);
        PERFORM add_retention_policy('waveform', coalesce(
            (SELECT (config ->> 'drop_after')::interval FROM timescaledb_information.jobs
             WHERE proc_name = 'policy_retention' AND hypertable_name = 'measurement'), INTERVAL '400 days'));
        ALTER FUNCTION keep_raw RENAME TO keep_rows;
        CREATE FUNCTION keep_raw(keep interval) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM rootdx.keep_rows(keep);
            PERFORM remove_retention_policy('rootdx.waveform', if_exists => true);
            PERFORM add_retention_policy('rootdx.waveform', keep);
        END $$;
    END IF;
END $engine$;
COMMENT ON FUNCTION maintain IS 'Called by the writer about once a minute, and again at once while it returns true: what a plain server must be told to do.';
COMMENT ON FUNCTION keep_raw IS 'Keeps raw rows and bursts this long from now on; for the owner.';
REVOKE EXECUTE ON FUNCTION maintain, keep_raw FROM PUBLIC;
GRANT EXECUTE ON FUNCTION maintain TO rootdx_writer;

GRANT SELECT ON waveform, waveform_channel, waveforms TO rootdx_writer, rootdx_reader;
GRANT INSERT ON waveform, waveform_channel TO rootdx_writer;
GRANT UPDATE ON waveform_channel TO rootdx_writer;
