-- Several writers of one database share the gateways among themselves: who is at work, and whom each has made room for.

CREATE TABLE writer (
    name     text PRIMARY KEY,
    life     uuid NOT NULL,
    stay     uuid NOT NULL,
    gateways text[] NOT NULL,
    knows    uuid[] NOT NULL DEFAULT '{}',
    backend  integer NOT NULL,
    seen     timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE writer IS 'Writers at work. Only who does what is decided by it; what is stored once, the ledger decides.';
COMMENT ON COLUMN writer.name IS 'Unique among those at work.';
COMMENT ON COLUMN writer.life IS 'Of the process: who comes back with it takes up its row.';
COMMENT ON COLUMN writer.stay IS 'Of this row; another one each time it comes, so that who left and came back is seen to have.';
COMMENT ON COLUMN writer.gateways IS 'Which it serves; none: all.';
COMMENT ON COLUMN writer.knows IS 'The stays of the writers whose share of the gateways it has let go of.';
COMMENT ON COLUMN writer.backend IS 'Process of the database server that it is connected to.';
COMMENT ON COLUMN writer.seen IS 'When it last said that it is there, by the clock of the database.';

GRANT SELECT ON writer TO rootdx_reader, rootdx_analytics, rootdx_board;
GRANT SELECT, INSERT, UPDATE, DELETE ON writer TO rootdx_writer;
