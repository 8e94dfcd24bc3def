"""The video diffusion transformer and its parts."""

if __name__ == "model":
    raise ImportError("expected 'xsheet.model', got a bare 'import model'; write 'from xsheet import model'")
