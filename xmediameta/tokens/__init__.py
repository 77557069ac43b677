"""Tokens that live for hours, and accounts that live for years: renewal, and the places where tokens are kept.

An access token of X lives two hours. Its refresh token is good for one use and brings a new pair, so whoever loses an
answer, or lets two tasks or two processes renew at once, has lost the account until a person logs in again. Hence:

- one renewal at a time for each account: in a process all who need it share one task, and across processes a lock of
  the store is held, under which the store is read once more, since another process may have renewed the token already;
- the new pair is stored before anything is signed with it;
- from the moment a token request is sent until its answer is stored, the task cannot be cancelled, neither by a caller
  that gives up nor by a loop that is shut down; it ends by itself within its time-out.
"""
