-- When each registered gateway is probed next, and what its last probes found. No projection: written by workers that
-- probe, made again by the sweep if it is lost. A claim moves `run_at` into the future, so what lost its worker is due
-- again by itself; null is never.
create table probes (
    gateway_id text primary key,
    gateway_key text not null,
    run_at integer,
    token text,
    tally text not null
) strict;
create index probes_due on probes (run_at, gateway_id);
create index probes_by_gateway_key on probes (gateway_key, run_at, gateway_id);
-- At most one probe per gateway key at a time, whoever claims.
create unique index probes_one_per_gateway_key on probes (gateway_key) where token is not null;

-- Agents that were missed once and are woken again: the sweep looks for those without a job.
create index agents_missed on agents (gateway_id) where document like '%"status":"missed_check_in"%';
