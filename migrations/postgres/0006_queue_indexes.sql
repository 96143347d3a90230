-- Only whether an operation's job is leased is asked all the time; what an operation has in the queue at all is asked by
-- the sweep, which may read the whole queue. So most jobs are in one index less.
drop index jobs_by_operation;
create index jobs_leased_by_operation on jobs (operation_id) where lease_token is not null;
