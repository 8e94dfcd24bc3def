"""Sets as versions: compare, merge, summarise, select and pack them. A set that is read is never changed.

clip_view  one row per clip with its measures, split and manifest columns, for SQL conditions (DuckDB)
diff       clips, sources and layers of two sets
merge      several sets as one
subset     the clips that meet a condition as a set
stats      counts and distributions of a set
split_leaks  sources, people, files and near duplicates in more than one split
pack       a set as one tar file
copying    what these share: filtered tables, layers and media
"""
