"""Export layers to other tools and import their files: ELAN, Label Studio, WebVTT, CSV.

    out = elan.export(annotations, clips)        # out.files: name → text; out.losses: what the format cannot hold
    back = elan.read(out.files, clips)           # back.layers: a run and its annotations per annotator; back.losses

annotation → AnnotationSheet (plain text, independent of the format) → file → AnnotationSheet → annotation of layer
`imported`. Fields that no loss names come back unchanged. Paths and addresses inside a file are never opened.

base                  AnnotationSheet: the events of one annotator on one clip, as plain text; conversion losses
elan                  ELAN: write EAF 3.0, read 2.7 to 3.0
elan_reader           an EAF document of any tool to sheets
label_studio          Label Studio: tasks with predictions, and the labelling config
label_studio_results  events to Label Studio results and back
webvtt                WebVTT: one file per annotation
csv_tables            CSV: three tables
files                 read files within limits, and match them to clips
recording             annotations of a whole recording, mapped to its clips
vocabulary            tier names and labels of other tools to the vocabulary of the contract
phases                events to phases, with repairs and losses
imported              sheets to annotations of layer `imported`
"""
