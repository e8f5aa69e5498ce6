-- The tables both engines share. Times are timestamptz (microseconds), values are in the unit of their tag.

CREATE TABLE ledger (
    source_id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway     text NOT NULL,
    epoch       uuid NOT NULL,
    last_seq    bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    first_seen  timestamptz NOT NULL DEFAULT now(),
    last_commit timestamptz,
    UNIQUE (gateway, epoch)
);
COMMENT ON TABLE ledger IS 'One row per spool: everything up to last_seq is committed, exactly once.';
COMMENT ON COLUMN ledger.epoch IS 'Identity of the spool folder; a new folder starts a new row.';

CREATE TABLE record (
    id         bigint NOT NULL,
    gateway_ts timestamptz NOT NULL,
    ingest_ts  timestamptz NOT NULL DEFAULT now(),
    rows       integer NOT NULL
);
COMMENT ON TABLE record IS 'One row per committed record: when the gateway made it durable and when the store took it.';
COMMENT ON COLUMN record.id IS 'source_id << 40 | seq; measurement.record points here.';

CREATE TABLE asset (
    asset_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    path     text NOT NULL UNIQUE,
    name     text NOT NULL DEFAULT '',
    process  text NOT NULL DEFAULT ''
);
COMMENT ON TABLE asset IS 'Machines (and gateways) by ISA-95 path enterprise/site/area/line/cell.';

CREATE TABLE tag (
    tag_id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id integer NOT NULL REFERENCES asset,
    name     text NOT NULL,
    role     text NOT NULL DEFAULT '',
    unit     text NOT NULL DEFAULT '',
    low      double precision,
    high     double precision,
    every_s  double precision,
    text     text NOT NULL DEFAULT '',
    UNIQUE (asset_id, name)
);
COMMENT ON COLUMN tag.unit IS 'UCUM.';
COMMENT ON COLUMN tag.role IS 'Signal name of the process, the same for every make of machine.';
COMMENT ON COLUMN tag.every_s IS 'Seconds between readings as configured.';

CREATE TABLE measurement (
    ts      timestamptz NOT NULL,
    value   double precision,
    record  bigint NOT NULL,
    tag_id  integer NOT NULL,
    quality integer NOT NULL
);
COMMENT ON TABLE measurement IS 'Every row of every tag, once. No unique index: the ledger is the guard.';
COMMENT ON COLUMN measurement.ts IS 'Source time.';
COMMENT ON COLUMN measurement.value IS 'NULL exactly where quality is bad.';
COMMENT ON COLUMN measurement.quality IS 'OPC UA status code as a signed integer: negative is bad, below 2^30 is good.';
COMMENT ON COLUMN measurement.record IS 'The record that brought it; gives gateway and ingest time.';

CREATE TABLE tally (
    minute       timestamptz NOT NULL,
    record       bigint NOT NULL,
    tag_id       integer NOT NULL,
    expected     integer NOT NULL,
    unreachable  integer NOT NULL,
    late         integer NOT NULL,
    gateway_down integer NOT NULL,
    spool_full   integer NOT NULL,
    quarantined  integer NOT NULL,
    machine_off  integer NOT NULL
);
COMMENT ON TABLE tally IS 'Rows due per tag and minute, and rows that will never come by cause, as the gateway counted them. Rows of one minute add up.';

CREATE TABLE event (
    id       uuid NOT NULL,
    phase    text NOT NULL,
    asset_id integer NOT NULL REFERENCES asset,
    kind     text NOT NULL,
    key      text NOT NULL,
    ts       timestamptz NOT NULL,
    severity smallint NOT NULL,
    text     text NOT NULL,
    data     jsonb NOT NULL,
    record   bigint NOT NULL,
    PRIMARY KEY (id, phase)
);
CREATE INDEX event_by_time ON event (ts DESC);
COMMENT ON TABLE event IS 'Named things that happened. raised and cleared of one condition share an id.';
COMMENT ON COLUMN event.severity IS '1 to 1000 as OPC UA part 9: 100 info, 400 warning, 700 error, 900 critical.';

CREATE TABLE quarantine (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id integer REFERENCES ledger,
    seq       bigint,
    body      integer,
    cause     text NOT NULL,
    reason    text NOT NULL,
    rows      integer NOT NULL DEFAULT 0,
    bytes     bytea NOT NULL,
    digest    bytea NOT NULL,
    arrivals  integer NOT NULL DEFAULT 1,
    arrived   timestamptz NOT NULL DEFAULT now(),
    resolved  timestamptz,
    UNIQUE NULLS NOT DISTINCT (digest, source_id, seq, body)
);
COMMENT ON TABLE quarantine IS 'What could not be stored, with its reason and its bytes; kept until retried or removed by a person.';
COMMENT ON COLUMN quarantine.body IS 'Position of the body in its record; NULL: the whole record, or bytes that are no record.';

CREATE FUNCTION quality_class(quality integer) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN quality < 0 THEN 'bad' WHEN quality >= 1073741824 THEN 'uncertain' ELSE 'good' END;
COMMENT ON FUNCTION quality_class IS 'good, uncertain or bad: bits 31-30 of an OPC UA status code.';
