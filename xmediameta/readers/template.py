"""An empty table to fill in: every column of the contract, in CSV or in a workbook that keeps ids as they are.

In the workbook all columns are text, so that Excel rounds no media id, turns no time into a date and no word into
something else. What each column takes stands in a note on its header; nothing but the headers is ever read back.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Final, Literal

from xmediameta.extras import needed
from xmediameta.flat import KNOWN
from xmediameta.shortform import SHORT_FORMS

TemplateKind = Literal["xlsx", "csv"]

_TEXT: Final = 49  # Excel's own number for the format text
_LAST_ROW: Final = 1_048_575
_TRUTH: Final = "TRUE or FALSE."
_COUNTRIES: Final = (
    "Two-letter codes, separated by |, as in us|de; fill in one of the two lists of countries, not both."
)
_TIME: Final = "A time with its zone, as 2026-01-31T12:00:00Z, or Unix seconds."
_HELP: Final = {
    "id": "The media id: 1 to 19 digits, kept as text. Needed in every row.",
    "alt_text": "What screen readers speak: at most 1,000 characters.",
    "allow_download": f"Whether viewers may download the media: {_TRUTH}",
    "adult_content": f"A warning of adult content: {_TRUTH}",
    "graphic_violence": f"A warning of graphic violence: {_TRUTH}",
    "other_sensitive": f"A warning of other sensitive content: {_TRUTH}",
    "allowed_countries": f"Where the media may be shown. {_COUNTRIES}",
    "blocked_countries": f"Where the media may not be shown. {_COUNTRIES}",
    "content_expires_at": f"When the content expires. {_TIME}",
    "allowed_domains": "The domains on which the media may be shown, separated by |, as in example.com|example.org.",
    "managed": f"Whether Media Studio manages the media: {_TRUTH}",
    "shared": f"Whether the media is shared in direct messages: {_TRUTH}",
    "upload_source": "The app or device that the media was uploaded from.",
    "origin_provider": "Where found media came from: at most 8 characters. Goes with origin_id.",
    "origin_id": "Its id there: at most 24 characters. Goes with origin_provider.",
    "preview_media_id": "The media id of the image that serves as a preview: 1 to 19 digits.",
    "creator_subscriptions": "Any, for the subscribers of a creator.",
    "x_subscriptions": "Any, for the subscribers of X.",
    "stickers": 'A JSON list of 1 to 25 stickers, as [{"id": "7"}].',
    "account": "The name of the account that uploaded the media, where there are several. Never sent.",
    "ref": "Your own name for the row. Never sent; it stands beside the result.",
    "send_before": f"Do not send it later than this. {_TIME} Never sent itself.",
}
_WIDTHS: Final = {"id": 22, "alt_text": 60, "stickers": 30}
_BOOLEANS: Final = [name for name, (_, kind) in KNOWN.items() if kind == "flag"]


def template(kind: TemplateKind) -> bytes:
    """The bytes of an empty table with all short forms as its columns.

    Raises:
        MissingExtra: `xlsx`, and XlsxWriter is not installed.
    """
    names = ["id", *SHORT_FORMS, "account", "ref", "send_before"]
    if kind == "csv":
        return ",".join(names).encode() + b"\r\n"
    xlsxwriter = needed("xlsxwriter", "writing .xlsx files", "cli")
    sink = io.BytesIO()
    with xlsxwriter.Workbook(sink, {"in_memory": True}) as workbook:
        # The same bytes whenever it is made.
        workbook.set_properties({"created": datetime(2026, 1, 1, tzinfo=UTC)})
        sheet = workbook.add_worksheet("updates")
        as_text = {"num_format": _TEXT, "valign": "top"}
        text, wrapped = workbook.add_format(as_text), workbook.add_format({**as_text, "text_wrap": True})
        head = workbook.add_format({"num_format": _TEXT, "bold": True, "bottom": 1, "bg_color": "#E8EDF3"})
        for column, name in enumerate(names):
            sheet.set_column(
                column, column, _WIDTHS.get(name, max(14, len(name) + 4)), wrapped if name == "alt_text" else text
            )
            sheet.write_string(0, column, name, head)
            sheet.write_comment(0, column, _HELP[name], {"x_scale": 2, "y_scale": 0.8, "author": "xmediameta"})
            if name in _BOOLEANS:
                sheet.data_validation(1, column, _LAST_ROW, column, {"validate": "list", "source": ["TRUE", "FALSE"]})
        sheet.ignore_errors({"number_stored_as_text": f"A2:XFD{_LAST_ROW + 1}"})
        sheet.freeze_panes(1, 1)
    return sink.getvalue()
