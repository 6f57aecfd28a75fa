"""Parse very many pictures once each, in a run that can be killed at any moment and started again.

    sources.py   what the user named → a stream of slices
    storage.py   where files lie: on this machine, or where fsspec reads
    slices.py    a slice (listed pictures, a tar file, a row group of Parquet) → its pictures
    work.py      one picture → its outcome: the row or the files of its result, or why it failed
    local.py     slices → outcomes in threads of this process
    manifest.py  what is done, in SQLite beside the output, which makes the run resumable
    parts.py     rows → Parquet files that appear whole
    run.py       all of these together

humanparse/ray/batch.py computes the outcomes on a Ray cluster instead. Wherever they are computed,
only the process that began the run writes them down: a worker or a whole node may die at any moment
and leaves nothing half-done.
"""
