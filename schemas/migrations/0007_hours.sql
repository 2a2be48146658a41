-- What stays of versions that are collected: their figures, rolled up by the hour. And how far behind a learner is.

ALTER TABLE freshet.pipelines ADD COLUMN lag_events bigint;
COMMENT ON COLUMN freshet.pipelines.lag_events IS 'Events that the broker had and the learner had not with the newest version; null while no learner learns.';

CREATE TABLE freshet.collected_hours (
    pipeline text NOT NULL,
    hour timestamptz NOT NULL,
    lineage integer NOT NULL,
    first_version bigint NOT NULL,
    last_version bigint NOT NULL,
    versions bigint NOT NULL,
    learned bigint NOT NULL,
    refused bigint NOT NULL,
    drift_events bigint NOT NULL,
    loss double precision,
    loss_least double precision,
    loss_greatest double precision,
    auc double precision,
    accuracy double precision,
    calibration_error double precision,
    PRIMARY KEY (pipeline, hour, lineage)
);
COMMENT ON TABLE freshet.collected_hours IS 'One row for each hour, and lineage, of versions that were collected. Written in the transaction that deletes them, and kept.';

CREATE VIEW freshet.hour_history AS
SELECT pipeline, hour, lineage, first_version, last_version, versions, learned, refused, drift_events, loss, loss_least, loss_greatest, auc, accuracy, calibration_error
FROM freshet.collected_hours;
COMMENT ON VIEW freshet.hour_history IS 'The figures of versions that were collected, by the hour in which they were recorded; those of the versions that are still there are in version_history and metric_history.';
COMMENT ON COLUMN freshet.hour_history.versions IS 'How many of the hour''s versions were collected; some may be there still.';
COMMENT ON COLUMN freshet.hour_history.learned IS 'Events learned by them.';
COMMENT ON COLUMN freshet.hour_history.drift_events IS 'Drifts on these events.';
COMMENT ON COLUMN freshet.hour_history.loss IS 'The mean over the versions of their window''s mean loss (logloss where the loss is logistic or softmax); so are auc, accuracy and calibration_error. Where some versions have no such figure it is approximate.';
COMMENT ON COLUMN freshet.hour_history.loss_least IS 'Of the best version''s window.';
COMMENT ON COLUMN freshet.hour_history.loss_greatest IS 'Of the worst version''s window.';

COMMENT ON TABLE freshet.snapshot_chunks IS 'The bytes of snapshots, in pieces.';
COMMENT ON TABLE freshet.freshet_migrations IS 'Which of these scripts were run, and when.';
