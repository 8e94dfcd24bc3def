"""Layers to and from other tools: ELAN, Label Studio, WebVTT, CSV.

    out = elan.export(annotations, clips)        # out.files: name → text; out.losses: what has no place there
    back = elan.read(out.files, clips)           # back.imports: a run and its annotations per voice; back.losses

annotation → sheet (sheet.py: plain text, whatever the format) → file → sheet → annotation of layer `imported`
(imported.py). What no loss names comes back as it was. Nothing that a file names is opened or fetched.
"""
