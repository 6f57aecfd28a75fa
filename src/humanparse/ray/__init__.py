"""Past one machine: the service with its workers on a Ray cluster.

replica.py       a replica, the worker of another machine: picture in, finished answer out
replicas.py      all replicas, as the service's dispatcher sees them
online.py        `humanparse serve --ray`: our web server in front of the replicas
application.py   the same as an application of Ray Serve, for its config files
"""
