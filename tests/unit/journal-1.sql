-- A journal as schema 1 had it: four rows, one applied, one failed, two left.
PRAGMA application_id = 2020436529;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE account (
        account INTEGER PRIMARY KEY,
        place INTEGER NOT NULL REFERENCES place,
        name TEXT NOT NULL,
        UNIQUE (place, name)
    );
INSERT INTO "account" VALUES(1,1,'');
CREATE TABLE holder (
        name TEXT PRIMARY KEY,              -- of the run
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        since TEXT NOT NULL
    ) WITHOUT ROWID
    ;
CREATE TABLE load (
        load INTEGER PRIMARY KEY,
        name TEXT NOT NULL,                 -- of the run that it is for
        plain INTEGER,                      -- the account whose rows are drawn without an index, in the input's order
        total INTEGER                       -- rows; NULL while it is being loaded
    );
INSERT INTO "load" VALUES(1,'run',1,4);
CREATE TABLE outcome (
        task INTEGER PRIMARY KEY REFERENCES task,
        state TEXT NOT NULL,                -- applied, unchanged, failed, expired or invalid
        settled_at TEXT,                    -- of an unchanged row: when the same was sent
        attempts INTEGER NOT NULL DEFAULT 0,
        transaction_id TEXT,
        status INTEGER,                     -- HTTP, of a failure
        error TEXT,                         -- the class of the error
        problem TEXT                        -- JSON: what X said, or the member and the rule of an invalid row
    );
INSERT INTO "outcome" VALUES(4294967296,'applied','2026-11-29T17:20:21.992Z',1,'t0',NULL,NULL,NULL);
INSERT INTO "outcome" VALUES(4294967297,'failed','2026-11-29T17:20:21.992Z',2,NULL,404,'MediaNotFound','{"title":"Not Found"}');
CREATE TABLE place (
        place INTEGER PRIMARY KEY,
        base_url TEXT NOT NULL UNIQUE
    );
INSERT INTO "place" VALUES(1,'https://api.x.com');
CREATE TABLE portion (
        load INTEGER NOT NULL,
        account INTEGER NOT NULL,
        total INTEGER NOT NULL,
        PRIMARY KEY (load, account)
    ) WITHOUT ROWID
    ;
INSERT INTO "portion" VALUES(1,1,4);
CREATE TABLE quota (
        place INTEGER NOT NULL,
        owner TEXT NOT NULL,                -- an account or an app
        windows TEXT NOT NULL,              -- JSON
        PRIMARY KEY (place, owner)
    ) WITHOUT ROWID
    ;
CREATE TABLE run (
        run INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        place INTEGER NOT NULL REFERENCES place,
        load INTEGER NOT NULL REFERENCES load,
        fingerprint TEXT,                   -- of the input that was loaded
        created_at TEXT NOT NULL,
        started_at TEXT,
        ended_at TEXT,
        sitting INTEGER NOT NULL DEFAULT 0, -- a number of its own each time that it is started
        requests INTEGER NOT NULL DEFAULT 0,
        retries INTEGER NOT NULL DEFAULT 0,
        stopped TEXT                        -- JSON: why it stopped early, or NULL
    );
INSERT INTO "run" VALUES(1,'run',1,1,NULL,'2026-11-29T17:20:21.991Z','2026-11-29T17:20:21.991Z','2026-11-29T17:20:21.992Z',1,0,0,'{"reason":"BudgetReached"}');
CREATE TABLE sent (
        account INTEGER NOT NULL,
        media_id TEXT NOT NULL,
        digest BLOB NOT NULL,
        sent_at TEXT NOT NULL,
        unsure INTEGER NOT NULL DEFAULT 0,  -- the sitting that may have sent something else since; -1: any may have
        PRIMARY KEY (account, media_id)
    ) WITHOUT ROWID
    ;
INSERT INTO "sent" VALUES(1,'1',X'8DDC99A37106E5C78DB9B15ADAB920BF','2026-11-29T17:20:21.992Z',0);
CREATE TABLE task (
        task INTEGER PRIMARY KEY,
        account INTEGER NOT NULL,
        media_id TEXT NOT NULL,
        ref,                                -- text or a number, as the caller gave it
        source TEXT,                        -- file:line
        passed TEXT,                        -- JSON: columns that are only passed through
        digest BLOB,                        -- of the request; NULL for an invalid row
        send_before REAL,
        due REAL,                           -- where it stands in task_draw, NULL where it does not
        leader INTEGER,                     -- the earlier equal task whose request serves this one too
        last INTEGER,                       -- the last task of its media id, where that has several
        body TEXT,                          -- the request; NULL for an invalid row
        load INTEGER GENERATED ALWAYS AS (task >> 32) VIRTUAL,
        seq INTEGER GENERATED ALWAYS AS (task & 4294967295) VIRTUAL
    );
INSERT INTO "task" VALUES(4294967296,1,'1','r1','updates.csv:2',NULL,X'8DDC99A37106E5C78DB9B15ADAB920BF',NULL,NULL,NULL,NULL,'{"id":"1","metadata":{"alt_text":{"text":"text 1"}}}');
INSERT INTO "task" VALUES(4294967297,1,'2','r2','updates.csv:3',NULL,X'CBC2DE2706273DDE56DAC302A2A30C20',NULL,NULL,NULL,NULL,'{"id":"2","metadata":{"alt_text":{"text":"text 2"}}}');
INSERT INTO "task" VALUES(4294967298,1,'3','r3','updates.csv:4',NULL,X'B1ADC60F44DDF9D058588B50AA95DF1F',NULL,NULL,NULL,NULL,'{"id":"3","metadata":{"alt_text":{"text":"text 3"}}}');
INSERT INTO "task" VALUES(4294967299,1,'4','r4','updates.csv:5',NULL,X'80A1F1658747632F23BD13EA1F9E113F',NULL,NULL,NULL,NULL,'{"id":"4","metadata":{"alt_text":{"text":"text 4"}}}');
CREATE INDEX task_draw ON task (load, account, due) WHERE due IS NOT NULL;
CREATE INDEX task_leader ON task (leader) WHERE leader IS NOT NULL;
CREATE INDEX task_last ON task (last) WHERE last IS NOT NULL;
CREATE VIEW status AS
    SELECT run.name AS run, task.seq, task.source, task.media_id, account.name AS account, task.ref,
        coalesce(outcome.state, 'pending') AS state, outcome.settled_at, outcome.attempts, outcome.transaction_id,
        outcome.status AS http_status, outcome.error, outcome.problem, task.send_before, task.passed, task.body
    FROM run
    JOIN task ON task.task BETWEEN run.load << 32 AND (run.load << 32) + 4294967295
    JOIN account USING (account)
    LEFT JOIN outcome USING (task);
COMMIT;
