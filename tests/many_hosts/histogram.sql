-- Latencies in the buckets of `reqscope report`: 256 an octave, each 0.27 % wide. DuckDB and Spark SQL.
--
-- In:  requests, a view of what `reqscope export --format parquet` wrote.
-- Out: histogram, a row a bucket of a route, host and hour. Rows of any hosts and hours add up, so that this is all
--      that has to be kept of a day, and what is added up for more than one machine can hold.
--
-- Bucket k holds 2^((k-1)/256) < latency <= 2^(k/256) ns, bucket -1 the zeros. A logarithm in floating point may be a
-- hair too great: 1e-9 is taken off, and who is above the bucket's end then goes one further. This is exact up to a day.
create or replace temp view histogram as
select host, label, date_trunc('hour', time) as hour, method, route, bucket,
       count(*) as requests, min(latency_ns) as shortest, max(latency_ns) as longest
from (select coalesce(host, '') as host, coalesce(label, '') as label, time, method, route, latency_ns,
             case when latency_ns = 0 then -1 when latency_ns > pow(2, k / 256) then k + 1 else k end as bucket
      from (select *, cast(ceil(256 * log2(greatest(latency_ns, 1)) - 1e-9) as bigint) as k
            from requests
            where latency_ns is not null) as near) as timed
group by host, label, hour, method, route, bucket;
