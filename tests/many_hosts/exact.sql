-- Exact percentiles: of the latencies themselves, so that all of them are sorted. `reqscope report` tells the middle of
-- the bucket that they are in, at most 0.14 % beside. percentile_disc() finds the same, but in Spark holds each
-- different latency in memory; percentile(), median() and quantile_cont() interpolate; approx_percentile()'s error isn't
-- known. Aborted requests have no latency. DuckDB and Spark SQL.
with placed as (
    select method, route, aborted, status, latency_ns,
           count(*) over (partition by method, route order by latency_ns nulls last
                          rows between unbounded preceding and current row) as place, -- row_number() has 32 bits in Spark
           count(latency_ns) over (partition by method, route) as n
    from requests
)
select method, route, count(*) as requests,
       count(*) filter (where aborted or status >= 500) as errors,
       min(latency_ns) filter (where place * 2 >= n) as p50_ns,
       min(latency_ns) filter (where place * 10 >= n * 9) as p90_ns,
       min(latency_ns) filter (where place * 100 >= n * 99) as p99_ns,
       min(latency_ns) filter (where place * 1000 >= n * 999) as p999_ns
from placed
group by method, route
order by route, method;
