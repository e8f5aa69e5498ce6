-- Compliance records: append-only, each with the hash of the one before it.

CREATE TABLE compliance_record (
    number   bigint PRIMARY KEY,
    made     timestamptz NOT NULL,
    profile  text NOT NULL,
    subject_kind text NOT NULL,
    subject  text NOT NULL,
    version  integer NOT NULL,
    verdict  text NOT NULL CHECK (verdict IN ('pass', 'review', 'fail', 'incomplete', 'unverified')),
    author   text NOT NULL,
    reason   text NOT NULL DEFAULT '',
    content  text NOT NULL,
    previous text NOT NULL,
    hash     text NOT NULL UNIQUE,
    UNIQUE (subject_kind, subject, profile, version)
);
COMMENT ON TABLE compliance_record IS 'What was found of a lot, part, load or cycle, with everything needed to say it again. Never changed: a correction is the next version.';
COMMENT ON COLUMN compliance_record.content IS 'The record as canonical JSON; this text is what the hash is of.';
COMMENT ON COLUMN compliance_record.hash IS 'SHA-256 of number, previous and content.';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'compliance records are never changed; make the next version with a reason';
END $$;
CREATE TRIGGER compliance_record_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON compliance_record
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE EXECUTE ON FUNCTION refuse_change FROM PUBLIC;

GRANT SELECT ON compliance_record TO rootdx_writer, rootdx_reader, rootdx_analytics;
GRANT INSERT ON compliance_record TO rootdx_analytics;
