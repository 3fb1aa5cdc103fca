/*
 * Statistics of a task (part-NNNNN.thrift.gz) or of a job (job.thrift.gz): binary protocol, gzip.
 *
 * Ids leave room: new fields take free ids inside their block, new kinds of statistics a new block of ten. An id is
 * never used again for anything else, and readers skip ids that they do not know. `version` changes only when an old
 * reader would misread. In every version it is the first field and `crc` the last.
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

struct Distinct {                 // see distincts.py; one of the two
    1: binary coupons,            // of few objects: ascending little-endian integers of 32 bits
    2: binary registers,          // of many: a byte for each of 4096
}

struct Statistics {
    1: i32 version,
    2: i32 crc,                   // CRC-32 of all bytes before this field, which comes last
    10: map<string, i64> counts,
    20: map<string, Sum> sums,
    30: map<string, Histogram> histograms,
    40: map<string, Items> items,
    50: map<string, Distinct> distincts,
}
