\set b random(1, 1 * :scale)
select bid, count(*), sum(abalance), avg(abalance) from pgbench_accounts where bid = :b and aid % 7 < 5 group by bid;
