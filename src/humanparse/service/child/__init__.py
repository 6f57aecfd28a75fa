"""What runs inside a worker process: a picture in, the finished body of a response out."""
