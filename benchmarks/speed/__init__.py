"""How fast the client is, next to others and to bare aiohttp; `python -m benchmarks` runs it."""
