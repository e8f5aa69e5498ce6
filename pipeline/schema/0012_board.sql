-- People of the board: accounts, sessions, and a journal of what they changed.

CREATE TABLE account (
    name     text PRIMARY KEY CHECK (name ~ '^[^[:cntrl:]]{1,60}$'),
    role     text NOT NULL CHECK (role IN ('operator', 'engineer', 'auditor', 'admin')),
    password text NOT NULL,
    disabled boolean NOT NULL DEFAULT false,
    created  timestamptz NOT NULL DEFAULT now(),
    changed  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE account IS 'Who may sign in to the board. Never removed, only disabled: the journal names them.';
COMMENT ON COLUMN account.password IS 'Argon2id, with its salt and parameters.';

CREATE TABLE board_session (
    digest  bytea PRIMARY KEY,
    account text NOT NULL REFERENCES account,
    begun   timestamptz NOT NULL DEFAULT now(),
    seen    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX board_session_by_account ON board_session (account);
COMMENT ON TABLE board_session IS 'Who is signed in. The token itself is with the browser alone, here is its SHA-256.';

CREATE TABLE board_journal (
    entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts       timestamptz NOT NULL DEFAULT now(),
    who      text NOT NULL,
    role     text NOT NULL,
    address  text NOT NULL,
    action   text NOT NULL,
    subject  text NOT NULL,
    data     jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX board_journal_by_time ON board_journal (ts);
COMMENT ON TABLE board_journal IS 'Every change that a person made through the board, sign-ins included. Never changed.';

CREATE FUNCTION refuse_board_journal_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal of the board is never changed';
END $$;
CREATE TRIGGER board_journal_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON board_journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_board_journal_change();
REVOKE EXECUTE ON FUNCTION refuse_board_journal_change FROM PUBLIC;

-- The board reads what the reader reads, keeps its people, and enters what they say. It never touches rows of machines.
GRANT SELECT ON ALL TABLES IN SCHEMA rootdx TO rootdx_board;
REVOKE ALL ON quarantine FROM rootdx_board;
GRANT EXECUTE ON FUNCTION us(timestamptz), at_us(bigint), at_us(bigint[]), quality_class, reason_name, part, origins,
    windows_of, completeness_hours TO rootdx_board;
GRANT INSERT, UPDATE ON account TO rootdx_board;
GRANT INSERT, UPDATE, DELETE ON board_session TO rootdx_board;
GRANT INSERT ON board_journal TO rootdx_board;
GRANT INSERT ON context_change, stop_entry, quantity_entry, lab_result, genealogy, life_reset, check_entry,
    compliance_record, recompute, alarm_journal TO rootdx_board;
GRANT UPDATE ON alarm TO rootdx_board;
