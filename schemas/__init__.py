"""The data contract: records, time, ids, Parquet tables, settings, errors."""

if __name__ == "schemas":
    raise ImportError("expected 'xsheet.schemas', got a bare 'import schemas'; write 'from xsheet import schemas'")
