// What pinflow asks of HBase's Thrift2 server: making a table with its split keys, which Thrift1 cannot.
// Names and numbers are those of HBase's own hbase.thrift (org.apache.hadoop.hbase.thrift2).

enum TBloomFilterType {
  NONE = 0,
  ROW = 1
}

enum TCompressionAlgorithm {
  GZ = 1,
  NONE = 2,
  SNAPPY = 3
}

enum TDataBlockEncoding {
  NONE = 0,
  FAST_DIFF = 4
}

struct TColumnFamilyDescriptor {
  1: required binary name
  5: optional TBloomFilterType bloomnFilterType
  6: optional TCompressionAlgorithm compressionType
  8: optional TDataBlockEncoding dataBlockEncoding
  10: optional i32 maxVersions
  13: optional i32 timeToLive
  14: optional bool blockCacheEnabled
}

struct TTableName {
  1: optional binary ns
  2: required binary qualifier
}

struct TTableDescriptor {
  1: required TTableName tableName
  2: optional list<TColumnFamilyDescriptor> columns
}

exception TIOError {
  1: optional string message
  2: optional bool canRetry
}

service THBaseService {
  void createTable(
    1: required TTableDescriptor desc
    2: optional list<binary> splitKeys
  ) throws (1: TIOError io)
}
