-- Times and quantities by shift and order, energy by quarter hour, and what people enter about them.

CREATE TABLE stop_entry (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id integer NOT NULL REFERENCES asset,
    kind     text NOT NULL CHECK (kind IN ('planned', 'setup', 'technical', 'organisational', 'preventive', 'corrective')),
    from_ts  timestamptz NOT NULL,
    to_ts    timestamptz NOT NULL CHECK (to_ts >= from_ts),
    reason   text NOT NULL DEFAULT '',
    author   text NOT NULL,
    replaces bigint UNIQUE REFERENCES stop_entry,
    entered  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX stop_entry_by_time ON stop_entry (asset_id, from_ts);
COMMENT ON TABLE stop_entry IS 'What a stop was, as people say. Append-only: a correction is a new row that replaces one; an empty span withdraws it.';

CREATE TABLE quantity_entry (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id integer NOT NULL REFERENCES asset,
    ts       timestamptz NOT NULL,
    scrap    double precision NOT NULL DEFAULT 0,
    rework   double precision NOT NULL DEFAULT 0,
    reason   text NOT NULL DEFAULT '',
    author   text NOT NULL,
    entered  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX quantity_entry_by_time ON quantity_entry (asset_id, ts);
COMMENT ON TABLE quantity_entry IS 'Scrap and rework that people counted, beyond what verdicts say. Append-only: a correction is a row with a negative number.';

CREATE TABLE kpi_element (
    asset_id         integer NOT NULL REFERENCES asset,
    shift_start      timestamptz NOT NULL,
    order_name       text NOT NULL DEFAULT '',
    shift_end        timestamptz NOT NULL,
    shift            text NOT NULL,
    day              date NOT NULL,
    planned_busy_s   double precision NOT NULL,
    production_s     double precision NOT NULL,
    setup_s          double precision NOT NULL,
    delay_s          double precision NOT NULL,
    down_s           double precision NOT NULL,
    technical_s      double precision NOT NULL,
    organisational_s double precision NOT NULL,
    blind_s          double precision NOT NULL,
    order_s          double precision,
    planned_run_s    double precision,
    planned_good_s   double precision,
    produced         double precision NOT NULL,
    good             double precision NOT NULL,
    scrap            double precision NOT NULL,
    rework           double precision NOT NULL,
    corrective_s     double precision NOT NULL,
    preventive_s     double precision NOT NULL,
    failures         integer NOT NULL,
    cycles           integer NOT NULL,
    energy_kwh       double precision,
    computed_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (asset_id, shift_start, order_name)
);
COMMENT ON TABLE kpi_element IS 'ISO 22400-2 elements per machine, shift and order, in seconds and items. Sum them; never average a ratio.';

CREATE FUNCTION part(numerator double precision, denominator double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN CASE WHEN denominator > 0 THEN numerator / denominator END;
COMMENT ON FUNCTION part IS 'numerator / denominator; NULL, never 0 or infinity, where the denominator is not above 0.';
REVOKE EXECUTE ON FUNCTION part FROM PUBLIC;
GRANT EXECUTE ON FUNCTION part TO rootdx_writer, rootdx_reader, rootdx_analytics;

CREATE VIEW kpi_elements AS
SELECT a.path AS asset, regexp_replace(a.path, '/[^/]*$', '') AS line, k.* FROM kpi_element k JOIN asset a USING (asset_id);
COMMENT ON VIEW kpi_elements IS 'Elements with the names of machine and line.';

CREATE VIEW kpis AS
SELECT asset, line, day, shift, shift_start, shift_end, order_name, produced, good, cycles, energy_kwh,
       part(production_s, planned_busy_s) AS availability,
       CASE WHEN planned_busy_s > 0 THEN part(planned_run_s, production_s) END AS effectiveness,
       part(good, produced) AS quality_ratio,
       part(planned_good_s, planned_busy_s) AS oee,
       part(production_s + setup_s, planned_busy_s) * part(planned_good_s, nullif(production_s, 0)) AS nee,
       part(production_s, production_s + delay_s) AS technical_efficiency,
       part(setup_s, production_s + setup_s) AS setup_rate,
       part(scrap, produced) AS scrap_ratio, part(energy_kwh, good) AS kwh_per_good
FROM kpi_elements;
COMMENT ON VIEW kpis IS 'Key figures of a shift: fractions, not percent; NULL where they are undefined.';

CREATE VIEW kpis_by_day AS
SELECT asset, line, day, sum(produced) AS produced, sum(good) AS good, sum(cycles)::bigint AS cycles,
       sum(energy_kwh) AS energy_kwh, part(sum(production_s), sum(planned_busy_s)) AS availability,
       part(sum(planned_run_s), sum(production_s)) AS effectiveness, part(sum(good), sum(produced)) AS quality_ratio,
       part(sum(planned_good_s), sum(planned_busy_s)) AS oee, part(sum(energy_kwh), sum(good)) AS kwh_per_good
FROM kpi_elements GROUP BY asset, line, day;
COMMENT ON VIEW kpis_by_day IS 'Key figures of a day, from sums of the elements of its shifts.';

CREATE VIEW kpis_by_line AS
SELECT line, day, sum(produced) AS produced, sum(good) AS good, sum(cycles)::bigint AS cycles,
       sum(energy_kwh) AS energy_kwh, part(sum(production_s), sum(planned_busy_s)) AS availability,
       part(sum(planned_run_s), sum(production_s)) AS effectiveness, part(sum(good), sum(produced)) AS quality_ratio,
       part(sum(planned_good_s), sum(planned_busy_s)) AS oee, part(sum(energy_kwh), sum(good)) AS kwh_per_good
FROM kpi_elements GROUP BY line, day;
COMMENT ON VIEW kpis_by_line IS 'Key figures of a line and day, from sums of the elements of its machines.';

CREATE TABLE demand (
    asset_id integer NOT NULL REFERENCES asset,
    quarter  timestamptz NOT NULL,
    kw       double precision,
    reason   smallint NOT NULL,
    PRIMARY KEY (asset_id, quarter)
);
COMMENT ON TABLE demand IS 'Mean power of each whole quarter hour (:00 :15 :30 :45) from a meter that counts kWh; NULL with the reason why not.';

CREATE VIEW demands AS
SELECT a.path AS asset, d.quarter, d.kw, d.kw / 4 AS kwh, reason_name(d.reason) AS reason FROM demand d JOIN asset a USING (asset_id);
COMMENT ON VIEW demands IS '15-minute demand by machine or meter.';

GRANT SELECT ON stop_entry, quantity_entry, kpi_element, kpi_elements, kpis, kpis_by_day, kpis_by_line, demand, demands
    TO rootdx_writer, rootdx_reader, rootdx_analytics;
GRANT INSERT ON stop_entry, quantity_entry TO rootdx_analytics;
GRANT INSERT, UPDATE, DELETE ON kpi_element, demand TO rootdx_analytics;
