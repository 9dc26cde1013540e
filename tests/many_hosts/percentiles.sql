-- Percentiles as `reqscope merge` and `reqscope report` tell them, to the last digit: of all requests, of each host, of
-- each route, and of each route of a service. Where host, label or route is null, the row is of all. DuckDB and Spark SQL.
--
-- In: histogram (histogram.sql). The percentile q of n requests is the ceil(q n)-th smallest; it is told as the middle
-- of its bucket, but never below the shortest or above the longest. Whole numbers are compared, so no rank is rounded.
with summed as (
    select host, label, method, route, bucket,
           sum(requests) as requests, min(shortest) as shortest, max(longest) as longest
    from histogram
    group by grouping sets ((bucket), (host, bucket), (method, route, bucket), (label, method, route, bucket))
), ranked as (
    select host, label, method, route,
           sum(requests) over (partition by host, label, method, route order by bucket) as reached,
           sum(requests) over (partition by host, label, method, route) as n,
           min(shortest) over (partition by host, label, method, route) as shortest,
           max(longest) over (partition by host, label, method, route) as longest,
           case when bucket < 0 then 0 else (pow(2, (bucket - 1) / 256) + pow(2, bucket / 256)) / 2 end as middle
    from summed
)
select host, label, method, route, max(n) as requests,
       min(greatest(shortest, least(longest, middle))) filter (where reached * 2 >= n) as p50_ns,
       min(greatest(shortest, least(longest, middle))) filter (where reached * 10 >= n * 9) as p90_ns,
       min(greatest(shortest, least(longest, middle))) filter (where reached * 100 >= n * 99) as p99_ns,
       min(greatest(shortest, least(longest, middle))) filter (where reached * 1000 >= n * 999) as p999_ns
from ranked
group by host, label, method, route
order by host nulls first, label nulls first, route nulls first, method;
