pragma journal_mode = wal;
pragma synchronous = off;
create table if not exists fact (id integer primary key, day int, shop int, cents int);
insert into fact (day, shop, cents)
    with recursive n(i) as (select 1 union all select i + 1 from n where i < 40000)
    select i % 30, abs(random()) % 200, abs(random()) % 100000 from n;
delete from fact where id < (select max(id) from fact) - 200000;
drop table if exists mart;
create table mart as select shop, day, count(*) orders, sum(cents) cents from fact group by shop, day;
select shop, sum(cents) from mart group by shop order by 2 desc limit 5;
