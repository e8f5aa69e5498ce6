-- Cycles: what the analytics make of the rows, and what they need to know which rows are new.

CREATE FUNCTION us(ts timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN CASE WHEN isfinite(ts) THEN (extract(epoch FROM ts) * 1000000)::bigint ELSE -9000000000000000 END;
COMMENT ON FUNCTION us(timestamptz) IS 'Whole microseconds since 1970, as programs exchange times; the beginning of time is -9e15.';
CREATE FUNCTION at_us(us bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN TIMESTAMPTZ '1970-01-01 00:00+00' + us * INTERVAL '1 microsecond';
CREATE FUNCTION at_us(us bigint[]) RETURNS timestamptz[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN (SELECT coalesce(array_agg(at_us(t.x) ORDER BY t.n), '{}') FROM unnest(us) WITH ORDINALITY AS t(x, n));
COMMENT ON FUNCTION at_us(bigint) IS 'The time of whole microseconds since 1970.';
COMMENT ON FUNCTION at_us(bigint[]) IS 'The same for each of many.';
REVOKE EXECUTE ON FUNCTION us(timestamptz), at_us(bigint), at_us(bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION us(timestamptz), at_us(bigint), at_us(bigint[])
    TO rootdx_writer, rootdx_reader, rootdx_analytics;

CREATE TABLE arrival (
    asset_id integer NOT NULL REFERENCES asset,
    hour     timestamptz NOT NULL,
    from_ts  timestamptz NOT NULL,
    to_ts    timestamptz NOT NULL,
    PRIMARY KEY (asset_id, hour)
) WITH (fillfactor = 50);
COMMENT ON TABLE arrival IS 'Per machine and hour of source time: the span in which rows came since the analytics last looked. Never more rows than hours kept.';

CREATE TABLE recompute (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id integer NOT NULL REFERENCES asset,
    from_ts  timestamptz NOT NULL,
    to_ts    timestamptz NOT NULL,
    reason   text NOT NULL,
    asked    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE recompute IS 'Spans whose cycles are to be found and measured again; removed in the transaction that writes the result.';

CREATE TABLE process_config (
    config_id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id   integer NOT NULL REFERENCES asset,
    kind       text NOT NULL,
    valid_from timestamptz NOT NULL,
    settings   jsonb NOT NULL,
    seen       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (asset_id, kind, valid_from)
);
COMMENT ON TABLE process_config IS 'The [[cycle]] tables of the machine files, dated: a cycle is measured and judged with what was in force when it began.';

CREATE TABLE feature_set (
    set_id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest   bytea NOT NULL UNIQUE,
    names    text[] NOT NULL,
    units    text[] NOT NULL,
    formulas text[] NOT NULL,
    versions text[] NOT NULL,
    lows     double precision[] NOT NULL,
    highs    double precision[] NOT NULL
);
COMMENT ON TABLE feature_set IS 'Names, units, formulas with versions, and limits in force, shared by all cycles that have the same.';

CREATE TABLE cycle (
    cycle_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id     integer NOT NULL REFERENCES asset,
    kind         text NOT NULL,
    lane         text NOT NULL DEFAULT '',
    start_ts     timestamptz NOT NULL,
    end_ts       timestamptz,
    number       bigint,
    phase_names  text[] NOT NULL,
    phase_starts timestamptz[] NOT NULL,
    phase_ends   timestamptz[] NOT NULL,
    flags        text[] NOT NULL DEFAULT '{}',
    verdict      text,
    verdicts     jsonb NOT NULL DEFAULT '{}',
    context      jsonb NOT NULL DEFAULT '{}',
    set_id       integer REFERENCES feature_set,
    value        double precision[] NOT NULL DEFAULT '{}',
    reason       smallint[] NOT NULL DEFAULT '{}',
    n_used       bigint[] NOT NULL DEFAULT '{}',
    coverage     real[] NOT NULL DEFAULT '{}',
    quality      bigint[] NOT NULL DEFAULT '{}',
    inputs_hash  text[] NOT NULL DEFAULT '{}',
    config_id    integer NOT NULL REFERENCES process_config,
    process      text NOT NULL,
    version      integer NOT NULL DEFAULT 1,
    computed_at  timestamptz NOT NULL DEFAULT now(),
    digest       bytea NOT NULL,
    CONSTRAINT cycle_once UNIQUE (asset_id, kind, start_ts, lane) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX cycle_by_time ON cycle (start_ts);
CREATE INDEX cycle_running ON cycle (asset_id) WHERE end_ts IS NULL;
CREATE INDEX cycle_by_context ON cycle USING gin (context jsonb_path_ops);
COMMENT ON TABLE cycle IS 'One row a cycle: a shot, a load, a seam, a rack, a stroke. Features stand in arrays in the order of their feature_set.';
COMMENT ON COLUMN cycle.end_ts IS 'NULL while it runs.';
COMMENT ON COLUMN cycle.lane IS 'Tells cycles apart that run at the same time, as carriers on a line.';
COMMENT ON COLUMN cycle.verdict IS 'pass, review, fail, incomplete or unverified; NULL where nothing is judged.';
COMMENT ON COLUMN cycle.process IS 'Version of the process that found it.';
COMMENT ON COLUMN cycle.version IS '1 when it closed; one more each time late rows or settings changed what it says.';
COMMENT ON COLUMN cycle.digest IS 'Of all that was found and measured; the same content is not written twice.';

CREATE FUNCTION reason_name(reason smallint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (ARRAY['OK', 'ZERO_DENOM', 'MISSING_INPUT', 'LOW_COVERAGE', 'OUT_OF_VALID_RANGE', 'BAD_QUALITY',
                  'NOT_REACHED'])[reason + 1];
COMMENT ON FUNCTION reason_name IS 'Why a value is what it is, as analytics/result.py numbers it.';
REVOKE EXECUTE ON FUNCTION reason_name FROM PUBLIC;

CREATE VIEW cycles AS
SELECT c.start_ts, c.end_ts, extract(epoch FROM c.end_ts - c.start_ts)::double precision AS seconds,
       a.path AS asset, c.kind, c.lane, c.number,
       CASE WHEN c.end_ts IS NULL THEN c.phase_names[cardinality(c.phase_names)] END AS running_phase,
       c.verdict, c.flags, c.context, c.context->>'lot' AS lot, c.context->>'part' AS part,
       c.context->>'recipe' AS recipe, c.verdicts, c.version, c.computed_at, c.cycle_id, c.asset_id
FROM cycle c JOIN asset a USING (asset_id);
COMMENT ON VIEW cycles IS 'Cycles of all processes with the names of their machines.';

CREATE VIEW phases AS
SELECT p.start_ts, p.end_ts, extract(epoch FROM p.end_ts - p.start_ts)::double precision AS seconds, p.phase,
       p.place, a.path AS asset, c.kind, c.lane, c.cycle_id
FROM cycle c JOIN asset a USING (asset_id)
CROSS JOIN LATERAL unnest(c.phase_names, c.phase_starts, c.phase_ends) WITH ORDINALITY AS p(phase, start_ts, end_ts, place);
COMMENT ON VIEW phases IS 'Phases of the cycles, in order.';

CREATE VIEW features AS
SELECT c.start_ts, a.path AS asset, c.kind, f.feature, f.value, f.unit, reason_name(f.reason) AS reason,
       f.low, f.high, f.value BETWEEN coalesce(f.low, '-Infinity') AND coalesce(f.high, 'Infinity') AS within,
       f.formula, f.formula_version, f.n_used, f.coverage, f.quality, f.inputs_hash,
       c.flags, c.context, c.verdict, c.cycle_id
FROM cycle c JOIN asset a USING (asset_id) JOIN feature_set s USING (set_id)
CROSS JOIN LATERAL unnest(s.names, c.value, s.units, c.reason, s.lows, s.highs, s.formulas, s.versions, c.n_used,
                          c.coverage, c.quality, c.inputs_hash)
    AS f(feature, value, unit, reason, low, high, formula, formula_version, n_used, coverage, quality, inputs_hash);
COMMENT ON VIEW features IS 'Features of closed cycles, one row each: a value, or the reason why there is none.';

CREATE VIEW cycle_waveforms AS
SELECT c.cycle_id, c.start_ts, w.*
FROM cycle c JOIN asset a USING (asset_id)
JOIN waveforms w ON w.asset = a.path AND w.ts >= c.start_ts AND w.ts < coalesce(c.end_ts, 'infinity');
COMMENT ON VIEW cycle_waveforms IS 'The waveforms of each cycle: those that begin in it.';

GRANT SELECT ON cycle_waveforms, arrival, recompute, process_config, feature_set, cycle, cycles, phases, features
    TO rootdx_writer, rootdx_reader, rootdx_analytics;
GRANT INSERT, UPDATE ON arrival TO rootdx_writer;
GRANT USAGE ON SCHEMA rootdx TO rootdx_analytics;
GRANT SELECT ON ALL TABLES IN SCHEMA rootdx TO rootdx_analytics;
REVOKE ALL ON quarantine FROM rootdx_analytics;
GRANT DELETE ON arrival TO rootdx_analytics;
GRANT INSERT, DELETE ON recompute TO rootdx_analytics;
GRANT INSERT ON process_config, feature_set TO rootdx_analytics;
GRANT INSERT, UPDATE, DELETE ON cycle TO rootdx_analytics;
GRANT EXECUTE ON FUNCTION quality_class, reason_name TO rootdx_analytics;
GRANT EXECUTE ON FUNCTION reason_name TO rootdx_writer, rootdx_reader;
