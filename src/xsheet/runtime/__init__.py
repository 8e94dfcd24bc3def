"""One task over many items, in processes of this machine or on a Ray cluster, with identical results.

task          tasks, items, outcomes of items, execution settings
executor      run_task: run a task over items, skip finished ones
worker        a worker process, from the outside: start, watch, kill
worker_main   the code inside a worker process
fork_server   the process that imports what workers need and forks them
result_store  finished items of a task, read in the order of keys
segments      append-only files of records with checksums, and their index
ray_process   a run on Ray, from the outside
ray_main      the code inside the Ray driver process
ray_cluster   join or start a Ray cluster
progress      progress bar or log lines
standstill    the item that has made no progress for the longest time
lock          one writer per folder
orphans       files of a set that no table row refers to
storage/      files in object stores: s3://, gs://, az://, hf://
"""
