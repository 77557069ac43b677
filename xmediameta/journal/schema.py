"""The tables of a journal, for SQLite; made to be read with the `sqlite3` shell too.

- `place`: one row for each base URL, so that a rehearsal is never taken for the real thing.
- `run`: a named run: its place, its input as loaded last, who holds it, what was spent.
- `task`: one row for each input row: what is to be sent (`body`, the request as it goes out) and how it ended.
- `sent`: what each media id was last sent, by place and account, across all runs.
- `quota`: the windows, so that a restart does not forget what was spent.

Times are UTC, as ISO 8601 text, except `send_before` and `due` (Unix seconds). An empty `account` is a row that names
none. `application_id` is 0x786D6A31 ("xmj1"), `user_version` the version of the schema.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x786D6A31
VERSION: Final = 1
# What `due` holds for a row without `send_before`: after every real time.
NEVER: Final = 9.0e18

TABLES: Final = (
    """
    CREATE TABLE place (
        place INTEGER PRIMARY KEY,
        base_url TEXT NOT NULL UNIQUE
    )
    """,
    """
    CREATE TABLE run (
        run INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        place INTEGER NOT NULL REFERENCES place,
        load INTEGER NOT NULL,              -- which tasks are its own; a changed input is loaded anew
        fingerprint TEXT,                   -- of the input that was loaded
        created_at TEXT NOT NULL,
        started_at TEXT,
        ended_at TEXT,
        pid INTEGER,                        -- who holds it, or held it last
        host TEXT,
        requests INTEGER NOT NULL DEFAULT 0,
        retries INTEGER NOT NULL DEFAULT 0,
        stopped TEXT                        -- JSON: why it stopped early, or NULL
    )
    """,
    """
    CREATE TABLE task (
        load INTEGER NOT NULL,
        seq INTEGER NOT NULL,               -- place in the input, from 0
        account TEXT NOT NULL,
        media_id TEXT NOT NULL,
        ref,                                -- text or a number, as the caller gave it
        source TEXT,                        -- file:line
        passed TEXT,                        -- JSON: columns that are only passed through
        body TEXT,                          -- the request; NULL for an invalid row
        digest BLOB,                        -- of the request
        send_before REAL,
        due REAL NOT NULL,                  -- the earliest send_before from here on for this media id
        leader INTEGER,                     -- the earlier equal row whose request serves this one too
        followers INTEGER NOT NULL DEFAULT 0,
        last INTEGER,                       -- the last row of its media id, where that is a later one
        state TEXT NOT NULL DEFAULT 'pending',  -- pending, applied, unchanged, failed, expired or invalid
        status INTEGER,                     -- HTTP, of a failure
        error TEXT,                         -- the class of the error
        problem TEXT,                       -- JSON: what X said
        attempts INTEGER NOT NULL DEFAULT 0,
        transaction_id TEXT,
        settled_at TEXT,
        PRIMARY KEY (load, seq)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE sent (
        place INTEGER NOT NULL,
        account TEXT NOT NULL,
        media_id TEXT NOT NULL,
        digest BLOB NOT NULL,
        sent_at TEXT NOT NULL,
        unsure INTEGER NOT NULL DEFAULT 0,  -- whether something else may have been sent since
        PRIMARY KEY (place, account, media_id)
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
    "CREATE INDEX task_draw ON task (load, account, due, seq)",
    "CREATE INDEX task_followers ON task (load, leader) WHERE leader IS NOT NULL",
)
