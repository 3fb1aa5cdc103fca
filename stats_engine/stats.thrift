/*
 * Statistics of a task (part-NNNNN.thrift.gz) or of a job (job.thrift.gz): binary protocol, gzip.
 *
 * Ids leave room: new fields take free ids inside their block, new kinds of statistics a new block of ten.
 * Readers skip ids that they do not know. `version` changes only when an old reader would misread.
 */
namespace py pinflow.stats_engine

struct Sum {
    1: double value,              // rounded
    2: binary exact,              // big-endian two's complement integer, in units of 2^-1074: the value without rounding
}

struct Bucket {
    1: double low,
    2: double high,
    3: i64 count,
}

struct Histogram {
    1: string bucketizer,         // histograms add up only under the same division
    2: double lowest,             // of all numbers added
    3: double highest,
    10: list<Bucket> buckets,     // those with a number in them, ascending
}

struct Item {
    1: string item,
    2: double value,
}

struct Items {
    1: i32 size,                  // longest length of either list
    10: list<Item> top,           // value descending, then item ascending
    11: list<Item> bottom,        // value ascending, then item ascending
}

struct Statistics {
    1: i32 version,
    10: map<string, i64> counts,
    20: map<string, Sum> sums,
    30: map<string, Histogram> histograms,
    40: map<string, Items> items,
}
