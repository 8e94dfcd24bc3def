"""Write the golden dumps of all schemas and docs/data-contract.md; run by `make contract`."""

import json
from pathlib import Path

from xsheet.schemas import contract
from xsheet.schemas.tables import TABLES, write_text

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Overwrite the generated files."""
    for table in TABLES:
        golden = json.dumps(contract.schema_dict(table), indent=1, ensure_ascii=False) + "\n"
        write_text(ROOT / "tests" / "golden" / "schemas" / f"{table.name}.json", golden)
    write_text(ROOT / "docs" / "data-contract.md", contract.contract_markdown())


if __name__ == "__main__":
    main()
