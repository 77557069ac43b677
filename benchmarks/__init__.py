"""Measurements: what the library costs, and what it saves. Each module runs as `python -m benchmarks.NAME`."""
