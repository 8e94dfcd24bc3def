"""Raw talking video to measurements, verdicts, canonical clips and signals."""

if __name__ == "curate":
    raise ImportError("expected 'xsheet.curate', got a bare 'import curate'; write 'from xsheet import curate'")
