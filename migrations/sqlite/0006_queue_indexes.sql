-- A claim reads the queue in the order in which jobs are due, and asks for each one whether its gateway key is leased and
-- whether an earlier job has it: each a look into an index, so that a long queue costs a claim no more than a short one.
drop index jobs_due;
create index jobs_due on jobs (coalesce(lease_until, run_at), id);
drop index jobs_by_gateway_key;
create index jobs_by_gateway_key on jobs (gateway_key, run_at, id);
create index jobs_leased on jobs (gateway_key) where lease_token is not null;
