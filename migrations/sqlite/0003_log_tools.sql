-- Filtered reads of the log. An operation is found by its gateway's stream, which has an index already.
create index events_by_organization on events (organization_id, position);
create index events_by_type on events (event_type, position);
create index events_by_time on events (recorded_at);

-- What has no outcome yet: the sweep looks for those without a job.
create index operations_open on operations (id) where status in ('pending', 'awaiting_pairing');

-- One row while the queue is paused: nothing is claimed or handed over then. A read model of the stream `queue`.
create table queue_pauses (
    id text primary key,
    since integer not null,
    paused_by text not null,
    reason text not null
) strict;

-- Work that one process of an installation does at a time. Written by whoever takes a turn; it ends by itself.
create table turns (
    name text primary key,
    holder text not null,
    until integer not null
) strict;

-- Signed ends of the log. Written by whoever serves; never changed.
create table checkpoints (
    position integer primary key,
    hash blob not null,
    signed_at integer not null,
    public_key blob not null,
    signature blob not null
) strict;

-- How far the shadow tables are filled; one row while there is a rebuild. Written by `projections`.
create table rebuild (
    id integer primary key constraint rebuild_one_row check (id = 1),
    position integer not null
) strict;

-- The read models once more, filled from the log by a rebuild, empty otherwise.
create table shadow_gateways (
    id text primary key,
    organization_id text not null,
    created_at integer not null,
    document text not null
) strict;

create table shadow_operations (
    id text primary key,
    organization_id text not null,
    gateway_id text not null,
    status text not null,
    created_at integer not null,
    document text not null
) strict;

create table shadow_agents (
    id text primary key,
    organization_id text not null,
    gateway_id text not null,
    created_at integer not null,
    document text not null
) strict;

create table shadow_organizations (
    id text primary key,
    name text not null,
    created_at integer not null
) strict;

create table shadow_members (
    id text primary key,
    organization_id text not null,
    name text not null,
    role text not null
) strict;

create table shadow_tokens (
    id text primary key,
    organization_id text,
    document text not null
) strict;

create table shadow_queue_pauses (
    id text primary key,
    since integer not null,
    paused_by text not null,
    reason text not null
) strict;
