"""The review page: people see clips with all that was measured and said of them, and decide.

page/       what the browser runs: plain modules, no build step
server.py   HTTP on 127.0.0.1; auth.py lets only its own page in
session.py  one reviewer before one layer: queue.py, payload.py (a clip with all its facts), edits.py, draft.py
journal.py  every operation, on disk before it is shown
apply.py    what was accepted becomes a `human` layer; what is in conflict is refused and listed
"""
