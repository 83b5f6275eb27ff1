"""Numbers as people read them: few digits, with a unit."""

from __future__ import annotations


def quantity(value: float, unit: str = "") -> str:
    """A number as a person reads it: 7, 950, 1.2k, 34M; with a unit 950 B, 3.4 MB (decimal)."""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 9.95 and (prefix or value != int(value)):
            digits = f"{value:.1f}"
        else:
            digits = f"{value:.0f}"
        if float(digits) < 1000 or prefix == "T":
            break
        value /= 1000
    return f"{digits} {prefix}{unit}" if unit else f"{digits}{prefix}"


def duration(seconds: float | None) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`; `?` for None."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
