-- Filtered reads of the log. An operation is found by its gateway's stream, which has an index already.
create index events_by_organization on events (organization_id, position);
create index events_by_type on events (event_type, position);
create index events_by_time on events (recorded_at);

-- What has no outcome yet: the sweep looks for those without a job.
create index operations_open on operations (id) where status in ('pending', 'awaiting_pairing');

-- One row while the queue is paused: nothing is claimed or handed over then. A read model of the stream `queue`.
create table queue_pauses (
    id text collate "C" primary key,
    since bigint not null,
    paused_by text not null,
    reason text not null
);

-- Work that one process of an installation does at a time. Written by whoever takes a turn; it ends by itself.
create table turns (
    name text collate "C" primary key,
    holder text not null,
    until timestamptz not null
);

-- Signed ends of the log. Written by whoever serves; never changed.
create table checkpoints (
    position bigint primary key,
    hash bytea not null,
    signed_at bigint not null,
    public_key bytea not null,
    signature bytea not null
);

-- How far the shadow tables are filled; one row while there is a rebuild. Written by `projections`.
create table rebuild (
    id bigint primary key constraint rebuild_one_row check (id = 1),
    position bigint not null
);

-- The read models once more, filled from the log by a rebuild, empty otherwise.
create table shadow_gateways (
    id text collate "C" primary key,
    organization_id text collate "C" not null,
    created_at bigint not null,
    document text not null
);

create table shadow_operations (
    id text collate "C" primary key,
    organization_id text collate "C" not null,
    gateway_id text collate "C" not null,
    status text not null,
    created_at bigint not null,
    document text not null
);

create table shadow_agents (
    id text collate "C" primary key,
    organization_id text collate "C" not null,
    gateway_id text collate "C" not null,
    created_at bigint not null,
    document text not null
);

create table shadow_organizations (
    id text collate "C" primary key,
    name text not null,
    created_at bigint not null
);

create table shadow_members (
    id text collate "C" primary key,
    organization_id text collate "C" not null,
    name text not null,
    role text not null
);

create table shadow_tokens (
    id text collate "C" primary key,
    organization_id text collate "C",
    document text not null
);

create table shadow_queue_pauses (
    id text collate "C" primary key,
    since bigint not null,
    paused_by text not null,
    reason text not null
);
