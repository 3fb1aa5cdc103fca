"""pinflow: daily data products from event logs on MapReduce."""

__version__ = "0.1.0"
