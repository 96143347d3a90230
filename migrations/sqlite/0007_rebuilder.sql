-- Which run of `projections` fills the shadow tables: of two, the one that began last. The other one's writes are refused.
alter table rebuild add column run text not null default '';
