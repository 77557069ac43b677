"""What the body of a failed request says, whatever its shape."""

from __future__ import annotations

import json
import pickle
from typing import Any

import msgspec
import pytest

from xmediameta.problems import BLANK, BOM, Problem, as_list, as_object, phrase, problems_in, read_json, read_problem


def read(plain: Any, status: int = 400) -> Problem:
    return read_problem(status, {}, json.dumps(plain).encode())


class TestReadProblem:
    def test_a_problem_document_in_full(self) -> None:
        problem = read(
            {
                "type": "https://api.twitter.com/2/problems/usage-capped",
                "title": "UsageCapExceeded",
                "detail": "The monthly cap of the product is reached",
                "status": 429,
                "instance": "urn:uuid:1",
                "period": "Monthly",
                "account_id": 1234567890123456789,
            }
        )
        assert problem == Problem(
            type="https://api.twitter.com/2/problems/usage-capped",
            title="UsageCapExceeded",
            detail="The monthly cap of the product is reached",
            status=429,
            instance="urn:uuid:1",
            extensions={"period": "Monthly", "account_id": 1234567890123456789},
        )
        assert problem.slug == "usage-capped"

    @pytest.mark.parametrize(
        ("plain", "said"),
        [
            ({"title": "Forbidden", "detail": "Forbidden"}, "Forbidden"),
            ({"title": "A", "detail": "B", "errors": [{"message": "C"}, {"detail": "D"}, "E", "B", 7]},
             "A: B: C: D: E"),
            ({"errors": ["internal server error"]}, "internal server error"),
            ({"errors": [{"code": 88, "message": "Rate limit exceeded"}]}, "Rate limit exceeded"),
            ({"code": 214, "message": "Bad request."}, "Bad request."),
            ({"request": "/2/media/metadata", "error": "media ID is missing"}, "media ID is missing"),
            ({"error": "invalid_request", "error_description": "Value passed for the token was invalid."},
             "Value passed for the token was invalid."),
            ({"type": "https://api.x.com/2/problems/conflict"}, "conflict"),
            ({"errors": {"message": "not a list"}}, ""),
            ({"errors": [[], None, 1]}, ""),
            ({"title": 7, "detail": ["x"], "type": {}}, ""),
            ({"unheard": "of"}, ""),
        ],
    )  # fmt: skip
    def test_every_shape_says_what_it_says(self, plain: Any, said: str) -> None:
        assert read(plain).said() == said

    @pytest.mark.parametrize(
        "body",
        [b"", b" ", b"<html>", b"null", b"[]", b"7", b'"text"', b"{", b"{}", b"\xff\xfe{\x00}\x00", b"[" * 100_000],
    )  # fmt: skip
    def test_what_is_no_object_is_titled_by_the_status(self, body: bytes) -> None:
        assert read_problem(503, {}, body) == Problem(title="Service Unavailable")
        assert read_problem(520, {}, body) == Problem()
        assert read_problem(-1, {}, body) == Problem()

    @pytest.mark.parametrize(
        ("plain", "problem"),
        [
            ({"type": None, "title": "T"}, Problem(title="T")),
            ({"type": "", "title": "T"}, Problem(title="T")),
            ({"status": "400", "title": "T"}, Problem(title="T")),
            ({"status": True, "title": "T"}, Problem(title="T")),
            ({"status": 400.0, "title": "T"}, Problem(title="T")),
            ({"instance": 1, "title": "T"}, Problem(title="T")),
        ],
    )
    def test_a_member_of_the_wrong_type_is_ignored(self, plain: Any, problem: Problem) -> None:
        assert read(plain) == problem

    def test_a_byte_order_mark_is_tolerated(self) -> None:
        assert read_problem(400, {}, BOM + b'{"title":"T"}') == Problem(title="T")

    def test_it_is_bounded(self) -> None:
        plain = {"title": "x" * 10_000_000, "detail": "y" * 5_000} | {f"{'k' * 500}{n}": n for n in range(1_000)}
        problem = read(plain)
        assert (len(problem.title), len(problem.detail)) == (2_000, 2_000)
        assert len(problem.extensions) <= 32
        assert all(len(name) <= 100 for name in problem.extensions)
        assert len(problem.said()) <= 501
        assert len(read({"errors": ["x" * 100] * 10_000}).said()) <= 501


class TestProblem:
    @pytest.mark.parametrize(
        ("uri", "slug"),
        [
            (BLANK, ""),
            ("https://api.twitter.com/2/problems/usage-capped", "usage-capped"),
            ("https://api.x.com/2/problems/usage-capped", "usage-capped"),
            ("https://api.x.com/2/problems/Usage-Capped/", "usage-capped"),
            ("https://api.x.com/2/problems/usage-capped?lang=fr#top", "usage-capped"),
            ("about:blank#", ""),
            ("usage-capped", "usage-capped"),
            ("/", ""),
            ("?/x", ""),
        ],
    )
    def test_the_slug_is_the_last_segment_whatever_the_host(self, uri: str, slug: str) -> None:
        assert Problem(type=uri).slug == slug

    def test_it_is_plain_data(self) -> None:
        problem = read({"title": "T", "errors": [{"message": "m", "parameters": {"id": ["1"]}}]})
        assert pickle.loads(pickle.dumps(problem)) == problem
        assert msgspec.convert(msgspec.to_builtins(problem), Problem) == problem
        assert repr(Problem(title="T")) == "Problem(title='T')"

    def test_no_two_share_their_extensions(self) -> None:
        Problem().extensions["x"] = 1
        assert Problem().extensions == {}


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ([{"title": "A"}, "b", {"message": "c"}, 7, None, {}, [], ""], ["A", "b", "c"]),
        ([], []),
        (None, []),
        ("text", []),
        ({"0": "x"}, []),
        (["x"] * 1_000, ["x"] * 32),
    ],
)
def test_problems_in(errors: object, said: list[str]) -> None:
    assert [problem.said() for problem in problems_in(errors)] == said


@pytest.mark.parametrize(
    ("body", "plain"),
    [(b'{"a":1}', {"a": 1}), (BOM + b"[1]", [1]), (b"null", None), (b"\xff", None), (b"1e999", None), (b"1 2", None)],
)
def test_read_json(body: bytes, plain: object) -> None:
    assert read_json(body) == plain


def test_views() -> None:
    assert (as_object({"a": 1}), as_object([1]), as_object(None)) == ({"a": 1}, {}, {})
    assert (as_list([1]), as_list({"a": 1}), as_list("ab")) == ([1], [], [])
    assert (phrase(404), phrase(520), phrase(0)) == ("Not Found", "", "")


def test_a_sentence_that_is_followed_by_more_ends_without_a_full_stop() -> None:
    more = {"errors": [{"message": "$.id: is not valid"}]}
    problem = Problem(title="Invalid Request", detail="One parameter was invalid.", extensions=more)
    assert problem.said() == "Invalid Request: One parameter was invalid: $.id: is not valid"
    assert Problem(title="Not Found.", detail="No such media.").said() == "Not Found: No such media."
    assert Problem(title="...", detail="x").said() == "...: x"
