-- Detectors, their scores, the alarms made of them and the journal of the alarms.

CREATE TABLE detector (
    detector_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id    integer NOT NULL REFERENCES asset,
    name        text NOT NULL,
    kind        text NOT NULL,
    version     text NOT NULL,
    settings    jsonb NOT NULL,
    since       timestamptz NOT NULL DEFAULT now(),
    seen_to     timestamptz NOT NULL DEFAULT '-infinity',
    UNIQUE (asset_id, name)
);
COMMENT ON TABLE detector IS 'What watches a machine, one row a [[detector]] of its file, with its present settings.';
COMMENT ON COLUMN detector.seen_to IS 'Rows and cycles up to here have been judged; what comes later with an older time is noted, and never rings.';

CREATE TABLE detector_change (
    detector_id integer NOT NULL REFERENCES detector,
    at          timestamptz NOT NULL DEFAULT now(),
    version     text NOT NULL,
    settings    jsonb NOT NULL
);
COMMENT ON TABLE detector_change IS 'Every setting a detector ever had, from when on. Append-only.';

CREATE TABLE score (
    detector_id integer NOT NULL REFERENCES detector,
    ts          timestamptz NOT NULL,
    subject     text NOT NULL,
    score       real NOT NULL,
    cycle_id    bigint,
    PRIMARY KEY (detector_id, ts)
);
COMMENT ON TABLE score IS 'The highest score of a detector: of a cycle, or of a minute of tags. 1 is the limit.';
COMMENT ON COLUMN score.subject IS 'The variable with that score; empty when the score is of all together.';

CREATE TABLE alarm (
    alarm_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    detector_id integer NOT NULL REFERENCES detector,
    subject     text NOT NULL,
    state       text NOT NULL,
    active      boolean NOT NULL,
    priority    text NOT NULL CHECK (priority IN ('low', 'medium', 'high')),
    shelved_until timestamptz,
    raise_entry bigint,
    memory      jsonb NOT NULL,
    changed     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (detector_id, subject)
);
CREATE INDEX alarm_standing ON alarm (detector_id) WHERE state <> 'normal';
COMMENT ON TABLE alarm IS 'Every alarm that was ever raised, as it stands now.';
COMMENT ON COLUMN alarm.state IS 'ISA-18.2: normal, unacknowledged, acknowledged, returned, latched_unacknowledged, latched_acknowledged, shelved, suppressed, out_of_service.';
COMMENT ON COLUMN alarm.memory IS 'All that the alarm is made of; see analytics/alarm.py.';

CREATE TABLE alarm_journal (
    entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alarm_id bigint NOT NULL REFERENCES alarm,
    ts       timestamptz NOT NULL,
    written  timestamptz NOT NULL DEFAULT now(),
    kind     text NOT NULL,
    before   text NOT NULL,
    after    text NOT NULL,
    priority text NOT NULL,
    score    real,
    onset    timestamptz,
    told     boolean NOT NULL,
    replayed boolean NOT NULL,
    cause    bigint REFERENCES alarm_journal,
    who      text NOT NULL DEFAULT '',
    reason   text NOT NULL DEFAULT '',
    facts    jsonb
);
CREATE INDEX alarm_journal_by_alarm ON alarm_journal (alarm_id, entry_id);
CREATE INDEX alarm_journal_by_time ON alarm_journal (ts);
COMMENT ON TABLE alarm_journal IS 'Everything that ever happened to an alarm. Never changed.';
COMMENT ON COLUMN alarm_journal.ts IS 'Time of the row, or when a person did it.';
COMMENT ON COLUMN alarm_journal.told IS 'People were told by this entry: it counts for the load of an operator.';
COMMENT ON COLUMN alarm_journal.replayed IS 'The row was old when it was looked at; nobody was told.';
COMMENT ON COLUMN alarm_journal.cause IS 'Raised together with this entry on the same machine, which is taken to be the cause.';
COMMENT ON COLUMN alarm_journal.facts IS 'Of a raise: what was seen, against which limit, since when, which variables, what it resembles.';

CREATE FUNCTION refuse_journal_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the alarm journal is never changed; what was wrong is said by a further entry';
END $$;
CREATE TRIGGER alarm_journal_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON alarm_journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_journal_change();
REVOKE EXECUTE ON FUNCTION refuse_journal_change FROM PUBLIC;

CREATE TABLE notice (
    entry_id bigint NOT NULL REFERENCES alarm_journal,
    step     integer NOT NULL,
    channel  text NOT NULL,
    due      timestamptz NOT NULL,
    planned  timestamptz NOT NULL,
    tries    integer NOT NULL DEFAULT 0,
    sent     timestamptz,
    error    text NOT NULL DEFAULT '',
    PRIMARY KEY (entry_id, step, channel)
);
CREATE INDEX notice_waiting ON notice (due) WHERE sent IS NULL;
COMMENT ON TABLE notice IS 'Who has been told of an alarm, over which channel, in which step of the escalation.';

CREATE INDEX cycle_by_end ON cycle (asset_id, kind, end_ts);

CREATE VIEW alarms AS
SELECT a.alarm_id, s.path AS asset, d.name AS detector, d.kind, a.subject, a.state, a.active, a.priority,
       j.onset, j.ts AS raised, j.score, j.facts, j.told, j.replayed, coalesce(j.cause, j.entry_id) AS cause,
       a.shelved_until, a.changed,
       k.who AS acknowledged_by, k.ts AS acknowledged_at, k.reason AS done
FROM alarm a JOIN detector d USING (detector_id) JOIN asset s USING (asset_id)
LEFT JOIN alarm_journal j ON j.entry_id = a.raise_entry
LEFT JOIN LATERAL (
    SELECT who, ts, reason FROM alarm_journal k
    WHERE k.alarm_id = a.alarm_id AND k.kind = 'acknowledged' AND k.entry_id > a.raise_entry
    ORDER BY k.entry_id DESC LIMIT 1
) k ON true;
COMMENT ON VIEW alarms IS 'Every alarm as it stands, with the entry that raised it and who acknowledged it.';

CREATE VIEW alarm_entries AS
SELECT j.entry_id, j.ts, j.written, s.path AS asset, d.name AS detector, d.kind AS detector_kind, a.subject, j.kind,
       j.before, j.after, j.priority, j.score, j.onset, j.told, j.replayed, j.cause, j.who, j.reason, j.facts, j.alarm_id
FROM alarm_journal j JOIN alarm a USING (alarm_id) JOIN detector d USING (detector_id) JOIN asset s USING (asset_id);
COMMENT ON VIEW alarm_entries IS 'The journal with the names of machine, detector and subject.';

CREATE VIEW alarm_bins AS
SELECT date_bin('10 minutes', ts, '2000-01-01') AS bin, asset, count(*) AS alarms
FROM alarm_entries WHERE told GROUP BY 1, 2;
COMMENT ON VIEW alarm_bins IS 'Alarms that people were told of, by clock bin of 10 minutes and machine (section 6.7).';

CREATE VIEW scores AS
SELECT s.path AS asset, d.name AS detector, d.kind, c.ts, c.subject, c.score, c.cycle_id
FROM score c JOIN detector d USING (detector_id) JOIN asset s USING (asset_id);
COMMENT ON VIEW scores IS 'Scores with the names of machine and detector; 1 is the limit.';

GRANT SELECT ON detector, detector_change, score, alarm, alarm_journal, notice, alarms, alarm_entries, alarm_bins, scores
    TO rootdx_writer, rootdx_reader, rootdx_analytics;
GRANT INSERT, UPDATE ON detector, score, alarm, notice TO rootdx_analytics;
GRANT INSERT ON detector_change, alarm_journal TO rootdx_analytics;
