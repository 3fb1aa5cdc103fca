"""What the scheduler costs: `python -m benchmarks.scheduler [--stores sqlite,mariadb] [--json]`."""
