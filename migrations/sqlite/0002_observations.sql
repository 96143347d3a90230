-- What was last seen of a gateway: no projection, written by workers that look, replaced by the next look.
create table observations (
    gateway_id text primary key,
    document text not null
) strict;
