"""Floor 8: runs as a service. Unlike requests share every call of a network, exactly.

body      what a request may say
work      what it comes to: a job, and the answer of its samples
network   a run in service, and what its calls cost
batcher   the jobs of all requests, wave by wave
shelf     results, and what outlives the process
guard     who may ask, how often and how much
http      the routes
"""
