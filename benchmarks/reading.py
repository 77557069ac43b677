"""How fast files of updates are read, checked and built into rows, end to end through `Inputs`.

CPU time and not wall time, the best of a few passes: what other programs do on the machine should not count.
Run it as `python -m benchmarks.reading [ROWS]`. Formats whose extra is not installed are left out.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import msgspec

from xmediameta.models import Update
from xmediameta.readers import Inputs, Row

PASSES = 4
ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


def text(number: int) -> str:
    return f"A dancing cat, the picture of the day no. {number}"


def one_member(number: int) -> bytes:
    return b'{"id":"%d","metadata":{"alt_text":{"text":"%s"}}}\n' % (10**18 + number, text(number).encode())


def five_members(number: int) -> bytes:
    return (
        b'{"id":"%d","metadata":{"alt_text":{"text":"%s"},"allow_download_status":{"allow_download":true},'
        b'"geo_restrictions":{"whitelisted_country_codes":["us","de"],"blacklisted_country_codes":[]},'
        b'"sensitive_media_warning":{"adult_content":true,"other":false},"shared_info":{"shared":false}},'
        b'"account":"shop","ref":"row %d"}\n' % (10**18 + number, text(number).encode(), number)
    )


def write_jsonl(path: Path, rows: int, line: Callable[[int], bytes]) -> None:
    path.write_bytes(b"".join(map(line, range(rows))))


def write_csv(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("id", "alt_text"))
        table.writerows((10**18 + number, text(number)) for number in range(rows))


def write_parquet(path: Path, rows: int) -> None:
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    ids = arrow.array(range(10**18, 10**18 + rows))
    parquet.write_table(arrow.table({"id": ids, "alt_text": [text(number) for number in range(rows)]}), path)


def write_xlsx(path: Path, rows: int) -> None:
    with import_module("xlsxwriter").Workbook(str(path), {"constant_memory": True}) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ("id", "alt_text"))
        for number in range(rows):
            sheet.write_string(number + 1, 0, str(10**18 + number))
            sheet.write_string(number + 1, 1, text(number))


def write_zstd(path: Path, content: bytes) -> None:
    path.write_bytes(import_module(ZSTD).compress(content))


def has(*modules: str) -> bool:
    try:
        return all(find_spec(module) is not None for module in modules)
    except ModuleNotFoundError:  # the package around it is missing
        return False


def best(rows: int, work: Callable[[], int]) -> float:
    """Rows per second of CPU time, all threads of the process together."""
    times: list[float] = []
    for _ in range(PASSES):
        begun = time.process_time()
        found = work()
        times.append(time.process_time() - begun)
        if found != rows:
            raise SystemExit(f"{found:,} rows were read, not {rows:,}")
    return rows / min(times)


def reading(path: Path) -> Callable[[], int]:
    def work() -> int:
        with Inputs([str(path)]) as inputs:
            return sum(1 for item in inputs.rows() if isinstance(item, Row))

    return work


def decoding(path: Path) -> Callable[[], int]:
    """Only msgspec's part: the lines are in memory, nothing is checked twice, no row is built."""
    decode = msgspec.json.Decoder(Update).decode
    with path.open("rb") as file:
        lines = list(io.BytesIO(file.read()))

    def work() -> int:
        return sum(1 for line in lines if decode(line) is not None)

    return work


def report(name: str, rate: float) -> None:
    print(f"{name:38} {rate:>12,.0f} rows/s {1e6 / rate:8.2f} us a row")


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        one, five, table = here / "one.jsonl", here / "five.jsonl", here / "one.csv"
        write_jsonl(one, rows, one_member)
        write_jsonl(five, rows, five_members)
        write_csv(table, rows)
        packed = here / "one.jsonl.gz"
        packed.write_bytes(gzip.compress(one.read_bytes(), 6))

        print(f"{rows:,} rows, CPU time, best of {PASSES}")
        report("JSONL, one member", best(rows, reading(one)))
        report("  of that, decoding alone", best(rows, decoding(one)))
        report("JSONL, five members, account, ref", best(rows, reading(five)))
        report("JSONL, one member, gzip", best(rows, reading(packed)))
        if has(ZSTD):
            smaller = here / "one.jsonl.zst"
            write_zstd(smaller, one.read_bytes())
            report("JSONL, one member, Zstandard", best(rows, reading(smaller)))
        report("CSV, two columns", best(rows, reading(table)))
        if has("pyarrow"):
            columns = here / "one.parquet"
            write_parquet(columns, rows)
            report("Parquet, two columns", best(rows, reading(columns)))
        if has("python_calamine", "xlsxwriter"):
            book = here / "one.xlsx"
            write_xlsx(book, rows)
            report("Excel, two columns", best(rows, reading(book)))


if __name__ == "__main__":
    main(int(sys.argv[1].replace("_", "")) if len(sys.argv) > 1 else 200_000)
