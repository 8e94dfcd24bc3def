"""Export layers to other tools and import their files: ELAN, Label Studio, WebVTT, CSV.

    out = elan.export(annotations, clips)        # out.files: name → text; out.losses: what the format cannot hold
    back = elan.read(out.files, clips)           # back.layers: a run and its annotations per annotator; back.losses

annotation → sheet (base.py: plain text, independent of the format) → file → sheet → annotation of layer `imported`
(imported.py). Fields that no loss names come back unchanged. Paths and addresses inside a file are never opened.
"""
