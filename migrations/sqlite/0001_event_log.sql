-- The event log. Written by commits only, never updated. Instants are microseconds since 1970, UTC.
create table events (
    position integer primary key,
    event_id text not null constraint events_event_id_key unique,
    stream_id text not null,
    stream_version integer not null,
    event_type text not null,
    schema_version integer not null,
    organization_id text,
    data text not null,
    metadata text not null,
    recorded_at integer not null,
    hash blob not null,
    constraint events_stream_key unique (stream_id, stream_version)
) strict;

-- The end of the log: one row, locked first by every commit.
create table log_head (
    id integer primary key constraint log_head_one_row check (id = 1),
    position integer not null,
    hash blob not null
) strict;
insert into log_head (id, position, hash)
values (1, 0, x'0000000000000000000000000000000000000000000000000000000000000000');

-- Read models: pure functions of the events, written by the commits that append them.
create table gateways (
    id text primary key,
    organization_id text not null,
    created_at integer not null,
    document text not null
) strict;
create index gateways_by_organization on gateways (organization_id, created_at desc, id desc);

create table operations (
    id text primary key,
    organization_id text not null,
    gateway_id text not null,
    status text not null,
    created_at integer not null,
    document text not null
) strict;
create index operations_by_organization on operations (organization_id, created_at desc, id desc);

create table agents (
    id text primary key,
    organization_id text not null,
    gateway_id text not null,
    created_at integer not null,
    document text not null
) strict;
create index agents_by_organization on agents (organization_id, created_at desc, id desc);

create table organizations (
    id text primary key,
    name text not null,
    created_at integer not null
) strict;

create table members (
    id text primary key,
    organization_id text not null,
    name text not null,
    role text not null
) strict;
create index members_by_organization on members (organization_id, id);

create table tokens (
    id text primary key,
    organization_id text,
    document text not null
) strict;
create index tokens_by_organization on tokens (organization_id, id);

-- What is still to do. A row is written by the commit that causes it and deleted by the commit of its outcome.
create table jobs (
    id text primary key,
    kind text not null,
    gateway_id text not null,
    operation_id text not null,
    gateway_key text not null,
    run_at integer not null,
    attempt integer not null,
    created_at integer not null,
    traceparent text,
    lease_token text,
    lease_until integer,
    worker_id text,
    lost_leases integer not null default 0
) strict;
create index jobs_due on jobs (coalesce(lease_until, run_at));
create index jobs_by_gateway_key on jobs (gateway_key);
create index jobs_by_operation on jobs (operation_id);

-- Answered requests, kept for 24 hours. Written by the commit of the first event.
create table idempotency_keys (
    organization_id text not null,
    route text not null,
    key text not null,
    fingerprint blob not null,
    operation_id text not null,
    created_at integer not null,
    primary key (organization_id, route, key)
) strict;
create index idempotency_keys_by_age on idempotency_keys (created_at);

-- Sealed secrets. Erasing a row is what makes a deletion final.
create table secrets (
    owner text primary key,
    key_id text not null,
    nonce blob not null,
    ciphertext blob not null
) strict;

-- SHA-256 of each accepted token; the index is the lookup.
create table credentials (
    hash blob primary key,
    subject text not null
) strict;
create index credentials_by_subject on credentials (subject);

-- Values of the installation, each put once: the check value of the master key.
create table installation (
    name text primary key,
    value text not null
) strict;
