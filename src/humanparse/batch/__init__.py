"""Parse very many pictures once each: a run that can be killed at any moment and started again.

    sources.py   what the user named → a stream of slices: a list of pictures, a tar file, a row group of Parquet
    work.py      one picture → its outcome: the row or the files of its result, or the reason why there is none
    local.py     slices → outcomes in threads of this process
    on_ray.py    slices → outcomes on a Ray cluster, through Ray Data
    manifest.py  what is done, in SQLite beside the output: makes the run resumable
    parts.py     rows → Parquet files that appear whole
    run.py       all of these together

Whoever computes outcomes, only the process that began the run writes them down: a worker or a whole
node may die at any moment and has then left nothing half-done.
"""
