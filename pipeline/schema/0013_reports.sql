-- Reports that are sent by schedule: what is to be sent of each period, and what was.

CREATE TABLE report_delivery (
    report  text NOT NULL,
    channel text NOT NULL,
    period  text NOT NULL,
    place   bigint NOT NULL,
    planned timestamptz NOT NULL DEFAULT now(),
    due     timestamptz NOT NULL DEFAULT now(),
    tries   integer NOT NULL DEFAULT 0,
    sent    timestamptz,
    error   text NOT NULL DEFAULT '',
    PRIMARY KEY (report, channel, period)
);
CREATE INDEX report_delivery_waiting ON report_delivery (due) WHERE sent IS NULL;
COMMENT ON TABLE report_delivery IS 'Which report of which period goes to whom, planned before it is made and noted after it went: nothing is forgotten, at worst it comes twice.';
COMMENT ON COLUMN report_delivery.report IS 'Name of the [[report]] table in the settings.';
COMMENT ON COLUMN report_delivery.channel IS 'mail and its addresses, or folder and its path.';
COMMENT ON COLUMN report_delivery.period IS 'A shift, a month or a record; empty marks from when on periods count where there was none yet.';
COMMENT ON COLUMN report_delivery.place IS 'Orders the periods of a report: start of the shift in seconds since 1970, year * 12 + month, number of the record.';
COMMENT ON COLUMN report_delivery.due IS 'When it is tried next.';
COMMENT ON COLUMN report_delivery.error IS 'What went wrong last, and what to do about it.';

GRANT SELECT ON report_delivery TO rootdx_writer, rootdx_reader, rootdx_analytics, rootdx_board;
GRANT INSERT, UPDATE ON report_delivery TO rootdx_analytics;
