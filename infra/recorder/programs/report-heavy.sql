\set b random(1, 1 * :scale)
select aid % 100 as bucket, count(*), sum(abalance) from pgbench_accounts where bid = :b group by 1 order by 3 desc;
