"""A driver of its own process, to be killed: drive.py OUT NOTES JOBS WHAT COUNT ARGUMENT [RAY]."""

import json
import sys
from pathlib import Path

from planted import Planted

from xsheet.runtime.executor import Execution, Item, run_task
from xsheet.schemas.errors import RunError
from xsheet.schemas.ids import content_key


def main() -> None:
    out, notes, jobs, what, count, argument, *ray = sys.argv[1:]
    items = [Item(content_key(k), f"item {k}", (what, json.loads(argument))) for k in range(int(count))]
    execution = Execution(jobs=int(jobs), stall_timeout_s=60, ray=ray[0] if ray else None)
    try:
        run_task(Planted(Path(notes)), items, out=Path(out), execution=execution)
    except RunError as error:
        sys.exit(f"RunError: {error}")


if __name__ == "__main__":
    main()
