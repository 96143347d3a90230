-- What each process reports of itself every few seconds: an observation, no projection. Written by that process; its last
-- act removes the row, and others forget one that was silent for an hour. Instants are microseconds since 1970, UTC.
create table processes (
    id text primary key,
    kind text not null,
    host text not null,
    pid integer not null,
    version text not null,
    key_ids text not null,
    started_at integer not null,
    seen_at integer not null,
    in_flight integer not null,
    concurrency integer not null,
    draining integer not null
) strict;

-- Workers that are to take no more jobs. A read model of the stream `queue`, and its shadow.
create table worker_drains (
    id text primary key,
    since integer not null,
    drained_by text not null,
    reason text not null
) strict;

create table shadow_worker_drains (
    id text primary key,
    since integer not null,
    drained_by text not null,
    reason text not null
) strict;
