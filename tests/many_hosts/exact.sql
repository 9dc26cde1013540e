-- Exact percentiles: of the latencies themselves, so that all of a group's are sorted. `reqscope report` tells the middle
-- of the bucket that they are in, at most 0.14 % beside. Not percentile(), median() or quantile_cont(), which interpolate,
-- nor approx_percentile(), whose error isn't known. Aborted requests have no latency. DuckDB and Spark SQL.
select method, route, count(*) as requests,
       count(*) filter (where aborted or status >= 500) as errors,
       percentile_disc(0.5) within group (order by latency_ns) as p50_ns,
       percentile_disc(0.9) within group (order by latency_ns) as p90_ns,
       percentile_disc(0.99) within group (order by latency_ns) as p99_ns,
       percentile_disc(0.999) within group (order by latency_ns) as p999_ns
from requests
group by method, route
order by route, method;
