"""The tables of a journal, for SQLite; made to be read with the `sqlite3` shell too.

- `place`: one row for each base URL, so that a rehearsal is never taken for the real thing.
- `account`: one row for each account of a place; an empty `name` stands for rows that name none.
- `run`: a named run: its place, its input as loaded last (`load`), what was spent.
- `holder`: the process that holds a run, or held it last.
- `load`: one loaded input. One that is no run's `load` is a leftover of a process that was killed.
- `portion`: how many rows of a load each account has.
- `task`: one row for each input row, as it was given: `body` is the request as it goes out. `task.task` holds both the
  load (the upper 32 bits) and `seq`, the place in the input from 0 (the lower 32 bits).
- `outcome`: how a task ended; a task without one is pending.
- `sent`: what each media id was last sent, by account, across all runs.
- `quota`: the windows, so that a restart does not forget what was spent.
- `event`: when a run was worked on, and what held it up; see `events`.
- `status`: a view that puts run, task and outcome together, one row for each input row.

Times are UTC, as ISO 8601 text, except `send_before` and `due` (Unix seconds). `application_id` is 0x786D6A31 ("xmj1"),
`user_version` the version of the schema. To look at a journal, also while a run works on it:

    sqlite3 -readonly journal.db

    -- how far each run is
    SELECT run, state, count(*) FROM status GROUP BY run, state;

    -- what failed, and why
    SELECT source, media_id, account, error, http_status, json_extract(problem, '$.detail'), transaction_id
    FROM status WHERE run = 'updates.csv' AND state = 'failed';

    -- who worked on it and when, and what held it up
    SELECT at, kind, account, data FROM event JOIN run USING (run) WHERE name = 'updates.csv' ORDER BY event;

    -- what a media id was last sent, and where (`unsure` other than 0: something else may have been sent since)
    SELECT base_url, name, sent_at, unsure FROM sent JOIN account USING (account) JOIN place USING (place)
    WHERE media_id = '1146654567674912769';
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x786D6A31
VERSION: Final = 2
# Generated columns; below it the tables cannot be made.
OLDEST_SQLITE: Final = (3, 31)

# A task's number is `load << SEQ_BITS | seq`.
SEQ_BITS: Final = 32
# What `due` stands for where there is no `send_before`: after every real time.
NEVER: Final = 9.0e18
# What `sent.unsure` holds where nothing else was sent, and where anybody may have sent something else.
SURE: Final = 0
DOUBTFUL: Final = -1

_EVENT: Final = """
    CREATE TABLE event (
        event INTEGER PRIMARY KEY,
        run INTEGER NOT NULL,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,                 -- begun, wait, window, stop or ended
        account TEXT,
        data TEXT                           -- JSON
    )
    """
_EVENT_RUN: Final = "CREATE INDEX event_run ON event (run)"
_STATUS: Final = """
    CREATE VIEW status AS
    SELECT run.name AS run, task.seq, task.source, task.media_id, account.name AS account, task.ref,
        coalesce(outcome.state, 'pending') AS state, outcome.settled_at, outcome.attempts, outcome.transaction_id,
        outcome.status AS http_status, outcome.error, outcome.problem, task.send_before, task.passed, task.body,
        round(outcome.seconds, 3) AS seconds
    FROM run
    JOIN task ON task.task BETWEEN run.load << 32 AND (run.load << 32) + 4294967295
    JOIN account USING (account)
    LEFT JOIN outcome USING (task)
    """

TABLES: Final = (
    """
    CREATE TABLE place (
        place INTEGER PRIMARY KEY,
        base_url TEXT NOT NULL UNIQUE
    )
    """,
    """
    CREATE TABLE account (
        account INTEGER PRIMARY KEY,
        place INTEGER NOT NULL REFERENCES place,
        name TEXT NOT NULL,
        UNIQUE (place, name)
    )
    """,
    """
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
    )
    """,
    """
    CREATE TABLE holder (
        name TEXT PRIMARY KEY,              -- of the run
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        since TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE load (
        load INTEGER PRIMARY KEY,
        name TEXT NOT NULL,                 -- of the run that it is for
        plain INTEGER,                      -- the account whose rows are drawn without an index, in the input's order
        total INTEGER                       -- rows; NULL while it is being loaded
    )
    """,
    """
    CREATE TABLE portion (
        load INTEGER NOT NULL,
        account INTEGER NOT NULL,
        total INTEGER NOT NULL,
        PRIMARY KEY (load, account)
    ) WITHOUT ROWID
    """,
    """
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
    )
    """,
    """
    CREATE TABLE outcome (
        task INTEGER PRIMARY KEY REFERENCES task,
        state TEXT NOT NULL,                -- applied, unchanged, failed, expired or invalid
        settled_at TEXT,                    -- of an unchanged row: when the same was sent
        attempts INTEGER NOT NULL DEFAULT 0,
        transaction_id TEXT,
        status INTEGER,                     -- HTTP, of a failure
        error TEXT,                         -- the class of the error
        problem TEXT,                       -- JSON: what X said, or the member and the rule of an invalid row
        seconds REAL                        -- from its first request of that sitting to the last answer
    )
    """,
    """
    CREATE TABLE sent (
        account INTEGER NOT NULL,
        media_id TEXT NOT NULL,
        digest BLOB NOT NULL,
        sent_at TEXT NOT NULL,
        unsure INTEGER NOT NULL DEFAULT 0,  -- the sitting that may have sent something else since; -1: any may have
        PRIMARY KEY (account, media_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE quota (
        place INTEGER NOT NULL,
        owner TEXT NOT NULL,                -- an account or an app
        windows TEXT NOT NULL,              -- JSON
        PRIMARY KEY (place, owner)
    ) WITHOUT ROWID
    """,
    # The queue, for all rows but the undated ones of a load's first account: these are found in the table's own order.
    "CREATE INDEX task_draw ON task (load, account, due) WHERE due IS NOT NULL",
    "CREATE INDEX task_leader ON task (leader) WHERE leader IS NOT NULL",
    "CREATE INDEX task_last ON task (last) WHERE last IS NOT NULL",
    _EVENT,
    _EVENT_RUN,
    _STATUS,
)
# What makes the next version of one, by its version; what is added to a table stands last in it.
UPGRADES: Final[dict[int, tuple[str, ...]]] = {
    1: ("ALTER TABLE outcome ADD COLUMN seconds REAL", _EVENT, _EVENT_RUN, "DROP VIEW status", _STATUS),
}


def first(load: int) -> int:
    """The number of the first task of a load."""
    return load << SEQ_BITS


def beyond(load: int) -> int:
    """The number after all tasks of a load."""
    return (load + 1) << SEQ_BITS


def seq_of(task: int) -> int:
    """The place of a task in its input, from 0."""
    return task & ((1 << SEQ_BITS) - 1)
