CREATE TABLE workflow (
    name VARCHAR(100) NOT NULL,
    owner VARCHAR(255) NOT NULL,
    description TEXT NOT NULL,
    digest VARCHAR(64) NOT NULL,
    last_run_id VARCHAR(128) NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE run (
    run_id VARCHAR(128) NOT NULL,
    workflow VARCHAR(100) NOT NULL,
    date VARCHAR(10) NOT NULL,
    serial INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL,
    reason TEXT,
    driver VARCHAR(128) NOT NULL,
    fence BIGINT NOT NULL,
    lease_until DATETIME,
    created_at DATETIME NOT NULL,
    started_at DATETIME NOT NULL,
    finished_at DATETIME,
    parameters TEXT NOT NULL,
    digest VARCHAR(64) NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (run_id),
    CONSTRAINT run_state CHECK (state IN ('running', 'succeeded', 'failed', 'aborted')),
    UNIQUE (workflow, date, serial)
);
CREATE INDEX run_created ON run (created_at);
CREATE TABLE job (
    run_id VARCHAR(128) NOT NULL,
    name VARCHAR(100) NOT NULL,
    stage VARCHAR(100) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    owner VARCHAR(255) NOT NULL,
    position INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL,
    reason TEXT,
    exit_code INTEGER,
    unmet INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    fence BIGINT,
    not_before DATETIME,
    started_at DATETIME,
    finished_at DATETIME,
    PRIMARY KEY (run_id, name),
    CONSTRAINT job_state CHECK (state IN ('waiting', 'ready', 'running', 'polling', 'succeeded', 'skipped', 'failed', 'upstream_failed', 'aborted'))
);
CREATE INDEX job_claim ON job (run_id, state, priority, position);
CREATE TABLE dependency (
    run_id VARCHAR(128) NOT NULL,
    "after" VARCHAR(100) NOT NULL,
    job VARCHAR(100) NOT NULL,
    PRIMARY KEY (run_id, "after", job)
);
CREATE TABLE attempt (
    fence BIGINT NOT NULL,
    run_id VARCHAR(128) NOT NULL,
    job VARCHAR(100) NOT NULL,
    attempt INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL,
    reason TEXT,
    exit_code INTEGER,
    signal INTEGER,
    worker VARCHAR(128) NOT NULL,
    pid INTEGER,
    lease_until DATETIME,
    started_at DATETIME NOT NULL,
    finished_at DATETIME,
    user_seconds FLOAT,
    system_seconds FLOAT,
    peak_bytes BIGINT,
    log VARCHAR(255) NOT NULL,
    result TEXT,
    PRIMARY KEY (fence),
    CONSTRAINT attempt_state CHECK (state IN ('running', 'succeeded', 'skipped', 'failed', 'aborted', 'lost'))
);
CREATE UNIQUE INDEX attempt_job ON attempt (run_id, job, attempt);
CREATE TABLE event (
    id INTEGER NOT NULL,
    run_id VARCHAR(128) NOT NULL,
    job VARCHAR(100),
    attempt INTEGER,
    at DATETIME NOT NULL,
    "before" VARCHAR(16),
    state VARCHAR(16) NOT NULL,
    detail TEXT,
    PRIMARY KEY (id)
);
CREATE INDEX event_run ON event (run_id, id);
CREATE TABLE worker (
    worker VARCHAR(128) NOT NULL,
    zygote VARCHAR(128),
    slots INTEGER NOT NULL,
    started_at DATETIME NOT NULL,
    PRIMARY KEY (worker)
);
CREATE TABLE fence (
    last BIGINT NOT NULL,
    PRIMARY KEY (last)
);
CREATE TABLE alerts (
    id INTEGER NOT NULL,
    workflow VARCHAR(100) NOT NULL,
    run_id VARCHAR(150) NOT NULL,
    job VARCHAR(100) NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    date VARCHAR(10) NOT NULL,
    rule VARCHAR(700) NOT NULL,
    name VARCHAR(600) NOT NULL,
    degree VARCHAR(10) NOT NULL,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    message TEXT NOT NULL,
    owner VARCHAR(255) NOT NULL,
    state VARCHAR(12) NOT NULL,
    repeats INTEGER NOT NULL,
    created_at VARCHAR(27) NOT NULL,
    changed_at VARCHAR(27) NOT NULL,
    muted_until VARCHAR(27),
    PRIMARY KEY (id),
    CONSTRAINT alert_state CHECK (state IN ('open', 'acknowledged', 'muted', 'resolved')),
    CONSTRAINT alert_degree CHECK (degree IN ('warning', 'fatal'))
);
CREATE INDEX alerts_of_job ON alerts (workflow, job, date);
CREATE TABLE job_stats (
    workflow VARCHAR(100) NOT NULL,
    run_id VARCHAR(150) NOT NULL,
    job VARCHAR(100) NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    date VARCHAR(10) NOT NULL,
    owner VARCHAR(255) NOT NULL,
    published BOOLEAN NOT NULL,
    output_rows BIGINT,
    output_bytes BIGINT,
    input_bytes BIGINT,
    seconds DOUBLE,
    recorded_at VARCHAR(27) NOT NULL,
    PRIMARY KEY (workflow, run_id, job, attempt, step, date)
);
CREATE INDEX job_stats_of_job ON job_stats (job, date);
CREATE TABLE mails (
    message_id VARCHAR(255) NOT NULL,
    recipient VARCHAR(255) NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    state VARCHAR(10) NOT NULL,
    attempts INTEGER NOT NULL,
    created_at VARCHAR(27) NOT NULL,
    next_at VARCHAR(27) NOT NULL,
    sent_at VARCHAR(27),
    error TEXT,
    PRIMARY KEY (message_id),
    CONSTRAINT mail_state CHECK (state IN ('waiting', 'sent'))
);
CREATE INDEX mails_due ON mails (state, next_at);
CREATE TABLE stat_counts (
    workflow VARCHAR(100) NOT NULL,
    run_id VARCHAR(150) NOT NULL,
    job VARCHAR(100) NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    date VARCHAR(10) NOT NULL,
    name VARCHAR(255) NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (workflow, job, date, run_id, attempt, step, name)
)
 WITHOUT ROWID;
CREATE TABLE stat_histograms (
    workflow VARCHAR(100) NOT NULL,
    run_id VARCHAR(150) NOT NULL,
    job VARCHAR(100) NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    date VARCHAR(10) NOT NULL,
    name VARCHAR(255) NOT NULL,
    low DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (workflow, job, date, run_id, attempt, step, name, low, high)
)
 WITHOUT ROWID;
CREATE TABLE stat_items (
    workflow VARCHAR(100) NOT NULL,
    run_id VARCHAR(150) NOT NULL,
    job VARCHAR(100) NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    date VARCHAR(10) NOT NULL,
    name VARCHAR(255) NOT NULL,
    side VARCHAR(6) NOT NULL,
    rank INTEGER NOT NULL,
    item TEXT NOT NULL,
    value DOUBLE NOT NULL,
    PRIMARY KEY (workflow, job, date, run_id, attempt, step, name, side, rank)
)
 WITHOUT ROWID;
CREATE TABLE stat_sums (
    workflow VARCHAR(100) NOT NULL,
    run_id VARCHAR(150) NOT NULL,
    job VARCHAR(100) NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    date VARCHAR(10) NOT NULL,
    name VARCHAR(255) NOT NULL,
    value DOUBLE NOT NULL,
    PRIMARY KEY (workflow, job, date, run_id, attempt, step, name)
)
 WITHOUT ROWID;
CREATE VIEW v_counts AS SELECT s."workflow", s."job", s."date", s."step", s."name", s."value" FROM stat_counts s JOIN job_stats j ON s."workflow" = j."workflow" AND s."run_id" = j."run_id" AND s."job" = j."job" AND s."attempt" = j."attempt" WHERE j.published AND j.step = 0;
CREATE VIEW v_sums AS SELECT s."workflow", s."job", s."date", s."step", s."name", s."value" FROM stat_sums s JOIN job_stats j ON s."workflow" = j."workflow" AND s."run_id" = j."run_id" AND s."job" = j."job" AND s."attempt" = j."attempt" WHERE j.published AND j.step = 0;
CREATE VIEW v_histograms AS SELECT s."workflow", s."job", s."date", s."step", s."name", s."low", s."high", s."count" FROM stat_histograms s JOIN job_stats j ON s."workflow" = j."workflow" AND s."run_id" = j."run_id" AND s."job" = j."job" AND s."attempt" = j."attempt" WHERE j.published AND j.step = 0;
CREATE VIEW v_items AS SELECT s."workflow", s."job", s."date", s."step", s."name", s."side", s."rank", s."item", s."value" FROM stat_items s JOIN job_stats j ON s."workflow" = j."workflow" AND s."run_id" = j."run_id" AND s."job" = j."job" AND s."attempt" = j."attempt" WHERE j.published AND j.step = 0;
INSERT INTO fence (last) VALUES (0);
