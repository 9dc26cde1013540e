"""Percentiles of all hosts' requests by Spark: histogram.sql and percentiles.sql beside this file, in that order.

    spark-submit spark_job.py LAKE [--histogram FOLDER]

LAKE is what Spark can read: a folder, of folders if need be, of what `reqscope export --format parquet` wrote. The result
goes to standard output as CSV. With --histogram the buckets are added to those in FOLDER, as Parquet, and the percentiles
are of all that is there: a day's requests can go when their buckets are kept.
"""

import argparse
import csv
import sys
from pathlib import Path

from pyspark.sql import SparkSession


def run_file(spark, name):
    """The rows of the one statement of a file."""
    text = (Path(__file__).parent / name).read_text()
    return spark.sql(text.rstrip().removesuffix(";"))


def find(spark, options):
    spark.read.parquet(options.lake).createOrReplaceTempView("requests")
    if options.exact:
        return run_file(spark, "exact.sql")
    run_file(spark, "histogram.sql")
    if options.histogram:
        # Not snappy, the default: its library for Java doesn't load on machines with glibc that have musl installed as well.
        spark.table("histogram").write.mode("append").option("compression", "zstd").parquet(options.histogram)
        spark.read.parquet(options.histogram).createOrReplaceTempView("histogram")
    return run_file(spark, "percentiles.sql")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake")
    parser.add_argument("--histogram", metavar="FOLDER")
    parser.add_argument("--exact", action="store_true", help="exact.sql instead, which sorts all latencies")
    options = parser.parse_args()
    # Hours are then those of UTC, as all times in a trace, wherever the job runs.
    spark = SparkSession.builder.appName("reqscope").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    found = find(spark, options)
    writer = csv.writer(sys.stdout)
    writer.writerow(found.columns)
    writer.writerows(found.collect())
    spark.stop()


if __name__ == "__main__":
    main()
