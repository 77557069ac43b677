"""Lengths of time in words."""

from __future__ import annotations


def lasting(seconds: float) -> str:
    """`0.4 s`, `48 s`, `15 min`, `6 min 12 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for big, name, small, rest in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= big:
            count, left = divmod(whole // small, big // small)
            return f"{count:,} {name}" + (f" {left} {rest}" if left else "")
    return f"{whole} s"
