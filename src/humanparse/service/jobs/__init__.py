"""Jobs: long work that continues after its request has ended and after the server restarts.

Modules:
    store.py          the state of jobs, in SQLite
    store_thread.py   gives one server, and in it one thread, access to the store
    files.py          pictures and results, in folders
    quota.py          how much space the files of all jobs may take
    runner.py         gives the pictures and clips to the workers and keeps their results
    service.py        `Jobs` creates, shows, cancels and deletes jobs and resumes them at start
    clip.py           what a worker is told about a clip, and the results that come of it
    upload.py         a form → files, streamed
    results.py        results → NDJSON or zip, streamed
    schemas.py        the bodies, for the OpenAPI document
    routes.py         the endpoints
"""

from humanparse.service.jobs.routes import jobs_routes
from humanparse.service.jobs.service import Jobs

__all__ = ["Jobs", "jobs_routes"]
