"""A synthetic talking corpus whose cuts, offsets and action phases are known."""

if __name__ == "demo":
    raise ImportError("expected 'xsheet.demo', got a bare 'import demo'; write 'from xsheet import demo'")
