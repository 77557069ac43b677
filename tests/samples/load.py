"""The samples: one folder for each row or shape of an answer, with its `case.json` and the raw `body`.

`case.json` holds `about`, the `row` of the facts where it is one, `status`, `headers`, and what is expected:

- `class`: `Reply`, or the error; `scope` and `verdict` (after the first attempt) of an error, `after` its seconds,
  `refreshable` the verdict for a credential that can be renewed.
- `slug`, `title`, `detail` of the problem, `says`: a part of the message, `excerpt`: a part of the body's excerpt.
- `echo`: whether there is one; `warnings`: what they say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

from xmediameta.errors import ProblemError
from xmediameta.wire import Reply, decipher

MEDIA_ID = "1146654567674912769"


class Sample(NamedTuple):
    """One answer and what it must be taken for."""

    name: str
    row: str
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    expect: dict[str, Any]

    def decipher(self) -> Reply | ProblemError:
        """What it is taken for."""
        return decipher(self.status, self.headers, self.body, media_id=MEDIA_ID)


def _load(folder: Path) -> Sample:
    case = json.loads((folder / "case.json").read_text("utf-8"))
    headers = CIMultiDictProxy(CIMultiDict(case["headers"]))
    body = (folder / "body").read_bytes()
    return Sample(folder.name, case.get("row", ""), case["status"], headers, body, case["expect"])


SAMPLES = {path.parent.name: _load(path.parent) for path in sorted(Path(__file__).parent.glob("*/case.json"))}
