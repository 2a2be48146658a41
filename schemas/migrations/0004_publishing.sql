-- Which versions may leave: what the gate decides, and what operators order.

CREATE TABLE freshet.decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    version bigint NOT NULL,
    decision text NOT NULL CHECK (decision IN ('publish', 'hold', 'canary')),
    decided_by text NOT NULL,
    rule text,
    reason text,
    served_version bigint,
    events bigint,
    candidate jsonb,
    served jsonb,
    quantization_gap_p99 double precision,
    request bigint,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (pipeline, version) REFERENCES freshet.versions ON DELETE CASCADE
);
CREATE INDEX decisions_version ON freshet.decisions (pipeline, version);
CREATE INDEX decisions_pipeline ON freshet.decisions (pipeline, id);
COMMENT ON TABLE freshet.decisions IS 'Why a version was published or held: by the pipeline''s gate (publish.gate), or because somebody ordered it; and `canary`: it was put on trial (publish.canary). A version may have several: one that was put off is judged once, and may be ordered later.';
COMMENT ON COLUMN freshet.decisions.decided_by IS '`gate`, `canary`, or who ordered it.';
COMMENT ON COLUMN freshet.decisions.rule IS 'The rule of the gate that the version broke; what a trial showed: canary_worse, canary_not_worse, canary_events (neither), canary_unseen (it had hardly any outcomes); or the command: hold, promote, rollback, pin.';
COMMENT ON COLUMN freshet.decisions.served_version IS 'The version that it was compared with, or, of hold, the one that stays.';
COMMENT ON COLUMN freshet.decisions.candidate IS 'The version''s progressive figures over the newest `events` events; of a trial, the loss of what it predicted.';
COMMENT ON COLUMN freshet.decisions.served IS 'Those of the versions that were being served, over the same events; of a trial, the loss of what the other version predicted.';

COMMENT ON COLUMN freshet.requests.version IS 'The version that does what was asked: recorded in the same transaction as the answer. Of hold: the one that was served then; of promote, rollback and pin: the one that was published.';
-- What is published is what the newest of these that was done says.
CREATE INDEX requests_publishing ON freshet.requests (pipeline, id) WHERE kind IN ('hold', 'promote', 'rollback', 'pin');
