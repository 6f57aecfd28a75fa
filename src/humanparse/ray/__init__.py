"""Beyond one machine: parsing on a Ray cluster, for the service and for batches.

replica.py       a replica, a worker on another machine: picture in, finished response out
replicas.py      all replicas, as the service's dispatcher sees them
server.py        `humanparse serve --ray`: our web server in front of the replicas
application.py   the same as an application of Ray Serve, for its config files
batch.py         `humanparse batch` on a cluster
cluster.py       connects to a Ray, or starts one
"""
