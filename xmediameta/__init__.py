"""Set metadata (alt text, warnings, restrictions, stickers) on media uploaded to X: asyncio-first, paced, never twice.

Names are loaded when first used, so that `xmediameta --version` need not import aiohttp.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .applying.faults import InvalidInput as InvalidInput
    from .applying.run import apply as apply
    from .applying.summary import Progress as Progress
    from .applying.summary import Summary as Summary
    from .attempts import RetryPolicy as RetryPolicy
    from .attempts import retry_if_verdict as retry_if_verdict
    from .attempts import wait_for_verdict as wait_for_verdict
    from .batcher import Batcher as Batcher
    from .bulk import BulkRun as BulkRun
    from .client import Client as Client
    from .credentials import BearerToken as BearerToken
    from .credentials import Credential as Credential
    from .credentials import RequestSigner as RequestSigner
    from .credentials import TokenStore as TokenStore
    from .errors import AccountForbidden as AccountForbidden
    from .errors import AccountSuspended as AccountSuspended
    from .errors import AuthError as AuthError
    from .errors import BatcherClosed as BatcherClosed
    from .errors import BatcherFull as BatcherFull
    from .errors import BudgetReached as BudgetReached
    from .errors import ClientClosed as ClientClosed
    from .errors import ConfigurationError as ConfigurationError
    from .errors import ConnectFailed as ConnectFailed
    from .errors import ConnectionLost as ConnectionLost
    from .errors import CreditsDepleted as CreditsDepleted
    from .errors import EndpointNotFound as EndpointNotFound
    from .errors import InvalidUpdate as InvalidUpdate
    from .errors import JournalError as JournalError
    from .errors import MediaNotFound as MediaNotFound
    from .errors import MissingExtra as MissingExtra
    from .errors import OutageTooLong as OutageTooLong
    from .errors import ProblemError as ProblemError
    from .errors import ProtocolViolation as ProtocolViolation
    from .errors import RateLimited as RateLimited
    from .errors import RateLimitWaitTooLong as RateLimitWaitTooLong
    from .errors import ReconnectRequired as ReconnectRequired
    from .errors import RefreshFailed as RefreshFailed
    from .errors import RequestTimedOut as RequestTimedOut
    from .errors import ServerFault as ServerFault
    from .errors import TransportError as TransportError
    from .errors import Unauthorized as Unauthorized
    from .errors import UnreadableResponse as UnreadableResponse
    from .errors import UpdateForbidden as UpdateForbidden
    from .errors import UpdateRejected as UpdateRejected
    from .errors import UsageCapped as UsageCapped
    from .errors import XMediaMetaError as XMediaMetaError
    from .gate import Wait as Wait
    from .hooks import Attempt as Attempt
    from .hooks import Retrying as Retrying
    from .hooks import Stopped as Stopped
    from .journal import Journal as Journal
    from .ledger import Limits as Limits
    from .limits import RateLimit as RateLimit
    from .members import AllowDownloadStatus as AllowDownloadStatus
    from .members import AltText as AltText
    from .members import AudiencePolicy as AudiencePolicy
    from .members import ContentExpiration as ContentExpiration
    from .members import DomainRestrictions as DomainRestrictions
    from .members import FoundMediaOrigin as FoundMediaOrigin
    from .members import GeoRestrictions as GeoRestrictions
    from .members import ManagementInfo as ManagementInfo
    from .members import MediaKey as MediaKey
    from .members import PreviewImage as PreviewImage
    from .members import SensitiveMediaWarning as SensitiveMediaWarning
    from .members import SharedInfo as SharedInfo
    from .members import Sticker as Sticker
    from .members import StickerInfo as StickerInfo
    from .members import UploadSource as UploadSource
    from .models import Metadata as Metadata
    from .models import Update as Update
    from .outcomes import Applied as Applied
    from .outcomes import Failed as Failed
    from .outcomes import NotSent as NotSent
    from .outcomes import Outcome as Outcome
    from .outcomes import Unchanged as Unchanged
    from .problems import Problem as Problem
    from .quota import Quota as Quota
    from .reckon import AccountEstimate as AccountEstimate
    from .reckon import Estimate as Estimate
    from .reckon import estimate as estimate
    from .sandbox import Sandbox as Sandbox
    from .sender import Stats as Stats
    from .tokens.files import FileStore as FileStore
    from .tokens.keeper import StoredToken as StoredToken
    from .tokens.oauth1 import OAuth1Token as OAuth1Token
    from .tokens.oauth2 import OAuth2Token as OAuth2Token
    from .tokens.ring import KeyringStore as KeyringStore
    from .tokens.stores import CallbackStore as CallbackStore
    from .tokens.stores import MemoryStore as MemoryStore

_HOMES = {
    "applying.faults": "InvalidInput",
    "applying.run": "apply",
    "applying.summary": "Progress Summary",
    "attempts": "RetryPolicy retry_if_verdict wait_for_verdict",
    "batcher": "Batcher",
    "bulk": "BulkRun",
    "client": "Client",
    "credentials": "BearerToken Credential RequestSigner TokenStore",
    "errors": (
        "AccountForbidden AccountSuspended AuthError BatcherClosed BatcherFull BudgetReached ClientClosed "
        "ConfigurationError ConnectFailed ConnectionLost CreditsDepleted EndpointNotFound InvalidUpdate JournalError "
        "MediaNotFound MissingExtra OutageTooLong ProblemError ProtocolViolation RateLimited RateLimitWaitTooLong "
        "ReconnectRequired RefreshFailed RequestTimedOut ServerFault TransportError Unauthorized UnreadableResponse "
        "UpdateForbidden UpdateRejected UsageCapped XMediaMetaError"
    ),
    "reckon": "AccountEstimate Estimate estimate",
    "gate": "Wait",
    "hooks": "Attempt Retrying Stopped",
    "limits": "RateLimit",
    "members": (
        "AllowDownloadStatus AltText AudiencePolicy ContentExpiration DomainRestrictions FoundMediaOrigin "
        "GeoRestrictions ManagementInfo MediaKey PreviewImage SensitiveMediaWarning SharedInfo Sticker StickerInfo "
        "UploadSource"
    ),
    "models": "Metadata Update",
    "outcomes": "Applied Failed NotSent Outcome Unchanged",
    "problems": "Problem",
    "quota": "Quota",
    "sandbox": "Sandbox",
    "sender": "Stats",
    "journal": "Journal",
    "ledger": "Limits",
    "tokens.files": "FileStore",
    "tokens.keeper": "StoredToken",
    "tokens.oauth1": "OAuth1Token",
    "tokens.oauth2": "OAuth2Token",
    "tokens.ring": "KeyringStore",
    "tokens.stores": "CallbackStore MemoryStore",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AccountEstimate",
    "AccountForbidden",
    "AccountSuspended",
    "AllowDownloadStatus",
    "AltText",
    "Applied",
    "Attempt",
    "AudiencePolicy",
    "AuthError",
    "Batcher",
    "BatcherClosed",
    "BatcherFull",
    "BearerToken",
    "BudgetReached",
    "BulkRun",
    "CallbackStore",
    "Client",
    "ClientClosed",
    "ConfigurationError",
    "ConnectFailed",
    "ConnectionLost",
    "ContentExpiration",
    "Credential",
    "CreditsDepleted",
    "DomainRestrictions",
    "EndpointNotFound",
    "Estimate",
    "Failed",
    "FileStore",
    "FoundMediaOrigin",
    "GeoRestrictions",
    "InvalidInput",
    "InvalidUpdate",
    "Journal",
    "JournalError",
    "KeyringStore",
    "Limits",
    "ManagementInfo",
    "MediaKey",
    "MediaNotFound",
    "MemoryStore",
    "Metadata",
    "MissingExtra",
    "NotSent",
    "OAuth1Token",
    "OAuth2Token",
    "OutageTooLong",
    "Outcome",
    "PreviewImage",
    "Problem",
    "ProblemError",
    "Progress",
    "ProtocolViolation",
    "Quota",
    "RateLimit",
    "RateLimitWaitTooLong",
    "RateLimited",
    "ReconnectRequired",
    "RefreshFailed",
    "RequestSigner",
    "RequestTimedOut",
    "RetryPolicy",
    "Retrying",
    "Sandbox",
    "SensitiveMediaWarning",
    "ServerFault",
    "SharedInfo",
    "Stats",
    "Sticker",
    "StickerInfo",
    "Stopped",
    "StoredToken",
    "Summary",
    "TokenStore",
    "TransportError",
    "Unauthorized",
    "Unchanged",
    "UnreadableResponse",
    "Update",
    "UpdateForbidden",
    "UpdateRejected",
    "UploadSource",
    "UsageCapped",
    "Wait",
    "XMediaMetaError",
    "apply",
    "estimate",
    "retry_if_verdict",
    "wait_for_verdict",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
