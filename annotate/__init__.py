"""Annotation: clips to phase-timed actions, in layers that never overwrite one another.

settings          settings of a run, the run record, and the annotator they open
pipeline          the whole run: request → reply → normalise → consensus
base              Annotator protocol: AnnotationRequest in, AnnotatorReply out
clip_batches      clips of a set in batches, with their signals and transcripts
task              one batch of clips to the rows of its replies
rows              replies to rows of the layers raw and normalised
consensus         K samples of a clip to one annotation
repairs           log of repairs; trims overlapping phases
lookup            rows of a set by clip
timeline_view     a clip's timeline in the terminal
estimate          calls, tokens and GPU time of a run before it starts
motion/           rule-based annotator over measured signals
vlm/              annotator over a vision-language model: in process (qwen/) or behind a server
speech/           transcript of a clip; timing of phases relative to speech
text/             training text, its token spans, wording, mirroring, fine-tuning export
formats/          exchange with ELAN, Label Studio, WebVTT and CSV
"""

if __name__ == "annotate":
    raise ImportError("expected 'xsheet.annotate', got a bare 'import annotate'; write 'from xsheet import annotate'")
