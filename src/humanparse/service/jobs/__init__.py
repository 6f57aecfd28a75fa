"""Jobs: long work that outlives its request, and the server.

store.py    what is known of jobs, in SQLite
files.py    their pictures and results, in folders
keeper.py   who may touch these two: one server at a time
runner.py   gives the pictures to the workers and keeps what comes back
jobs.py     Jobs: makes, shows, cancels and deletes them; continues them after a restart
upload.py   a form → files, streamed
results.py  results → NDJSON or zip, streamed
routes.py   what clients see
"""

from humanparse.service.jobs.routes import jobs_routes
from humanparse.service.jobs.service import Jobs

__all__ = ["Jobs", "jobs_routes"]
