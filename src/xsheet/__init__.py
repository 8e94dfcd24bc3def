"""xsheet: curated clips, phase-timed actions checked against measured motion, and a talking avatar trained on them."""

__version__ = "0.1.0"
