"""Glance's WSGI application. It first creates the tables in Glance's database, unless they exist.

The tables are created from Glance's models, because the migrations of glance-manage take seconds.
"""

import os

from glance.common import wsgi_app
from glance.db.sqlalchemy import api, models, models_metadef

directory = os.environ["OS_GLANCE_CONFIG_DIR"]

application = wsgi_app.init_app()
if not os.path.exists(directory + "/made"):
    models.register_models(api.get_engine())
    models_metadef.register_models(api.get_engine())
    open(directory + "/made", "w").close()
