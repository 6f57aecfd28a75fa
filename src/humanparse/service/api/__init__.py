"""The routes that take pictures, what they share, and how they read request bodies.

Modules:
    v1.py           /parse, /predict, /v1/batch and the endpoints for operators
    v2.py           /v2, the Open Inference Protocol; v2_requests.py reads its requests and
                    v2_schemas.py describes its bodies
    responses.py    what the routes share: problem codes, headers, readiness
    cached.py       a picture → a response, from the cache or from a worker
    uploads.py      a request body → pictures and options, in memory
    forms.py        multipart/form-data, read as its bytes arrive; jobs use it, too
"""
