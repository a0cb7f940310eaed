"""Publishes samples with the http publisher of Ceilometer. Repeats each post until it is answered with 2xx. Prints a
line for each post: the number of refused and lost posts so far.

Usage: publish.py URL < POSTS

POSTS has one post in each line, as JSON: {"batch": BOOL, "samples": [...]}. The fields of a sample are the arguments of ceilometer.sample.Sample.
"""
import json
import sys
import time
import types
from urllib import parse

from ceilometer import sample
from ceilometer.publisher import http

conf = types.SimpleNamespace(max_parallel_requests=8)
publishers = {batch: http.HttpPublisher(conf, parse.urlsplit("%s?batch=%s&max_retries=0&unknown=1" % (sys.argv[1], batch))) for batch in (True, False)}
refused = 0
for line in sys.stdin:
    post = json.loads(line)
    samples = [sample.Sample(**fields) for fields in post["samples"]]
    publisher = publishers[post["batch"]]
    while True:
        answers = []
        publisher.session.hooks["response"] = [lambda r, **_: answers.append(r.status_code)]
        try:
            publisher.publish_samples(samples)
        except Exception:  # the publisher lets errors of the connection through
            answers.append(0)
        if all(200 <= status < 300 for status in answers):
            break
        refused += 1
        time.sleep(0.1)
    print(refused, flush=True)
