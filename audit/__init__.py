"""Can a layer be trusted? Its phases against another layer, against its own samples, against what was measured."""

if __name__ == "audit":
    raise ImportError("expected 'xsheet.audit', got a bare 'import audit'; write 'from xsheet import audit'")
