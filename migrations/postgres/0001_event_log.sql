-- The event log. Written by commits only, never updated. What a process decided on is microseconds since 1970, UTC, as
-- in SQLite; what the queue waits for is an instant of this server's clock. Ids sort by their bytes, as in SQLite.
create table events (
    position bigint primary key,
    event_id text collate "C" not null constraint events_event_id_key unique,
    stream_id text collate "C" not null,
    stream_version bigint not null,
    event_type text not null,
    schema_version bigint not null,
    organization_id text collate "C",
    data text not null,
    metadata text not null,
    recorded_at bigint not null,
    hash bytea not null,
    constraint events_stream_key unique (stream_id, stream_version)
);

-- The end of the log: one row, locked first by every commit.
create table log_head (
    id bigint primary key constraint log_head_one_row check (id = 1),
    position bigint not null,
    hash bytea not null
);
insert into log_head (id, position, hash) values (1, 0, decode(repeat('00', 32), 'hex'));

-- Read models: pure functions of the events, written by the commits that append them.
create table gateways (
    id text collate "C" primary key,
    organization_id text collate "C" not null,
    created_at bigint not null,
    document text not null
);
create index gateways_by_organization on gateways (organization_id, created_at desc, id desc);

create table operations (
    id text collate "C" primary key,
    organization_id text collate "C" not null,
    gateway_id text collate "C" not null,
    status text not null,
    created_at bigint not null,
    document text not null
);
create index operations_by_organization on operations (organization_id, created_at desc, id desc);

create table agents (
    id text collate "C" primary key,
    organization_id text collate "C" not null,
    gateway_id text collate "C" not null,
    created_at bigint not null,
    document text not null
);
create index agents_by_organization on agents (organization_id, created_at desc, id desc);

create table organizations (
    id text collate "C" primary key,
    name text not null,
    created_at bigint not null
);

create table members (
    id text collate "C" primary key,
    organization_id text collate "C" not null,
    name text not null,
    role text not null
);
create index members_by_organization on members (organization_id, id);

create table tokens (
    id text collate "C" primary key,
    organization_id text collate "C",
    document text not null
);
create index tokens_by_organization on tokens (organization_id, id);

-- The queue's only clock. A function of its own, so that a test can turn the time of its own database and nothing else.
create function queue_now() returns timestamptz language sql stable parallel safe
    as 'select statement_timestamp()';

-- What is still to do. A row is written by the commit that causes it and deleted by the commit of its outcome.
-- Rows come and go all the time: vacuum by their number, not by a share of a table that is mostly empty.
create table jobs (
    id text collate "C" primary key,
    kind text not null,
    gateway_id text collate "C" not null,
    operation_id text collate "C" not null,
    gateway_key text collate "C" not null,
    run_at timestamptz not null,
    attempt bigint not null,
    created_at bigint not null,
    traceparent text,
    lease_token text collate "C",
    lease_until timestamptz,
    worker_id text,
    lost_leases bigint not null default 0
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index jobs_due on jobs (coalesce(lease_until, run_at), id);
create index jobs_by_gateway_key on jobs (gateway_key, run_at, id);
create index jobs_by_operation on jobs (operation_id);
-- At most one leased job per gateway key, whoever claims: see shared/src/store/postgres/queue.rs.
create unique index jobs_one_lease_per_gateway_key on jobs (gateway_key) where lease_token is not null;

-- Answered requests, kept for 24 hours. Written by the commit of the first event.
create table idempotency_keys (
    organization_id text collate "C" not null,
    route text collate "C" not null,
    key text collate "C" not null,
    fingerprint bytea not null,
    operation_id text collate "C" not null,
    created_at bigint not null,
    primary key (organization_id, route, key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);

-- Sealed secrets. Erasing a row is what makes a deletion final.
create table secrets (
    owner text collate "C" primary key,
    key_id text not null,
    nonce bytea not null,
    ciphertext bytea not null
);

-- SHA-256 of each accepted token; the index is the lookup.
create table credentials (
    hash bytea primary key,
    subject text collate "C" not null
);
create index credentials_by_subject on credentials (subject);

-- Values of the installation, each put once: the check value of the master key.
create table installation (
    name text collate "C" primary key,
    value text not null
);
