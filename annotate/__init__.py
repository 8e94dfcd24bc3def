"""Clips to phase-timed actions, in layers that never overwrite one another."""

if __name__ == "annotate":
    raise ImportError("expected 'xsheet.annotate', got a bare 'import annotate'; write 'from xsheet import annotate'")
