"""Runs a workflow's jobs as a DAG: declarations, a durable store with leases and fences, and the worker.

It knows commands and Python callables only; what a job computes is none of its business.
"""
