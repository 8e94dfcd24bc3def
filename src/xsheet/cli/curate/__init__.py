"""`xsheet curate`: measure videos, decide, write clips; report, split, estimate.

run      run, import, segment, decide: verbs that change a set or write a manifest
results  sweep, report, inspect, split, selftest-sync, estimate
inputs   inputs and settings of a run from its options
show     what the verbs print
"""

import typer

from xsheet.cli.curate import results, run

app = typer.Typer(
    help="Turn talking video into measurements, verdicts, canonical clips and signals.", no_args_is_help=True
)
app.add_typer(run.app)
app.add_typer(results.app)
