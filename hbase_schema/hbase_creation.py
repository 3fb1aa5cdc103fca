"""Making the tables in HBase, with all that matters said explicitly.

HBase's Thrift1 server, which serves rows, makes tables of one region; its Thrift2 server, where the address names one,
splits them over the hash that keys start with. The same lines for the HBase shell come from `shell_lines`.
"""

from pathlib import Path
from typing import Any

import thriftpy2
from thriftpy2.rpc import make_client
from thriftpy2.thrift import TException

from pinflow.hbase_schema.hbase_address import FOREVER, TIMEOUT_MILLISECONDS, Address, Host
from pinflow.hbase_schema.tables import TABLES

TYPES: Any = thriftpy2.load(str(Path(__file__).with_name("hbase_admin.thrift")), module_name="pinflow_hbase_thrift")

SPLITS = tuple(b"%x" % digit for digit in range(1, 16))
"""Where the 16 regions of a table begin; the first one holds the markers too."""

COMPRESSIONS = ("SNAPPY", "GZ", "NONE")
"""In order of preference: Snappy needs a library on every region server, GZ comes with Java."""

_EXISTS = ("AlreadyExists", "TableExistsException")
_REFUSED = ("compress", "Compression")


def create_table(connection: Any, address: Address, name: str) -> None:
    """Make a table unless it is there, with the best compression that the region servers have."""
    for compression in COMPRESSIONS:
        try:
            if address.thrift2 is None:
                connection.create_table(address.prefix + name, {TABLES[name]: _thrift1_family(address, compression)})
            else:
                _create_split(address.thrift2, address, name, compression)
        except TException as error:
            text = f"{type(error).__name__} {getattr(error, 'message', '')}"
            if any(word in text for word in _EXISTS):
                return
            if compression == COMPRESSIONS[-1] or not any(word in text for word in _REFUSED):
                raise
        else:
            return


def shell_lines(address: Address) -> list[str]:
    """What makes the tables in the HBase shell, as pinflow would over Thrift2."""
    ttl = "'FOREVER'" if address.ttl == FOREVER else str(address.ttl)
    splits = ", ".join(f"'{split.decode()}'" for split in SPLITS)
    return [
        f"create '{address.prefix}{name}', {{NAME => '{family}', VERSIONS => 1, BLOOMFILTER => 'ROW', "
        f"BLOCKCACHE => true, TTL => {ttl}, COMPRESSION => '{COMPRESSIONS[0]}', "
        f"DATA_BLOCK_ENCODING => 'FAST_DIFF'}}, SPLITS => [{splits}]"
        for name, family in TABLES.items()
    ]


def _thrift1_family(address: Address, compression: str) -> dict[str, Any]:
    return {
        "max_versions": 1,
        "bloom_filter_type": "ROW",
        "block_cache_enabled": True,
        "compression": compression,
        "time_to_live": address.ttl,
    }


def _create_split(host: Host, address: Address, name: str, compression: str) -> None:
    family = TYPES.TColumnFamilyDescriptor(
        name=TABLES[name].encode(),
        bloomnFilterType=TYPES.TBloomFilterType.ROW,
        compressionType=getattr(TYPES.TCompressionAlgorithm, compression),
        dataBlockEncoding=TYPES.TDataBlockEncoding.FAST_DIFF,
        maxVersions=1,
        timeToLive=address.ttl,
        blockCacheEnabled=True,
    )
    namespace, _, qualifier = (address.prefix + name).rpartition(":")
    names = {"ns": namespace.encode()} if namespace else {}
    table = TYPES.TTableDescriptor(tableName=TYPES.TTableName(qualifier=qualifier.encode(), **names), columns=[family])
    client = make_client(TYPES.THBaseService, *host, timeout=TIMEOUT_MILLISECONDS)
    try:
        client.createTable(table, list(SPLITS))
    finally:
        client.close()
