"""`apply`, the command as a function, and what the command itself is made of.

Rooms, from the bottom: `order` (what was asked for), `summary` (what it came to, as it is told), `course` (as it is
counted), `checking` (the first pass over an input), `faults` and `given` (what is wrong with it; updates that are no
files), `keeping` (which journal, which run), `watch` (what a run tells whoever looks on), `kept` and `unkept` (sending,
with a journal and without one), `plan` (what would be sent), and `run`, the function.
"""
