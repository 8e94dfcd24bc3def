"""Cached features to stage 1, stage 2, samples and evaluation."""

if __name__ == "train":
    raise ImportError("expected 'xsheet.train', got a bare 'import train'; write 'from xsheet import train'")
