-- What each process reports of itself every few seconds: an observation, no projection. Written by that process; its last
-- act removes the row, and others forget one that was silent for an hour. When it was seen is an instant of this server's
-- clock, so that the clocks of hosts do not matter.
create table processes (
    id text collate "C" primary key,
    kind text not null,
    host text not null,
    pid bigint not null,
    version text not null,
    key_ids text not null,
    started_at bigint not null,
    seen_at timestamptz not null,
    in_flight bigint not null,
    concurrency bigint not null,
    draining boolean not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Workers that are to take no more jobs. A read model of the stream `queue`, and its shadow.
create table worker_drains (
    id text collate "C" primary key,
    since bigint not null,
    drained_by text not null,
    reason text not null
);

create table shadow_worker_drains (
    id text collate "C" primary key,
    since bigint not null,
    drained_by text not null,
    reason text not null
);
