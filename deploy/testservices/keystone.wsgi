"""Keystone's WSGI application. It first creates Keystone's database, unless the database exists.

The commands of keystone-manage run in forks of this process, because importing Keystone takes seconds.
"""

import os
import re
import sqlite3
import traceback

from keystone.cmd import cli
import keystone.conf
from keystone.server.wsgi import initialize_public_application

directory = os.environ["OS_KEYSTONE_CONFIG_DIR"]


def manage(command):
    pid = os.fork()
    if pid == 0:  # a fork, because oslo.config reads the command line only once in a process
        try:
            cli.main(["keystone-manage", "--config-file", directory + "/keystone.conf", command])
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(pid, 0)[1] != 0:
        raise SystemExit(f"keystone-manage {command} failed")


if not os.path.exists(directory + "/made"):
    sqlite3.connect(directory + "/keystone.db").execute("PRAGMA journal_mode = WAL").connection.close()
    manage("db_sync")
    manage("bootstrap")
    open(directory + "/made", "w").close()
public = initialize_public_application()


def application(environ, start_response):
    """Serves /list_limit/N/v3 like /v3, but with the option list_limit = N for projects, domains and users.

    Both addresses serve the same Keystone. Keystone reads the option at each request, and this process has a single thread.
    """
    limited = re.fullmatch(r"/list_limit/(\d+)(/.*)", environ["PATH_INFO"])
    if not limited:
        return public(environ, start_response)
    for section in "resource", "identity":
        keystone.conf.CONF.set_override("list_limit", int(limited[1]), section)
    try:
        return public(environ | {"PATH_INFO": limited[2]}, start_response)
    finally:
        for section in "resource", "identity":
            keystone.conf.CONF.clear_override("list_limit", section)
