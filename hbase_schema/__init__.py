"""Serving rows of the analytics: row keys, tables, codecs, and one store interface, embedded or HBase.

Start with `store.open_store`, then `writer.write_period` and `reader.metrics`, `reader.top`, `reader.audience`.
"""
